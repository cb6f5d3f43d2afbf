"""The blob image: flags out, glow out, blobs in."""

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
from blobwatch.instrument.contaminants import glow

NOISE = 0.0078  # of a single frame


@pytest.fixture
def no_flags():
    return np.zeros((1024, 1024), dtype=np.int16)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("length", [1, 2, 7, 4096])
def test_medians_of_long_rows_are_the_same_numbers(share, length):
    rng = np.random.default_rng(3)
    for dtype in (np.float32, np.float64):
        values = rng.normal(1.0, 0.1, (40, length)).astype(dtype)
        values[rng.uniform(size=values.shape) < share] = np.nan
        before = values.copy()
        np.testing.assert_array_equal(medians_of_long_rows(values), median_without_nan(values))
        np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_median_without_nan_is_numpys(share, dtype):
    rng = np.random.default_rng(3)
    values = rng.normal(1.0, 0.1, (17, 13, 10)).astype(dtype)
    values[rng.uniform(size=values.shape) < share] = np.nan
    values[0, 0] = 1.0  # one row whole in any case
    ours = median_without_nan(values)
    kept = np.isfinite(values).any(axis=-1)
    assert np.isnan(ours[~kept]).all()
    np.testing.assert_allclose(ours[kept], np.nanmedian(values[kept].astype(float), axis=-1), rtol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_median_of_few(count):
    values = np.array([[4.0, 1.0, 3.0, np.nan, 2.0]])[:, :count]
    assert median_without_nan(values)[0] == np.nanmedian(values)


def test_interpolation_keeps_a_level_and_a_slope():
    for size, box in ((1024, 64), (1024, 16), (128, 64), (64, 64)):
        matrix = cubic_interpolation(size, box)
        centres = (np.arange(size // box) + 0.5) * box - 0.5
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)
        if size > box:
            np.testing.assert_allclose(matrix @ centres, np.arange(size), atol=1e-9)


def test_large_scale_bridges_a_box_without_pixels():
    image = np.full((256, 256), 3.0)
    image[64:128, 128:192] = np.nan
    np.testing.assert_allclose(large_scale_background(image, 64), 3.0)


@pytest.mark.parametrize("seed", range(4))
def test_glow_and_its_gradient_leave_less_than_the_noise(no_flags, seed):
    light = 17.0 * glow(np.random.default_rng(seed), scattered=0.0)
    image = blob_image(light, no_flags)
    assert image.dtype == np.float32
    assert np.abs(image - 1.0).max() < 0.02 * NOISE


def test_light_of_the_limb_leaves_less_than_the_noise(no_flags):
    image = blob_image(17.0 * glow(np.random.default_rng(1), scattered=1.0), no_flags)
    assert np.abs(image - 1.0).max() < NOISE
    assert np.std(image) < 0.105 * NOISE  # with a single pass it is 0.113


def test_the_unit_does_not_matter(no_flags):
    light = glow(np.random.default_rng(1), 0.0) * np.random.default_rng(2).normal(1, 0.01, (1024, 1024))
    np.testing.assert_allclose(blob_image(light, no_flags), blob_image(1e4 * light, no_flags), rtol=1e-5)


def test_unusable_pixels_go_and_blobs_stay(no_flags):
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


@pytest.mark.parametrize("bit", [1, 2, 4, 8, 16, 32, 128, 256, 4096, 8192, 16384])
def test_each_unusable_bit_masks(no_flags, bit):
    no_flags[3, 4] = bit
    assert np.isnan(blob_image(np.ones((1024, 1024)), no_flags)[3, 4])


@pytest.mark.parametrize("bit", [64, 512, 1024, 2048])
def test_the_other_bits_do_not(no_flags, bit):
    no_flags[3, 4] = bit
    assert blob_image(np.ones((1024, 1024)), no_flags)[3, 4] == 1.0


def test_the_input_is_not_changed(no_flags):
    light = np.full((1024, 1024), 5.0)
    no_flags[1, 1] = 4
    blob_image(light, no_flags)
    assert (light == 5.0).all()


def test_no_light_gives_nan_and_no_warning(no_flags):
    assert np.isnan(blob_image(np.zeros((1024, 1024)), no_flags)).all()
