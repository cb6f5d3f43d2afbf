"""Scaling of a difference image for the network: zero median, unit noise, clipped, no NaN."""

import numpy as np

from blobwatch.errors import BlobwatchError

STEP = 1 / 16  # sigma; subframes are stored as whole steps in int8
CLIP = 127 * STEP  # sigma
BLOCK = 4  # pixels; side of the blocks that measure correlated noise, the size of a small blob


def level_and_noise(image: np.ndarray) -> tuple[float, float]:
    """Return the median and the robust noise of a frame.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), any unit
        NaN is left out.

    Returns
    -------
    level, noise : float
        In the unit of ``image``, from a sixteenth of the pixels. The noise per pixel is 1.4826 times the
        median absolute deviation, or that of white noise with the same scatter over 4 x 4 pixels if that is
        larger, as in correlated noise.

    Raises
    ------
    BlobwatchError
        If there are too few finite pixels, or they are all equal.
    """
    sample = finite_sample(image)
    level = np.median(sample)
    noise = robust_deviation(sample - level)
    if not noise > 0:
        raise BlobwatchError("the image has no noise (most pixels are equal); leave it out")
    return float(level), float(max(noise, noise_of_blocks(image)))


def sample_pixels(image: np.ndarray) -> np.ndarray:
    """Return a sixteenth of the pixels.

    Flips and rotations of a frame do not change the choice.
    """
    rows, columns = (np.flatnonzero(middle_of_periods(side, 8)) for side in image.shape)
    return image[np.ix_(rows, columns)]


def finite_sample(image: np.ndarray) -> np.ndarray:
    """Return the finite pixels of the sample, shape (n,), and require that they suffice."""
    sample = sample_pixels(image)
    sample = sample[np.isfinite(sample)]
    if sample.size < image.size // 16 // 10:
        raise BlobwatchError("fewer than a tenth of the pixels are finite; leave the image out")
    return sample


def robust_deviation(values: np.ndarray) -> float:
    """Return the robust standard deviation of values about 0."""
    return float(1.4826 * np.median(np.abs(values)))


def noise_of_blocks(image: np.ndarray) -> float:
    """Return the noise per pixel of white noise with the same scatter of block sums.

    It is measured from differences of neighbouring blocks, so that slopes have no effect. A quarter of the
    blocks is used; the result is 0 if too few of them are completely known.
    """
    rows, columns = (middle_of_periods(side // (2 * BLOCK), 4) for side in image.shape)
    height, width = (2 * BLOCK * pairs.size for pairs in (rows, columns))
    sums = block_sums(image[:height, :width], BLOCK)
    sums = sums.reshape(rows.size, 2, columns.size, 2)[rows][:, :, columns]
    steps = np.concatenate([(sums[..., 1] - sums[..., 0]).ravel(), (sums[:, 1] - sums[:, 0]).ravel()])
    known = steps[np.isfinite(steps)]
    if known.size < steps.size // 10:
        return 0.0
    # A block sums BLOCK**2 pixels, and a step has the scatter of two blocks.
    return robust_deviation(known) / BLOCK / np.sqrt(2.0)


def block_sums(image: np.ndarray, size: int) -> np.ndarray:
    """Return the sums of square blocks of ``size`` pixels on a side."""
    rows = image.reshape(image.shape[0] // size, size, -1).sum(axis=1)
    return sum(rows[:, place::size] for place in range(size))


def middle_of_periods(count: int, period: int) -> np.ndarray:
    """Return a mask of the two middle indices of each period, shape (count,).

    If the period divides the count, the mask is symmetric.
    """
    return np.isin(np.arange(count) % period, (period // 2 - 1, period // 2))


def scale_frame(image: np.ndarray, level: float | None = None, noise: float | None = None) -> np.ndarray:
    """Return a frame in units of its own noise, clipped, with unknown pixels at 0.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), any unit, new blob positive
    level, noise : float, optional
        As returned by `level_and_noise`; measured by default.

    Returns
    -------
    ndarray, shape (ny, nx), float32, sigma per pixel, within +-``CLIP``
    """
    if level is None or noise is None:
        level, noise = level_and_noise(image)
    scaled = np.subtract(image, np.float32(level), dtype=np.float32)
    scaled *= np.float32(1.0 / noise)
    scaled[~np.isfinite(scaled)] = 0.0  # infinite pixels are unknown, too
    return np.clip(scaled, -CLIP, CLIP, out=scaled)


def quantize(scaled: np.ndarray) -> np.ndarray:
    """Return a scaled image as whole steps of 1/16 sigma, int8."""
    return np.round(scaled * (1 / STEP)).astype(np.int8)


def dequantize(steps: np.ndarray) -> np.ndarray:
    """Return the scaled image of whole steps, float32."""
    return steps.astype(np.float32) * np.float32(STEP)
