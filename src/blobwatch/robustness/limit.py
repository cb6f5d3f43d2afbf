"""The detection limit: a prewhitened matched filter with the true shape and noise spectrum.

Notes
-----
For a blob with unit-norm shape ``s`` and amplitude ``a`` in Gaussian noise with spectrum ``P``, the
prewhitened matched filter has the highest SNR of all linear filters: ``a * sqrt(mean(|S|**2 / P))``. For
noise, its output is a smooth Gaussian field with unit variance and a spectrum proportional to ``|S|**2 / P``.
Such a field has ``area * sqrt(det L) * t * exp(-t**2 / 2) / (2 * pi)**1.5`` peaks above a high level ``t``,
where ``L`` is the covariance of its gradient (Adler 1981, The Geometry of Random Fields).
"""

import numpy as np

from blobwatch.robustness.frames import RobustnessFrame
from blobwatch.robustness.noise import SIDE

GRID = 256  # modes along each axis of the transform of a shape
STEP = SIDE // GRID
POSITION_TERMS = 2  # the filter is evaluated at its peak, which has two coordinates


def compute_limit(frame: RobustnessFrame, rate: float) -> np.ndarray:
    """Return the probability to detect each blob, at ``rate`` false blobs per 100 frames."""
    spectrum = coarse_spectrum(frame.spectrum)
    area = float(np.isfinite(frame.image).sum())
    powers = [whitened_power(stamp.image, spectrum) for stamp in frame.stamps]
    gains = np.array([np.sqrt(mean_over_modes(power)) for power in powers])
    thresholds = np.array([noise_threshold(power, area, rate) for power in powers])
    return expected_recall(frame.blobs["snr"] * gains, thresholds)


def coarse_spectrum(spectrum: np.ndarray) -> np.ndarray:
    """Return a spectrum, shape (1024, 513), on the coarse grid, shape (256, 129).

    Offsets of whole rows and columns occupy one of 1024 modes along each axis and hardly affect a filter.
    They are omitted, because on the coarse grid they would occupy one of 256 modes.
    """
    rows = np.arange(0, SIDE, STEP)
    columns = np.arange(0, SIDE // 2 + 1, STEP)
    rows[0], columns[0] = 1, 1
    return spectrum[np.ix_(rows, columns)].astype(np.float64)


def whitened_power(image: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """Return ``|S|**2 / P`` of a unit-norm shape, shape (256, 129)."""
    return np.abs(np.fft.rfft2(image, s=(GRID, GRID))) ** 2 / spectrum


def mean_over_modes(power: np.ndarray) -> float:
    """Return the mean over all modes of a half spectrum."""
    weights = np.full(power.shape[1], 2.0)
    weights[[0, -1]] = 1.0
    return float((power @ weights).sum() / GRID**2)


def noise_threshold(power: np.ndarray, area: float, rate: float) -> float:
    """Return the level that filtered noise exceeds with ``rate`` peaks per 100 frames.

    ``power`` is the spectrum of the noise with arbitrary scale, ``area`` the area of a frame in pixels.
    """
    fy = 2 * np.pi * np.fft.fftfreq(GRID)[:, None]
    fx = 2 * np.pi * np.fft.rfftfreq(GRID)[None, :]
    total = mean_over_modes(power)
    xx, yy = mean_over_modes(power * fx**2) / total, mean_over_modes(power * fy**2) / total
    xy = mean_over_modes(power * fx * fy) / total
    peaks = area * np.sqrt(max(xx * yy - xy**2, 1e-12)) / (2 * np.pi) ** 1.5
    level = 5.0
    for _ in range(20):
        level = np.sqrt(2 * np.log(max(peaks * level * 100 / rate, np.e)))
    return float(level)


def expected_recall(snr: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return the probability that the peak of the filter at a blob exceeds the threshold.

    The squared peak has a non-central chi-squared distribution with three degrees of freedom: one for the
    SNR plus noise, and one for each coordinate of the peak.
    """
    from scipy.stats import ncx2

    return ncx2.sf(threshold**2, 1 + POSITION_TERMS, snr**2)
