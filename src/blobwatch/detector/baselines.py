"""What the network must beat: a bank of five Gaussian matched filters."""

import numpy as np

from blobwatch.images.peaks import APART, Peaks

SIGMAS = (1.5, 2.1, 2.8, 3.8, 5.0)  # pixels
FULL_SCALE = 20.0  # SNR per e-fold of the score, which rises to 1 as a probability does


def matched_filter(scaled: np.ndarray) -> np.ndarray:
    """Return the best SNR over the bank at each pixel.

    Parameters
    ----------
    scaled : ndarray, shape (ny, nx), float32, sigma per pixel

    Returns
    -------
    ndarray, shape (ny, nx), float32
        Amplitude of the unit-norm Gaussian over the noise per pixel.
    """
    from scipy.ndimage import gaussian_filter

    best = np.full(scaled.shape, -np.inf, dtype=np.float32)
    for sigma in SIGMAS:
        # The filter is normed to unit sum; its L2 norm is 1 / (2 sqrt(pi) sigma).
        np.maximum(
            best, gaussian_filter(scaled, sigma, mode="constant") * (2 * np.sqrt(np.pi) * sigma), out=best
        )
    return best


def find_by_filter(scaled: np.ndarray, lowest: float = 4.0) -> tuple[Peaks, float]:
    """Return the peaks of the filter bank above an SNR, and the score of the whole image.

    Parameters
    ----------
    scaled : ndarray, shape (ny, nx), float32, sigma per pixel
    lowest : float
        SNR.

    Returns
    -------
    peaks : Peaks
        Their probability is a rank, not a chance: it rises with the SNR and stays below 1.
    score : float
        Largest SNR of the image, on the same scale.
    """
    from scipy.ndimage import maximum_filter

    snr = matched_filter(scaled)
    top = (snr == maximum_filter(snr, 2 * int(APART) + 1)) & (snr >= lowest)
    y, x = np.nonzero(top)
    order = np.argsort(-snr[y, x], kind="stable")
    y, x = y[order], x[order]
    return Peaks(x.astype(float), y.astype(float), as_score(snr[y, x])), float(as_score(snr.max()))


def as_score(snr: np.ndarray) -> np.ndarray:
    """Return a score from 0 to below 1 that rises with the SNR."""
    return 1.0 - np.exp(-np.maximum(np.asarray(snr, dtype=float), 0.0) / FULL_SCALE)
