"""Noise spectrum of a frame, and whitening: the noise is made equally strong at all scales of a blob."""

from functools import lru_cache

import numpy as np

from blobwatch.errors import BlobwatchError

TILE = 128  # pixels on a side of the tiles whose spectra are averaged
BLOB_SCALE = (0.03, 0.09)  # cycles per pixel: where most of the power of a blob is
FLAT = 0.06  # cycles per pixel below which the filter is 1, so that large blobs are not filtered out
KNOWN = 0.8  # share of known pixels that a tile needs
EULER = 0.5772156649  # minus the mean of the logarithm of an exponential variate of mean 1


def noise_spectrum(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Measure the radial power spectrum of the noise of a frame.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float32
        Without level; unknown pixels filled.
    known : ndarray, shape (ny, nx), bool
        Which pixels were measured.

    Returns
    -------
    ndarray, shape (n,), float64
        Power per pixel (white noise of standard deviation ``s`` has ``s**2``) in rings of 1 / `TILE`
        cycles per pixel.

    Raises
    ------
    BlobwatchError
        If no tile has enough known pixels, or the image has no noise.

    Notes
    -----
    The geometric mean over the tiles and over each ring, so that a source or streak, which is in a few
    tiles or frequencies, counts little. Frequencies along the axes are left out: rows and columns that
    differ, and the jumps between opposite edges of a tile, have their power there.
    """
    size = min(TILE, *image.shape)
    tiles = cut_tiles(image, size)[cut_tiles(known, size).mean(axis=(1, 2)) >= KNOWN]
    if not len(tiles):
        raise BlobwatchError("too few pixels are known to measure the noise; leave the image out")
    power = np.abs(np.fft.rfft2(tiles)) ** 2
    with np.errstate(divide="ignore"):
        logarithm = np.log(power).mean(axis=0)
    ring, count = rings(size)
    mean = np.bincount(ring, logarithm[1:, 1:].ravel(), len(count))[1:] / count[1:]
    spectrum = np.exp(mean + EULER) / size**2
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
    """Return the ring of each frequency of a tile off the axes, and the number of frequencies in each ring."""
    ring = np.rint(radial_frequency((size, size))[1:, 1:] * size).astype(int).ravel()
    return ring, np.maximum(np.bincount(ring), 1)


@lru_cache(maxsize=4)
def radial_frequency(shape: tuple[int, int]) -> np.ndarray:
    """Return the distance from zero (cycles per pixel) of each frequency of `numpy.fft.rfft2`."""
    return np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])


@lru_cache(maxsize=4)
def table_index(shape: tuple[int, int], steps: int) -> np.ndarray:
    """Return the entry of a table of ``steps`` per cycle that belongs to each frequency."""
    return np.rint(radial_frequency(shape) * steps).astype(np.intp)


def noise_at_blob_scale(spectrum: np.ndarray) -> float:
    """Return the noise per pixel of white noise as strong as this at the scale of a blob."""
    frequency = np.arange(len(spectrum)) / TILE
    inside = (frequency >= BLOB_SCALE[0]) & (frequency <= BLOB_SCALE[1])
    return float(np.sqrt(np.average(spectrum[inside], weights=frequency[inside])))


def whiten(image: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """Return a frame in units of its noise, the noise equally strong from the scale of a blob down to a pixel.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float32
        Without level and unknown pixels.
    spectrum : ndarray, shape (n,)
        Of `noise_spectrum`.

    Returns
    -------
    ndarray, shape (ny, nx), float32
    """
    noise = noise_at_blob_scale(spectrum)
    steps = 8 * TILE
    frequency = np.arange(steps * 3 // 4) / steps
    power = np.interp(frequency, np.arange(len(spectrum)) / TILE, spectrum)
    gain = np.where(frequency < FLAT, 1.0, noise / np.sqrt(power)) / noise
    transform = np.fft.rfft2(image)
    transform *= gain.astype(np.float32)[table_index(image.shape, steps)]
    return np.fft.irfft2(transform, s=image.shape)
