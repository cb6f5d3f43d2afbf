"""Median stack, difference, noise."""

import numpy as np
import pytest

from blobwatch.images.stack import difference_image, median_stack, noise_map


@pytest.mark.parametrize("depth", [2, 3, 10])
def test_median_stack_equals_nanmedian(depth):
    rng = np.random.default_rng(depth)
    images = [rng.normal(1, 0.01, (130, 70)).astype(np.float32) for _ in range(depth)]
    for image in images[1:]:
        image[rng.uniform(size=image.shape) < 0.3] = np.nan
    stack = median_stack(images)
    assert stack.dtype == np.float32
    np.testing.assert_allclose(stack, np.nanmedian(images, axis=0), rtol=1e-6)


def test_pixel_without_values_is_nan():
    images = [np.full((64, 64), 1.0, dtype=np.float32) for _ in range(3)]
    for image in images:
        image[5, 6] = np.nan
    assert np.argwhere(np.isnan(median_stack(images))).tolist() == [[5, 6]]


def test_new_blob_is_positive():
    stack, image = np.ones((8, 8), np.float32), np.ones((8, 8), np.float32)
    image[2, 3] = 0.9
    difference = difference_image(stack, image)
    assert difference[2, 3] == pytest.approx(0.1)
    assert np.count_nonzero(difference) == 1


def test_noise_map_is_independent_of_the_level():
    rng = np.random.default_rng(4)
    scale = np.linspace(0.008, 0.016, 512)[None, :]
    difference = 0.02 * np.arange(512)[:, None] / 512 + rng.normal(size=(512, 512)) * scale
    difference[100:110, 100:110] = np.nan
    difference[200:210, 300:310] = 0.5  # a blob does not count as noise
    noise = noise_map(difference.astype(np.float32))
    assert noise.dtype == np.float32
    assert np.isfinite(noise).all()
    ratio = noise / scale
    assert np.abs(ratio[32:-32, 32:-32] - 1.0).max() < 0.15
    assert np.abs(ratio - 1.0).max() < 0.4  # beyond the outermost box centres it is extrapolated
    assert np.mean(noise / scale) == pytest.approx(1.0, abs=0.02)
