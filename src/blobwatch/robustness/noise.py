"""Stationary noise of a given power spectrum.

A spectrum has the shape (1024, 513) of a real Fourier transform. Its mean over all modes is 1, so that the
noise per pixel is 1.
"""

from functools import lru_cache

import numpy as np

SIDE = 1024


@lru_cache(maxsize=1)
def frequencies() -> tuple[np.ndarray, np.ndarray]:
    """Return the frequencies along y and x in cycles per pixel.

    The shapes are (1024, 1) and (1, 513).
    """
    along_y = np.fft.fftfreq(SIDE).astype(np.float32)[:, None]
    return along_y, np.fft.rfftfreq(SIDE).astype(np.float32)[None, :]


def normalize_spectrum(power: np.ndarray) -> np.ndarray:
    """Return a spectrum scaled to a mean of 1 over all modes."""
    power = np.broadcast_to(power, (SIDE, SIDE // 2 + 1)).astype(np.float32)
    inner = power[:, 1:-1].sum(dtype=np.float64)  # each of these modes counts twice
    total = 2 * inner + power[:, 0].sum(dtype=np.float64) + power[:, -1].sum(dtype=np.float64)
    return power * np.float32(SIDE**2 / total)


def white_spectrum() -> np.ndarray:
    """Return the spectrum of white noise."""
    return np.ones((SIDE, SIDE // 2 + 1), dtype=np.float32)


def smoothed_spectrum(share: float, sigma: float) -> np.ndarray:
    """Return the spectrum of white noise plus a Gaussian-smoothed field.

    ``share`` is the rms of the smoothed field relative to the sum; ``sigma`` is in pixels.
    """
    fy, fx = frequencies()
    smooth = normalize_spectrum(
        np.exp(-((2 * np.pi * sigma * fx) ** 2)) * np.exp(-((2 * np.pi * sigma * fy) ** 2))
    )
    return normalize_spectrum(1.0 - share**2 + share**2 * smooth)


def coupled_spectrum(coupling: float) -> np.ndarray:
    """Return the spectrum of noise that leaks to the four neighbours (``coupling`` to each)."""
    fy, fx = frequencies()
    transfer = 1.0 - 4 * coupling + 2 * coupling * (np.cos(2 * np.pi * fx) + np.cos(2 * np.pi * fy))
    return normalize_spectrum(transfer**2)


def resampled_spectrum(x: float, y: float) -> np.ndarray:
    """Return the spectrum of white noise after a bilinear shift by fractions of a pixel."""
    fy, fx = frequencies()
    along = [1.0 - 2 * d * (1 - d) * (1 - np.cos(2 * np.pi * f)) for d, f in ((x, fx), (y, fy))]
    return normalize_spectrum(along[0] * along[1])


def row_noise_spectrum(knee: float, rows: float, columns: float) -> np.ndarray:
    """Return the spectrum of white noise, 1/f noise along rows, and offsets of rows and columns.

    ``knee`` is the frequency along a row, in cycles per pixel, at which 1/f noise and white noise are equal.
    ``rows`` and ``columns`` are the rms of the offsets relative to the white noise.
    """
    _, fx = frequencies()
    power = np.repeat(1.0 + knee / np.maximum(fx, 1 / SIDE), SIDE, axis=0)
    power[:, 0] += SIDE * rows**2
    power[0, :] += SIDE * columns**2
    return normalize_spectrum(power)


def draw_noise(rng: np.random.Generator, spectrum: np.ndarray) -> np.ndarray:
    """Draw noise with a spectrum, shape (1024, 1024), float32, rms 1 per pixel."""
    from scipy.fft import irfft2, rfft2

    field = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    if (spectrum == spectrum[0, 0]).all():
        return field
    return irfft2(rfft2(field) * np.sqrt(spectrum), s=field.shape)
