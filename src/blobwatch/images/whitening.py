"""Noise spectrum of a frame, and whitening."""

from functools import lru_cache

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.images.scaling import BLOCK, block_sums, robust_deviation

TILE = 128  # pixels on a side of the tiles whose spectra are averaged
BLOB_SCALE = (0.03, 0.09)  # cycles per pixel that define the noise at the scale of a blob
LOW = 0.06  # cycles per pixel; lower frequencies are not amplified: their background was subtracted
HALF = 0.5  # share of known pixels above which a block counts
SOURCE = 3.5  # sigma of the block sums above which a block is a source
KNOWN = 0.8  # share of known pixels that a tile needs


def noise_spectrum(image: np.ndarray, known: np.ndarray, clip: float) -> np.ndarray:
    """Measure the power spectrum of the noise of a frame.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float32
        Background subtracted, unknown pixels filled.
    known : ndarray, shape (ny, nx), bool
        Measured pixels.
    clip : float
        Pixels are clipped at +-``clip``, so that stars and blobs have little weight.

    Returns
    -------
    ndarray, shape (128, 65), float64
        Power per pixel at the frequencies of ``numpy.fft.rfft2`` of a tile; ``s**2`` for white noise of rms
        ``s``.

    Raises
    ------
    BlobwatchError
        If no tile has enough known pixels, or the image has no noise.

    Notes
    -----
    The spectrum is the geometric mean over windowed tiles and 3 x 3 frequencies, corrected for its bias by
    Euler's constant. So a source or a streak, which is in few tiles, has little weight. The spectrum has two
    dimensions because row offsets are noise along one axis only.
    """
    tiles = cut_tiles(mask_sources(image, known))[cut_tiles(known).mean(axis=(1, 2)) >= KNOWN]
    if not len(tiles):
        raise BlobwatchError("too few pixels are known to measure the noise; leave the image out")
    window = np.sin(np.pi * (np.arange(TILE) + 0.5) / TILE) ** 2
    window = np.outer(window, window).astype(image.dtype)
    # Without a norm numpy computes in double precision, which is four times as slow.
    transform = np.fft.rfft2(np.clip(tiles, -clip, clip) * window, norm="ortho")
    power = transform.real**2 + transform.imag**2
    with np.errstate(divide="ignore"):
        logarithm = np.log(power, out=power).mean(axis=0, dtype=np.float64)
    spectrum = np.exp(smooth_spectrum(logarithm) + np.euler_gamma) / np.mean(window**2, dtype=np.float64)
    if not (np.isfinite(spectrum) & (spectrum > 0)).all():
        raise BlobwatchError("the image has no noise (most pixels are equal); leave it out")
    return spectrum


def mask_sources(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return an image with 0 in the blocks that contain blobs, stars or streaks."""
    quiet = np.ones(image.shape, dtype=bool)
    for size in (BLOCK, 2 * BLOCK):
        sums = block_sums(image, size)
        counted = sums[block_sums(known, size) > HALF * size**2]
        if counted.size:
            usual = np.abs(sums) <= SOURCE * robust_deviation(counted)
            quiet &= usual.repeat(size, axis=1).repeat(size, axis=0)
    return image * quiet


def cut_tiles(image: np.ndarray) -> np.ndarray:
    """Return the whole tiles of an image, shape (n, TILE, TILE)."""
    rows, columns = (side // TILE for side in image.shape)
    whole = image[: rows * TILE, : columns * TILE]
    return whole.reshape(rows, TILE, columns, TILE).swapaxes(1, 2).reshape(-1, TILE, TILE)


def smooth_spectrum(half: np.ndarray) -> np.ndarray:
    """Return the means over 3 x 3 frequencies of half a symmetric spectrum, shape (TILE, n)."""
    mirrored = np.roll(half[::-1], 1, axis=0)  # of the negative frequencies
    wide = np.concatenate([mirrored[:, 1:2], half, mirrored[:, -2:-1]], axis=1)
    across = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    return (np.roll(across, 1, axis=0) + across + np.roll(across, -1, axis=0)) / 9


def frequencies() -> np.ndarray:
    """Return the absolute frequencies of a spectrum, cycles per pixel, shape (128, 65)."""
    return np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE))


def noise_at_blob_scale(spectrum: np.ndarray) -> float:
    """Return the rms per pixel of white noise with the same power at the scale of a blob."""
    frequency = frequencies()
    weights = ((frequency >= BLOB_SCALE[0]) & (frequency <= BLOB_SCALE[1])).astype(float)
    weights[:, 1:-1] *= 2  # they represent the other half, too
    return float(np.sqrt(np.average(spectrum, weights=weights)))


def whiten(image: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """Divide a frame by the square root of its noise spectrum.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float32
        Background subtracted, unknown pixels filled.
    spectrum : ndarray, shape (128, 65)
        Of the noise, from `noise_spectrum`.

    Returns
    -------
    ndarray, shape (ny, nx), float32
        With unit noise. Frequencies below `LOW` are divided by the noise at the scale of a blob if that is
        larger.
    """
    gain = 1 / np.sqrt(spectrum)
    low = frequencies() < LOW
    gain[low] = np.minimum(gain[low], 1 / noise_at_blob_scale(spectrum))
    rows, columns = interpolation_matrices(*image.shape, image.dtype)
    transform = np.fft.rfft2(image, norm="ortho")
    transform *= rows @ gain.astype(image.dtype) @ columns
    return np.fft.irfft2(transform, s=image.shape, norm="ortho")


@lru_cache(maxsize=4)
def interpolation_matrices(ny: int, nx: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return the interpolation matrices from the frequencies of a tile to those of a frame."""
    rows = linear_interpolation(np.fft.fftfreq(ny) * TILE % TILE, TILE)
    columns = linear_interpolation(np.fft.rfftfreq(nx) * TILE, TILE // 2 + 1)
    return rows.astype(dtype), columns.T.astype(dtype)


def linear_interpolation(place: np.ndarray, count: int) -> np.ndarray:
    """Return the matrix of linear interpolation between ``count`` cyclic points."""
    low = place.astype(int)
    points, share = np.eye(count), (place - low)[:, None]
    return (1 - share) * points[low] + share * points[(low + 1) % count]
