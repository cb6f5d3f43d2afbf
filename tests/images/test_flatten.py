"""Blob images: masks, glow and medians."""

import numpy as np
import pytest

from blobwatch.images.flatten import (
    blob_image,
    cubic_interpolation,
    large_scale_background,
    median_without_nan,
    medians_of_long_rows,
)
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import Blob, transmission
from blobwatch.instrument.contaminants import draw_glow

NOISE = 0.0078  # of a single frame


@pytest.fixture
def no_flags():
    return np.zeros((1024, 1024), dtype=np.int16)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("length", [1, 2, 7, 4096])
def test_medians_of_long_rows_equal_median_without_nan(share, length):
    rng = np.random.default_rng(3)
    for dtype in (np.float32, np.float64):
        values = rng.normal(1.0, 0.1, (40, length)).astype(dtype)
        values[rng.uniform(size=values.shape) < share] = np.nan
        before = values.copy()
        np.testing.assert_array_equal(medians_of_long_rows(values), median_without_nan(values))
        np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_median_without_nan_equals_numpy(share, dtype, count):
    rng = np.random.default_rng(3)
    values = rng.normal(1.0, 0.1, (17, 13, count)).astype(dtype)
    values[rng.uniform(size=values.shape) < share] = np.nan
    values[0, 0] = 1.0  # one row is always complete
    ours = median_without_nan(values)
    kept = np.isfinite(values).any(axis=-1)
    assert np.isnan(ours[~kept]).all()
    np.testing.assert_allclose(ours[kept], np.nanmedian(values[kept].astype(float), axis=-1), rtol=1e-12)


def test_interpolation_preserves_level_and_slope():
    for size, box in ((1024, 64), (1024, 16), (128, 64), (64, 64)):
        matrix = cubic_interpolation(size, box)
        centres = (np.arange(size // box) + 0.5) * box - 0.5
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)
        if size > box:
            np.testing.assert_allclose(matrix @ centres, np.arange(size), atol=1e-9)


def test_background_of_an_unknown_box():
    image = np.full((256, 256), 3.0)
    image[64:128, 128:192] = np.nan
    np.testing.assert_allclose(large_scale_background(image, 64), 3.0)


@pytest.mark.parametrize("seed", range(4))
def test_residual_of_the_glow_is_below_the_noise(no_flags, seed):
    light = 17.0 * draw_glow(np.random.default_rng(seed), scattered=0.0)
    image = blob_image(light, no_flags)
    assert image.dtype == np.float32
    assert np.abs(image - 1.0).max() < 0.02 * NOISE


def test_residual_of_scattered_light_is_below_the_noise(no_flags):
    image = blob_image(17.0 * draw_glow(np.random.default_rng(1), scattered=1.0), no_flags)
    assert np.abs(image - 1.0).max() < NOISE
    assert np.std(image) < 0.105 * NOISE  # with a single pass it is 0.113


def test_unit_does_not_matter(no_flags):
    light = draw_glow(np.random.default_rng(1), 0.0) * np.random.default_rng(2).normal(1, 0.01, (1024, 1024))
    np.testing.assert_allclose(blob_image(light, no_flags), blob_image(1e4 * light, no_flags), rtol=1e-5)


def test_unusable_pixels_are_masked_and_blobs_are_not(no_flags):
    blob = Blob(x=300.3, y=701.8, half_width=7.0, depth=0.05)
    light = 17.0 * transmission([blob])
    flags = no_flags.copy()
    flags[695:709, 293:308] = wfc3ir.DQ_BLOB  # must not be masked
    flags[100, 200] = wfc3ir.DQ_BAD | wfc3ir.DQ_BLOB
    flags[100, 201] = 64  # warm: usable
    image = blob_image(light, flags)
    assert np.isnan(image[100, 200])
    assert np.isnan(image).sum() == 1
    assert image[702, 300] == pytest.approx(0.95, abs=0.002)


def test_only_unusable_bits_mask_pixels(no_flags):
    bits = 2 ** np.arange(15)
    no_flags[3, 100:115] = bits
    masked = np.isnan(blob_image(np.ones((1024, 1024)), no_flags)[3, 100:115])
    assert bits[~masked].tolist() == [64, 512, 1024, 2048]


def test_input_is_not_changed(no_flags):
    light = np.full((1024, 1024), 5.0)
    no_flags[1, 1] = 4
    blob_image(light, no_flags)
    assert (light == 5.0).all()


def test_image_without_light_is_nan(no_flags):
    assert np.isnan(blob_image(np.zeros((1024, 1024)), no_flags)).all()
