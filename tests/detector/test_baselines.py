"""The matched filters measure the SNR of a Gaussian, at its place."""

import numpy as np
import pytest

from blobwatch.detector.baselines import SIGMAS, find_by_filter, matched_filter


def gaussian(x: float, y: float, sigma: float, snr: float) -> np.ndarray:
    """A Gaussian of unit L2 norm times ``snr``, shape (256, 256)."""
    grid = np.arange(256)
    profile = np.exp(-((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * sigma**2))
    return snr * profile / np.sqrt((profile**2).sum())


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_gaussian_of_snr_20_is_measured_as_20_at_its_place(sigma):
    measured = []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(size=(256, 256))
        peaks, score = find_by_filter((noise + gaussian(60.0, 170.0, sigma, 20.0)).astype(np.float32))
        assert (peaks.x[0], peaks.y[0]) == pytest.approx((60.0, 170.0), abs=1.5)
        measured.append(score)
    # Scores rise with SNR; the mean is the score of a Gaussian of SNR 20 without noise, a little more.
    _, clean = find_by_filter(gaussian(60.0, 170.0, sigma, 20.0).astype(np.float32))
    assert np.mean(measured) == pytest.approx(clean, rel=0.05)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_its_own_filter_gives_the_snr_without_noise(sigma):
    snr = matched_filter(gaussian(60.0, 170.0, sigma, 20.0).astype(np.float32))
    assert snr.max() == pytest.approx(20.0, rel=0.03)
    assert np.unravel_index(snr.argmax(), snr.shape) == (170, 60)


def test_white_noise_has_unit_snr():
    noise = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    one = matched_filter(noise)[20:-20, 20:-20]
    assert 0.4 < one.mean() < 1.1  # the best of five that are alike
    assert 0.6 < one.std() < 1.0
    assert one.max() < 6.5


def test_dark_spots_are_no_blobs():
    peaks, score = find_by_filter(-gaussian(60.0, 170.0, 2.8, 30.0).astype(np.float32))
    assert len(peaks) == 0
    assert score < 0.1


def test_peaks_are_apart_sorted_and_above_the_lowest():
    image = (
        gaussian(60.0, 170.0, 2.8, 12.0) + gaussian(150.0, 40.0, 2.8, 18.0) + gaussian(64.0, 172.0, 2.8, 6.0)
    )
    peaks, _ = find_by_filter(image.astype(np.float32), lowest=5.0)
    assert len(peaks) == 2
    assert (peaks.x[0], peaks.y[0]) == (150.0, 40.0)
    assert peaks.probability[0] > peaks.probability[1]


@pytest.mark.parametrize("snr", [10.0, 20.0, 60.0, 400.0])
def test_scores_are_ranks_between_0_and_1(snr):
    """A cluster of bad pixels can be far louder than any blob, and a threshold must be found all the same."""
    peaks, score = find_by_filter(gaussian(60.0, 170.0, 2.8, snr).astype(np.float32))
    assert 0.0 < score < 1.0
    assert score == pytest.approx(peaks.probability[0], rel=1e-6)
    _, louder = find_by_filter(gaussian(60.0, 170.0, 2.8, 1.1 * snr).astype(np.float32))
    assert louder > score
