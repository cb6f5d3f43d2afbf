"""Tests of the classical baselines."""

import numpy as np
import pytest

from blobwatch.detector.baselines import (
    SIGMAS,
    find_by_filter,
    find_by_laplacian,
    laplacian_kernel,
    matched_filter,
    score_from_snr,
    snr_from_score,
)


def gaussian(x: float, y: float, sigma: float, snr: float) -> np.ndarray:
    """Return a Gaussian with L2 norm ``snr``, shape (256, 256)."""
    grid = np.arange(256)
    profile = np.exp(-((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * sigma**2))
    return snr * profile / np.sqrt((profile**2).sum())


@pytest.mark.parametrize("sigma", SIGMAS)
def test_find_by_filter_measures_snr_and_position(sigma):
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
def test_matched_filter_returns_snr_without_noise(sigma):
    snr = matched_filter(gaussian(60.0, 170.0, sigma, 20.0).astype(np.float32))
    assert snr.max() == pytest.approx(20.0, rel=0.03)
    assert np.unravel_index(snr.argmax(), snr.shape) == (170, 60)


def test_matched_filter_of_white_noise_has_unit_snr():
    noise = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    one = matched_filter(noise)[20:-20, 20:-20]
    assert 0.4 < one.mean() < 1.1  # the best of five that are alike
    assert 0.6 < one.std() < 1.0
    assert one.max() < 6.5


def test_negative_peaks_are_ignored():
    peaks, score = find_by_filter(-gaussian(60.0, 170.0, 2.8, 30.0).astype(np.float32))
    assert len(peaks) == 0
    assert score < 0.1


def test_peaks_are_separated_and_sorted():
    image = (
        gaussian(60.0, 170.0, 2.8, 12.0) + gaussian(150.0, 40.0, 2.8, 18.0) + gaussian(64.0, 172.0, 2.8, 6.0)
    )
    peaks, _ = find_by_filter(image.astype(np.float32))
    assert len(peaks) == 2
    assert (peaks.x[0], peaks.y[0]) == (150.0, 40.0)
    assert peaks.probability[0] > peaks.probability[1]


@pytest.mark.parametrize("snr", [10.0, 20.0, 60.0, 400.0])
def test_scores_increase_with_snr_and_stay_below_1(snr):
    # Clusters of bad pixels can be much brighter than blobs; their scores must stay distinct.
    peaks, score = find_by_filter(gaussian(60.0, 170.0, 2.8, snr).astype(np.float32))
    assert 0.0 < score < 1.0
    assert score == pytest.approx(peaks.probability[0], rel=1e-6)
    _, brighter = find_by_filter(gaussian(60.0, 170.0, 2.8, 1.1 * snr).astype(np.float32))
    assert brighter > score


def test_snr_from_score_inverts_score_from_snr():
    snr = np.array([0.0, 4.0, 11.5, 300.0])
    assert snr_from_score(score_from_snr(snr)) == pytest.approx(snr)


# The Laplacian of Gaussian


@pytest.mark.parametrize("sigma", [4.5, 6.0, 8.0])
def test_laplacian_measures_snr_and_position(sigma):
    image = gaussian(60.0, 170.0, sigma, 30.0) + np.random.default_rng(1).normal(size=(256, 256))
    peaks, score = find_by_laplacian(image.astype(np.float32))
    assert (peaks.x[0], peaks.y[0]) == pytest.approx((60.0, 170.0), abs=2.5)
    # The unit-norm Laplacian of a Gaussian and the Gaussian have 1 / sqrt(2) in common.
    assert snr_from_score(score) == pytest.approx(30.0 / np.sqrt(2), rel=0.15)
    assert score == peaks.probability[0]


def test_laplacian_kernel_has_unit_norm_and_zero_sum():
    kernel = laplacian_kernel(4.5)
    assert (kernel**2).sum() == pytest.approx(1.0, abs=1e-5)
    assert abs(kernel.sum()) < 0.02 * np.abs(kernel).sum()
    assert kernel[len(kernel) // 2, len(kernel) // 2] == kernel.max() > 0


def test_laplacian_scores_increase_with_snr():
    image = gaussian(60.0, 170.0, 4.5, 30.0) + gaussian(180.0, 60.0, 8.0, 45.0)
    peaks, _ = find_by_laplacian(image.astype(np.float32))
    assert (peaks.x[0], peaks.y[0]) == pytest.approx((180.0, 60.0), abs=1.5)
    assert (np.diff(peaks.probability) <= 0).all()
    scores = [find_by_laplacian((k * image).astype(np.float32))[1] for k in (1.0, 1.2, 4.0)]
    assert scores == sorted(scores)
    assert scores[-1] < 1.0


def test_laplacian_scores_are_low_without_blobs():
    for image in (np.zeros((256, 256)), -gaussian(60.0, 170.0, 5.0, 40.0)):
        peaks, score = find_by_laplacian(image.astype(np.float32))
        assert (peaks.probability < score_from_snr(6.0)).all()
        assert score < score_from_snr(12.0)
