"""The noise spectrum of a frame is the true one, and whitening makes the noise white."""

import numpy as np
import pytest

from blobwatch.errors import BlobwatchError
from blobwatch.images.whitening import (
    FLAT,
    KNOWN,
    TILE,
    noise_at_blob_scale,
    noise_spectrum,
    radial_frequency,
    rings,
    whiten,
)
from blobwatch.robustness import noise

SIZE = 1024
SPECTRA = {
    "white": noise.white(),
    "correlated": noise.smoothed_mixture(0.37, 0.7),
    "strongly correlated": noise.smoothed_mixture(0.6, 1.0),
    "coupled": noise.coupled(0.05),
}
ALL = pytest.mark.parametrize("true", SPECTRA.values(), ids=SPECTRA)
EVERYWHERE = np.ones((SIZE, SIZE), dtype=bool)


def frame(true: np.ndarray, seed: int = 1) -> np.ndarray:
    return noise.draw_noise(np.random.default_rng(seed), true)


def radial(power: np.ndarray) -> np.ndarray:
    """Return the mean of a power spectrum in rings of 1 / TILE cycles per pixel, but for the corner."""
    ring = np.rint(radial_frequency((SIZE, SIZE)) * TILE).astype(int).ravel()
    return (np.bincount(ring, power.ravel()) / np.bincount(ring))[: TILE // 2]


def power_of(image: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft2(image)) ** 2 / image.size


@ALL
@pytest.mark.parametrize("unit", [1.0, 0.01])
def test_a_known_spectrum_is_measured(true, unit):
    expected = unit**2 * radial(true)
    spectra = [noise_spectrum(unit * frame(true, seed), EVERYWHERE) for seed in range(4)]
    spectrum = np.mean(spectra, axis=0)
    ratio = spectrum[: TILE // 2] / expected
    # Each ring has the scatter of the logarithm of its modes in 64 tiles of four frames.
    scatter = np.pi / np.sqrt(6) / np.sqrt(4 * 64 * rings(TILE)[1][: TILE // 2])
    assert (np.abs(ratio - 1)[1:] < 4 * scatter[1:] + 0.03).all()
    bands = ratio[8:].reshape(7, 8).mean(axis=1)
    np.testing.assert_allclose(bands, 1.0, atol=0.03)
    frequency = np.arange(TILE // 2) / TILE
    inside = (frequency >= 0.03) & (frequency <= 0.09)
    at_blobs = np.sqrt(np.average(expected[inside], weights=frequency[inside]))
    assert noise_at_blob_scale(spectrum) == pytest.approx(at_blobs, rel=0.03)


@ALL
def test_whitened_noise_is_white_with_unit_scatter(true):
    image = frame(true, seed=2)
    white = whiten(image, noise_spectrum(image, EVERYWHERE))
    assert white.dtype == np.float32
    power = radial(power_of(white))
    np.testing.assert_allclose(power[8:].reshape(7, 8).mean(axis=1), 1.0, atol=0.03)
    for axis in (0, 1):
        assert abs((white * np.roll(white, 1, axis=axis)).mean()) < 0.015
    for block in (1, 2, 4, 8):
        sums = white.reshape(SIZE // block, block, -1, block).sum(axis=(1, 3)) / block
        assert sums.std() == pytest.approx(1.0, abs=0.06)


def test_correlated_noise_is_not_white_before():
    """Else the test above could not fail."""
    image = frame(SPECTRA["strongly correlated"], seed=2)
    assert (image * np.roll(image, 1, axis=0)).mean() > 0.2


def test_large_scales_are_only_scaled():
    """Below FLAT the filter is constant, so that no large blob is filtered out."""
    image = frame(SPECTRA["strongly correlated"], seed=3)
    spectrum = noise_spectrum(image, EVERYWHERE)
    gain = np.fft.rfft2(whiten(image, spectrum)) / np.fft.rfft2(image)
    low = radial_frequency((SIZE, SIZE)) < FLAT - 0.001
    np.testing.assert_allclose(gain[low].real, 1 / noise_at_blob_scale(spectrum), rtol=1e-3)
    assert np.abs(gain.imag[low]).max() < 1e-3
    high = radial_frequency((SIZE, SIZE)) > 0.3
    assert gain[high].real.min() > 1.3 / noise_at_blob_scale(spectrum)  # the noise is weaker there


def test_the_filter_does_not_move_or_mirror():
    """It is the same in all directions, so a point stays where it is and its surround is round."""
    point = np.zeros((SIZE, SIZE), dtype=np.float32)
    point[300, 700] = 1.0
    white = whiten(point, noise_spectrum(frame(SPECTRA["strongly correlated"]), EVERYWHERE))
    assert np.unravel_index(np.abs(white).argmax(), white.shape) == (300, 700)
    part = white[280:321, 680:721]
    for turned in (part[::-1], part[:, ::-1], part.T):
        np.testing.assert_allclose(turned, part, atol=1e-5)


def test_offsets_of_rows_and_columns_do_not_count():
    image = frame(SPECTRA["white"])
    rng = np.random.default_rng(4)
    uneven = image + rng.normal(0.0, 0.3, SIZE) + rng.normal(0.0, 0.3, (SIZE, 1))
    before, after = (noise_spectrum(one.astype(np.float32), EVERYWHERE) for one in (image, uneven))
    assert noise_at_blob_scale(after) == pytest.approx(noise_at_blob_scale(before), rel=0.03)


def test_tiles_with_too_few_known_pixels_do_not_count():
    image, known = frame(SPECTRA["white"]), EVERYWHERE.copy()
    expected = noise_spectrum(image[:, :512], known[:, :512])
    known[:, 512:] = np.random.default_rng(5).uniform(size=(SIZE, 512)) < KNOWN - 0.05
    image[:, 512:] = 50.0
    np.testing.assert_array_equal(noise_spectrum(image, known), expected)
    with pytest.raises(BlobwatchError, match="too few pixels are known to measure the noise"):
        noise_spectrum(image, ~EVERYWHERE)


def test_a_frame_without_noise_is_refused():
    with pytest.raises(BlobwatchError, match="the image has no noise"):
        noise_spectrum(np.zeros((SIZE, SIZE), dtype=np.float32), EVERYWHERE)
