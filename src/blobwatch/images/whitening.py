"""Noise spectrum of a frame, and whitening by it."""

from functools import lru_cache

import numpy as np

from blobwatch.errors import BlobwatchError

TILE = 128  # pixels on a side of the tiles whose spectra are averaged
BLOB_SCALE = (0.03, 0.09)  # cycles per pixel that define the noise at the scale of a blob
FLAT = 0.06  # cycles per pixel below which the filter is constant, so that large blobs are not filtered out
KNOWN = 0.8  # share of known pixels that a tile needs
STEPS = 8 * TILE  # entries of the table of gains per cycle per pixel


def noise_spectrum(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Measure the radial power spectrum of the noise of a frame.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float32
        Level subtracted, unknown pixels filled.
    known : ndarray, shape (ny, nx), bool
        Measured pixels.

    Returns
    -------
    ndarray, shape (n,), float64
        Power per pixel in rings of 1 / `TILE` cycles per pixel; ``s**2`` for white noise of rms ``s``.

    Raises
    ------
    BlobwatchError
        If no tile has enough known pixels, or the image has no noise.

    Notes
    -----
    The geometric mean over tiles and rings (corrected for its bias by Euler's constant), so that a source or
    a streak, which is in few tiles or at few frequencies, counts little. Frequencies along the axes are left
    out: row and column offsets and the jumps between opposite edges of a tile have their power there.
    """
    size = TILE
    tiles = cut_tiles(image, size)[cut_tiles(known, size).mean(axis=(1, 2)) >= KNOWN]
    if not len(tiles):
        raise BlobwatchError("too few pixels are known to measure the noise; leave the image out")
    transform = np.fft.rfft2(tiles)
    power = transform.real**2 + transform.imag**2
    with np.errstate(divide="ignore"):
        logarithm = np.log(power, out=power).mean(axis=0, dtype=np.float64)
    ring, count = rings(size)
    mean = np.bincount(ring, logarithm[1:, 1:].ravel(), len(count))[1:] / count[1:]
    spectrum = np.exp(mean + np.euler_gamma) / size**2
    if not (np.isfinite(spectrum) & (spectrum > 0)).all():
        raise BlobwatchError("the image has no noise (most pixels are equal); leave it out")
    return np.concatenate([spectrum[:1], spectrum])


def cut_tiles(image: np.ndarray, size: int) -> np.ndarray:
    """Return the whole tiles of an image, shape (n, size, size)."""
    rows, columns = (side // size for side in image.shape)
    whole = image[: rows * size, : columns * size]
    return whole.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(-1, size, size)


@lru_cache(maxsize=4)
def rings(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ring of each off-axis frequency of a tile, and the number of frequencies per ring."""
    ring = np.rint(radial_frequency((size, size))[1:, 1:] * size).astype(int).ravel()
    return ring, np.maximum(np.bincount(ring), 1)


def radial_frequency(shape: tuple[int, int]) -> np.ndarray:
    """Return the distance from zero (cycles per pixel) of each frequency of `numpy.fft.rfft2`."""
    return np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])


@lru_cache(maxsize=4)
def table_index(shape: tuple[int, int]) -> np.ndarray:
    """Return the entry of the table of gains for each frequency of `numpy.fft.rfft2`."""
    return np.rint(radial_frequency(shape) * STEPS).astype(np.uint16)


def noise_at_blob_scale(spectrum: np.ndarray) -> float:
    """Return the rms per pixel of white noise that is as strong at the scale of a blob."""
    frequency = np.arange(len(spectrum)) / TILE
    inside = (frequency >= BLOB_SCALE[0]) & (frequency <= BLOB_SCALE[1])
    return float(np.sqrt(np.average(spectrum[inside], weights=frequency[inside])))


def whiten(image: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """Filter a frame to unit noise at the scale of a blob and below.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float32
        Level subtracted, unknown pixels filled.
    spectrum : ndarray, shape (n,)
        Of the noise, from `noise_spectrum`.

    Returns
    -------
    ndarray, shape (ny, nx), float32
    """
    noise = noise_at_blob_scale(spectrum)
    frequency = np.arange(STEPS * 3 // 4) / STEPS
    power = np.interp(frequency, np.arange(len(spectrum)) / TILE, spectrum)
    gain = 1.0 / np.where(frequency < FLAT, noise, np.sqrt(power))
    transform = np.fft.rfft2(image)
    transform *= np.take(gain.astype(np.float32), table_index(image.shape))
    return np.fft.irfft2(transform, s=image.shape)
