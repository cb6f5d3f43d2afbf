"""The noise spectrum of a frame is the true one, and whitening makes the noise white."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from blobwatch.errors import BlobwatchError
from blobwatch.images.whitening import (
    KNOWN,
    LOW,
    TILE,
    frequencies,
    noise_at_blob_scale,
    noise_spectrum,
    whiten,
)
from blobwatch.robustness import noise

SIZE = 1024
SPECTRA = {
    "white": noise.white_spectrum(),
    "correlated": noise.smoothed_spectrum(0.37, 0.7),
    "strongly correlated": noise.smoothed_spectrum(0.6, 1.0),
    "coupled": noise.coupled_spectrum(0.05),
    "rows": noise.row_noise_spectrum(0.02, 0.2, 0.03),
}
ALL = pytest.mark.parametrize("true", SPECTRA.values(), ids=SPECTRA)
EVERYWHERE = np.ones((SIZE, SIZE), dtype=bool)


def frame(true: np.ndarray, seed: int = 1) -> np.ndarray:
    return noise.draw_noise(np.random.default_rng(seed), true)


CLIP = 5.0


def tile_spectrum(true: np.ndarray) -> np.ndarray:
    """Return a spectrum at the frequencies of a tile, averaged over 3 x 3 frequencies."""
    whole = np.concatenate([true, true[np.arange(0, -SIZE, -1), -2:0:-1]], axis=1)
    return uniform_filter(whole, 25, mode="wrap")[::8, ::8][:, : TILE // 2 + 1]


@ALL
@pytest.mark.parametrize("unit", [1.0, 0.01])
def test_spectrum_of_known_noise(true, unit):
    spectra = [noise_spectrum(unit * frame(true, seed), EVERYWHERE, unit * CLIP) for seed in range(4)]
    ratio = np.mean(spectra, axis=0) / tile_spectrum(true) / unit**2
    # Of 4 x 64 tiles and about four independent frequencies in each 3 x 3.
    assert ratio.std() < 1.5 * np.pi / np.sqrt(6) / np.sqrt(4 * 64 * 4) + 0.02
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)
    assert noise_at_blob_scale(np.mean(spectra, axis=0)) == pytest.approx(
        unit * noise_at_blob_scale(tile_spectrum(true)),
        rel=0.06,  # of rows the geometric mean is lower
    )


@ALL
def test_whitened_noise_is_white_and_has_unit_scatter(true):
    image = frame(true, seed=2)
    white = whiten(image, noise_spectrum(image, EVERYWHERE, CLIP))
    assert white.dtype == np.float32
    for axis in (0, 1):
        assert abs((white * np.roll(white, 1, axis=axis)).mean()) < 0.015
    for block in (1, 2, 4, 8):
        sums = white.reshape(SIZE // block, block, -1, block).sum(axis=(1, 3)) / block
        assert sums.std() == pytest.approx(1.0, abs=0.07)


@pytest.mark.parametrize("name", ["strongly correlated", "rows"])
def test_noise_before_whitening_is_correlated(name):
    """Check that the test above can fail."""
    image = frame(SPECTRA[name], seed=2)
    assert max((image * np.roll(image, 1, axis=axis)).mean() for axis in (0, 1)) > 0.05


def test_large_scales_are_not_amplified():
    image = frame(SPECTRA["white"], seed=3)
    boxes = image.reshape(32, 32, 32, 32)
    image = (boxes - boxes.mean(axis=(1, 3), keepdims=True)).reshape(SIZE, SIZE)
    spectrum = noise_spectrum(image, EVERYWHERE, CLIP)
    gain = np.fft.rfft2(whiten(image, spectrum)) / np.fft.rfft2(image)
    low = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)) < LOW - 0.01
    low[0] = low[:, 0] = False
    assert gain[low].real.max() < 1.02 / noise_at_blob_scale(spectrum)
    assert spectrum[frequencies() < 0.01].mean() < 0.5 * noise_at_blob_scale(spectrum) ** 2


def test_stars_and_trails_do_not_change_the_spectrum():
    image = frame(SPECTRA["white"], seed=4)
    spoilt = image.copy()
    rng = np.random.default_rng(4)
    for x, y in rng.integers(8, SIZE - 8, (100, 2)):
        spoilt[y - 1 : y + 2, x - 1 : x + 2] -= 100.0
    spoilt[:, 500:504] -= 20.0
    before, after = (noise_at_blob_scale(noise_spectrum(one, EVERYWHERE, 2.5)) for one in (image, spoilt))
    assert after == pytest.approx(before, rel=0.04)


def test_many_blobs_do_not_change_the_spectrum():
    image = frame(SPECTRA["white"], seed=6)
    crowded = image.copy()
    for x, y in np.random.default_rng(6).integers(30, SIZE - 30, (30, 2)):
        v, u = np.ogrid[-25:26, -25:26]
        crowded[y - 25 : y + 26, x - 25 : x + 26] += 1.5 * (np.hypot(u, v) < 9)  # SNR 24
    before, after = (noise_at_blob_scale(noise_spectrum(one, EVERYWHERE, 2.5)) for one in (image, crowded))
    assert after == pytest.approx(before, rel=0.02)


def test_whitening_does_not_shift_or_mirror():
    point = np.zeros((SIZE, SIZE), dtype=np.float32)
    point[300, 700] = 1.0
    spectrum = tile_spectrum(SPECTRA["strongly correlated"])
    white = whiten(point, spectrum)
    assert np.unravel_index(np.abs(white).argmax(), white.shape) == (300, 700)
    part = white[280:321, 680:721]
    for turned in (part[::-1], part[:, ::-1], part.T):
        np.testing.assert_allclose(turned, part, atol=1e-5)


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.transpose])
def test_rotated_frame_is_whitened_equally(turn):
    image = frame(SPECTRA["rows"], seed=5)
    white, turned = (
        whiten(one, noise_spectrum(one, EVERYWHERE, CLIP))
        for one in (image, np.ascontiguousarray(turn(image)))
    )
    np.testing.assert_allclose(turned, turn(white), atol=1e-4)


def test_tiles_with_few_known_pixels_are_ignored():
    image, known = frame(SPECTRA["white"]), EVERYWHERE.copy()
    expected = noise_spectrum(image, known, CLIP)
    known[:, 512:] = np.random.default_rng(5).uniform(size=(SIZE, 512)) < KNOWN - 0.05
    image[:, 512:] *= 1.2
    assert noise_at_blob_scale(noise_spectrum(image, known, CLIP)) == pytest.approx(
        noise_at_blob_scale(expected), rel=0.03
    )
    with pytest.raises(BlobwatchError, match="too few pixels are known to measure the noise"):
        noise_spectrum(image, ~EVERYWHERE, CLIP)


def test_frame_without_noise_is_an_error():
    with pytest.raises(BlobwatchError, match="the image has no noise"):
        noise_spectrum(np.zeros((SIZE, SIZE), dtype=np.float32), EVERYWHERE, CLIP)


@pytest.mark.parametrize("share", [0.3, 0.55])
def test_unknown_areas_do_not_change_the_spectrum(share):
    image, known = frame(SPECTRA["white"], seed=7), EVERYWHERE.copy()
    known[: int(share * SIZE)] = False
    image[~known] = 0.0
    assert noise_at_blob_scale(noise_spectrum(image, known, CLIP)) == pytest.approx(1.0, rel=0.03)
