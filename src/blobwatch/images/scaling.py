"""Scaling of a difference image for the network: zero median, unit noise, clipped, no NaN."""

import numpy as np

from blobwatch.errors import BlobwatchError

STEP = 1 / 16  # sigma; subframes are kept as whole steps in int8
CLIP = 127 * STEP  # sigma; deeper is not more of a blob
BLOCK = 4  # pixels on a side of the blocks whose scatter tells correlated noise; a small blob's size


def level_and_noise(image: np.ndarray) -> tuple[float, float]:
    """Return the median and the robust noise of a frame.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), any unit
        NaN is left out.

    Returns
    -------
    level, noise : float
        In the unit of ``image``, from a sixteenth of the pixels, the same whichever way round the frame is
        shown. The noise per pixel is 1.4826 times the median absolute deviation. Where noise is correlated
        it averages out less over a blob; then it is that of white noise as strong over 4 x 4 pixels.

    Raises
    ------
    BlobwatchError
        If there are too few finite pixels, or they are all equal.
    """
    rows, columns = (np.flatnonzero(middle_of_periods(side, 8)) for side in image.shape)
    sample = image[np.ix_(rows, columns)]
    sample = sample[np.isfinite(sample)]
    if sample.size < image.size // 16 // 10:
        raise BlobwatchError("fewer than a tenth of the pixels are finite; leave the image out")
    level = np.median(sample)
    noise = robust_deviation(sample - level)
    if not noise > 0:
        raise BlobwatchError("the image has no noise (most pixels are equal); leave it out")
    return float(level), float(max(noise, noise_of_blocks(image)))


def robust_deviation(values: np.ndarray) -> float:
    """Return the robust standard deviation of values about 0."""
    return float(1.4826 * np.median(np.abs(values)))


def noise_of_blocks(image: np.ndarray) -> float:
    """Return the noise per pixel that white noise would have with the scatter of this image's blocks.

    From the differences of neighbouring blocks, so that a slope does not count, of a quarter of the blocks;
    0 where there are too few without an unknown pixel.
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
    """Return which of ``count`` to take: two of each period, those in its middle.

    Where the period divides the count, the choice is its own mirror image.
    """
    return np.isin(np.arange(count) % period, (period // 2 - 1, period // 2))


def scale_frame(image: np.ndarray, level: float | None = None, noise: float | None = None) -> np.ndarray:
    """Return a frame in units of its own noise, clipped, with unknown pixels at zero.

    The unit and the offset of the frame do not matter.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), any unit, new blob positive
    level, noise : float, optional
        As `level_and_noise` gives them for the whole frame; measured where absent.

    Returns
    -------
    ndarray, shape (ny, nx), float32, sigma per pixel, within +-``CLIP``
    """
    if level is None or noise is None:
        level, noise = level_and_noise(image)
    scaled = np.subtract(image, np.float32(level), dtype=np.float32)
    scaled *= np.float32(1.0 / noise)
    scaled[~np.isfinite(scaled)] = 0.0  # an infinite pixel is as unknown as a NaN
    return np.clip(scaled, -CLIP, CLIP, out=scaled)


def quantize(scaled: np.ndarray) -> np.ndarray:
    """Return a scaled image as whole steps of 1/16 sigma, int8, for the disk."""
    return np.round(scaled * (1 / STEP)).astype(np.int8)


def dequantize(steps: np.ndarray) -> np.ndarray:
    """Return the scaled image, float32, of whole steps."""
    return steps.astype(np.float32) * np.float32(STEP)
