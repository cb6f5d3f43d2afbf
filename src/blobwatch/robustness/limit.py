"""The limit of any detector: a prewhitened matched filter with the true shape and the true noise spectrum.

Notes
-----
For a blob of unit-norm shape ``s`` and amplitude ``a`` in Gaussian noise of spectrum ``P``, no linear filter
reaches a higher SNR than the prewhitened matched filter, ``a * sqrt(mean(|S|**2 / P))``. Its output in
noise is a smooth Gaussian field of unit variance and of the spectrum ``|S|**2 / P``, up to a factor. Such a
field has ``area * sqrt(det L) * t * exp(-t**2 / 2) / (2 * pi)**1.5`` peaks above a high level ``t``, where
``L`` is the covariance of its gradient (Adler 1981, The Geometry of Random Fields).
"""

from dataclasses import dataclass

import numpy as np

from blobwatch.robustness.frames import RobustnessFrame
from blobwatch.robustness.noise import SIDE

GRID = 256  # modes along each axis on which a shape is transformed
STEP = SIDE // GRID
POSITION_TERMS = 2  # the filter is evaluated at its peak, which has two coordinates


@dataclass(frozen=True)
class Limit:
    """What the limit reaches for the blobs of one frame.

    Attributes
    ----------
    snr : ndarray, shape (m,), float
        Prewhitened SNR of each blob.
    threshold : ndarray, shape (m,), float
        Of the filter with the shape of that blob, at the rate of false alarms.
    recall : ndarray, shape (m,), float
        Probability that the blob is found.
    """

    snr: np.ndarray
    threshold: np.ndarray
    recall: np.ndarray


def compute_limit(frame: RobustnessFrame, rate: float) -> Limit:
    """Return what the limit reaches for each blob of a frame.

    Parameters
    ----------
    frame : RobustnessFrame
    rate : float
        False blobs per 100 frames.
    """
    spectrum = coarse_spectrum(frame.spectrum) * frame.noise_rms**2
    area = float(np.isfinite(frame.image).sum())
    gains, thresholds = [], []
    for stamp in frame.stamps:
        power = whitened_power(stamp.image, spectrum)
        gains.append(np.sqrt(mean_over_modes(power)))
        thresholds.append(noise_threshold(power, area, rate))
    snr, threshold = frame.blobs["snr"] * frame.noise_rms * np.array(gains), np.array(thresholds)
    return Limit(snr, threshold, expected_recall(snr, threshold))


def coarse_spectrum(spectrum: np.ndarray) -> np.ndarray:
    """Return a spectrum, shape (1024, 513), on the modes of the smaller grid, shape (256, 129).

    Offsets of whole rows and columns are in one of 1024 modes along each axis. They cost a filter nearly
    nothing, and are left out, since on the smaller grid that would be one of 256.
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
    """Return the level above which the filtered noise has ``rate`` peaks per 100 frames.

    Parameters
    ----------
    power : ndarray, shape (256, 129)
        Spectrum of the filtered noise, of any scale.
    area : float
        Of a frame, pixels.
    rate : float
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
    """Return the probability that the peak of the filter at a blob passes the threshold.

    The square of the peak is that of the SNR plus noise, and the two coordinates of the peak add a
    chi-squared variable each: a non-central chi-squared distribution of three degrees of freedom.
    """
    from scipy.stats import ncx2

    return ncx2.sf(threshold**2, 1 + POSITION_TERMS, snr**2)
