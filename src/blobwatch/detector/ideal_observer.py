"""The ideal observer: matched filters for all shapes of blobs in white noise."""

import itertools
from functools import lru_cache

import numpy as np

from blobwatch.detector.baselines import find_snr_peaks
from blobwatch.images.peaks import Peaks
from blobwatch.instrument.blobs import Blob

HALF_WIDTHS = (2.4, 2.9, 3.4, 4.1, 4.9, 5.9, 7.0, 8.4, 10.0, 12.0)  # pixels
EXPONENTS = (1.05, 1.5)
EDGES = (2.7, 8.0)
RING_HALF_WIDTHS = (8.0, 9.0, 10.0, 11.3)  # only large blobs are rings
RING = {"exponent": 1.25, "hole": 0.4}


def shape_bank() -> list[np.ndarray]:
    """Return the shapes, each with unit norm and centred on a pixel."""
    shapes = [
        Blob(0.0, 0.0, half_width, 1.0, exponent=exponent, edge=edge)
        for half_width, exponent, edge in itertools.product(HALF_WIDTHS, EXPONENTS, EDGES)
    ]
    shapes += [
        Blob(0.0, 0.0, half_width, 1.0, edge=edge, **RING)
        for half_width, edge in itertools.product(RING_HALF_WIDTHS, EDGES)
    ]
    stamps = [blob.unit_shape()[0] for blob in shapes]
    return [stamp / np.sqrt((stamp**2).sum()) for stamp in stamps]


@lru_cache(maxsize=1)
def bank_transforms(ny: int, nx: int) -> np.ndarray:
    """Return the Fourier transforms of the bank.

    Shape (shapes, ny, nx // 2 + 1), float32.
    """
    from scipy.fft import rfft2

    spectra = []
    for stamp in shape_bank():
        image = np.zeros((ny, nx), dtype=np.float32)
        image[: len(stamp), : len(stamp)] = stamp
        image = np.roll(image, -(len(stamp) // 2), axis=(0, 1))
        spectra.append(rfft2(image, workers=2).real)  # even shapes have a real transform
    return np.stack(spectra)


def ideal_snr(scaled: np.ndarray) -> np.ndarray:
    """Return the best SNR of all shapes at each pixel.

    Parameters
    ----------
    scaled : ndarray, shape (ny, nx), float32, sigma per pixel
        White noise with blobs. The frame is treated as periodic.

    Returns
    -------
    ndarray, shape (ny, nx), float32
        Amplitude of the unit-norm shape, divided by the noise per pixel.
    """
    from scipy.fft import irfft2, rfft2

    spectrum = rfft2(scaled, workers=2)
    best = np.full(scaled.shape, -np.inf, dtype=np.float32)
    for transform in bank_transforms(*scaled.shape):
        np.maximum(best, irfft2(spectrum * transform, s=scaled.shape, workers=2), out=best)
    return best


def find_by_ideal_observer(scaled: np.ndarray) -> tuple[Peaks, float]:
    """Return the peaks of the ideal observer and the score of the whole frame.

    Parameters and results are those of `find_by_filter`.

    Notes
    -----
    In white noise of known level, the largest output of unit-norm matched filters is the generalised
    likelihood ratio test for a blob of unknown shape and position. Measured on 1,000 drawn blobs, the 48
    shapes preserve 98.7 % of the SNR on average (96.8 % at the fifth percentile); 328 shapes preserve
    99.0 %, a gain of 0.02 at SNR 5. Most of the remaining loss is due to positions between pixel centres.
    """
    return find_snr_peaks(ideal_snr(scaled))
