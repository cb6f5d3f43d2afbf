"""Tests of the detection limit against simulated noise."""

import numpy as np
import pytest
from scipy.fft import irfft2, rfft2
from scipy.ndimage import maximum_filter

from blobwatch.robustness import noise
from blobwatch.robustness.frames import RobustnessFrame
from blobwatch.robustness.limit import (
    coarse_spectrum,
    compute_limit,
    expected_recall,
    mean_over_modes,
    noise_threshold,
    whitened_power,
)
from blobwatch.robustness.shapes import Shape, render

DIAMOND = Shape("superellipse", 6.6, exponent=1.25, edge=5.0)
SMALL = Shape("superellipse", 3.0, exponent=1.25, edge=5.0)
CORRELATED = noise.smoothed_spectrum(0.37, 0.7)


def transform_of(shape: Shape) -> np.ndarray:
    """Return the transform of a shape at the origin."""
    stamp, image = render(shape, 0.0, 0.0).image, np.zeros((1024, 1024))
    image[: len(stamp), : len(stamp)] = stamp
    return rfft2(np.roll(image, (-(len(stamp) // 2),) * 2, axis=(0, 1)))


def matched(shape: Shape, spectrum: np.ndarray) -> np.ndarray:
    """Return the prewhitened filter of a shape, with unit variance for noise."""
    transform = transform_of(shape)
    weights = np.full(513, 2.0)
    weights[[0, -1]] = 1.0
    variance = ((np.abs(transform) ** 2 / spectrum) @ weights).sum() / 1024**2
    return np.conj(transform) / spectrum / np.sqrt(variance)


def half(shape: Shape, spectrum: np.ndarray, rate: float = 5.0) -> float:
    """Return the SNR at which the limit detects one half."""
    power = whitened_power(render(shape, 0.0, 0.0).image, coarse_spectrum(spectrum))
    snr = np.linspace(3.0, 10.0, 1401)
    threshold = noise_threshold(power, 1024.0**2, rate)
    recall = expected_recall(snr * np.sqrt(mean_over_modes(power)), np.full(len(snr), threshold))
    return float(np.interp(0.5, recall, snr))


def test_limit_in_white_and_correlated_noise():
    # With one known shape the limit is below the 5.2 of the ideal observer.
    white, correlated = half(DIAMOND, noise.white_spectrum()), half(DIAMOND, CORRELATED)
    assert white == pytest.approx(4.9, abs=0.15)
    assert correlated == pytest.approx(6.2, abs=0.2)
    assert 4.7 < half(SMALL, noise.white_spectrum()) < 5.3
    assert half(DIAMOND, noise.white_spectrum(), rate=0.5) > white + 0.3  # fewer false blobs cost something


@pytest.mark.parametrize("spectrum", [noise.white_spectrum(), CORRELATED], ids=["white", "correlated"])
def test_noise_threshold_gives_rate_in_simulated_noise(spectrum):
    filtering, found = matched(DIAMOND, spectrum), 0
    for seed in range(4):
        field = noise.draw_noise(np.random.default_rng(seed), spectrum)
        output = irfft2(rfft2(field) * filtering, s=field.shape)
        assert output.std() == pytest.approx(1.0, abs=0.02)
        found += ((output == maximum_filter(output, 5)) & (output > 4.0)).sum()
    power = whitened_power(render(DIAMOND, 0.0, 0.0).image, coarse_spectrum(spectrum))
    # At this rate the threshold must be the level at which the peaks were counted.
    assert noise_threshold(power, 1024.0**2, 100 * found / 4) == pytest.approx(4.0, abs=0.06)


def test_expected_recall_matches_injected_blobs():
    filtering, threshold, snr = matched(DIAMOND, CORRELATED), 5.0, 6.2
    middles = np.arange(32, 1024, 64)
    lattice = np.zeros((1024, 1024))
    lattice[np.ix_(middles, middles)] = 1.0
    blobs = irfft2(rfft2(lattice) * transform_of(DIAMOND))
    found = []
    for seed in range(6):
        frame = noise.draw_noise(np.random.default_rng(seed), CORRELATED) + snr * blobs
        output = maximum_filter(irfft2(rfft2(frame) * filtering, s=frame.shape), 7)
        found.append(output[np.ix_(middles, middles)] >= threshold)
    power = whitened_power(render(DIAMOND, 0.0, 0.0).image, coarse_spectrum(CORRELATED))
    expected = expected_recall(np.array([snr * np.sqrt(mean_over_modes(power))]), np.array([threshold]))[0]
    assert np.mean(found) == pytest.approx(expected, abs=0.04)
    assert 0.3 < expected < 0.7


def test_row_offsets_hardly_change_the_limit():
    assert half(DIAMOND, noise.row_noise_spectrum(0.0, 0.3, 0.3)) < 1.1 * half(
        DIAMOND, noise.white_spectrum()
    )


def test_compute_limit_of_a_frame():
    stamps = [render(DIAMOND, 300.0, 300.0), render(SMALL, 600.0, 600.0)]
    blobs = np.zeros(2, dtype=[("snr", "f8")])
    blobs["snr"] = 4.0, 20.0
    frame = RobustnessFrame(np.zeros((1024, 1024)), blobs, stamps, noise.white_spectrum())
    faint, bright = compute_limit(frame, 5.0)
    assert faint < 0.3
    assert bright == pytest.approx(1.0)
