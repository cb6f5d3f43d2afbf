"""Scaling to the frame's own noise."""

import numpy as np
import pytest

from blobwatch.errors import BlobwatchError
from blobwatch.images.scaling import CLIP, STEP, dequantize, level_and_noise, quantize, scale_frame


@pytest.fixture
def difference() -> np.ndarray:
    image = np.random.default_rng(8).normal(0.003, 0.009, (1024, 1024)).astype(np.float32)
    image[:5], image[100, 100] = np.nan, np.inf
    image[701, 300], image[701, 301] = 2.0, -2.0
    return image


def test_level_and_noise(difference):
    level, noise = level_and_noise(difference)
    assert level == pytest.approx(0.003, abs=1e-4)
    assert noise == pytest.approx(0.009, rel=0.02)


def test_scaled_frame_is_normalized_and_clipped(difference):
    scaled = scale_frame(difference)
    assert scaled.dtype == np.float32
    assert np.isfinite(scaled).all()
    assert (scaled[:5] == 0).all()
    assert scaled[701, 300] == CLIP
    assert scaled[701, 301] == -CLIP
    assert np.median(scaled[5:]) == pytest.approx(0.0, abs=0.01)
    assert np.std(scaled[5:, 302:]) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("unit", "offset"), [(1e3, 0.0), (1e-6, 0.0), (1.0, 0.7), (250.0, -40.0)])
def test_unit_and_offset_do_not_matter(difference, unit, offset):
    other = (difference.astype(float) * unit + offset).astype(np.float32)
    np.testing.assert_allclose(scale_frame(other), scale_frame(difference), atol=2e-3)


def test_given_level_and_noise_are_used(difference):
    cut = difference[256:512, 256:512]
    whole = scale_frame(difference)[256:512, 256:512]
    np.testing.assert_array_equal(scale_frame(cut, *level_and_noise(difference)), whole)


def test_input_is_not_changed(difference):
    before = difference.copy()
    scale_frame(difference)
    np.testing.assert_array_equal(difference, before)


def test_quantization_is_exact_and_fills_int8(difference):
    scaled = scale_frame(difference)
    steps = quantize(scaled)
    assert steps.dtype == np.int8
    assert steps[701, 300] == 127
    assert steps[701, 301] == -127
    assert np.abs(dequantize(steps) - scaled).max() <= STEP / 2
    np.testing.assert_array_equal(quantize(dequantize(steps)), steps)


def test_too_few_finite_pixels_are_an_error():
    image = np.full((1024, 1024), np.nan, dtype=np.float32)
    image[:90] = 1.0
    with pytest.raises(BlobwatchError, match="fewer than a tenth of the pixels are finite"):
        scale_frame(image)


def test_image_without_noise_is_an_error():
    with pytest.raises(BlobwatchError, match="the image has no noise"):
        scale_frame(np.ones((1024, 1024), dtype=np.float32))
