"""Cleaning of a difference image: bad pixels, row, column and amplifier offsets, noise."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.images.flatten import cubic_interpolation, median_without_nan
from blobwatch.images.offsets import measure_offsets
from blobwatch.images.scaling import finite_sample, noise_of_blocks, robust_deviation, sample_pixels
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.detector import DEATH_STAR, DEATH_STAR_MASK

BOX = 64  # pixels; side of the boxes whose medians are the local background
OUTLIER = 4.5  # sigma above the median of its 5 x 5 box, from which a pixel may be bad
LIKE = 0.5  # of the value of a pixel; brighter neighbours are alike
SHARE = 1 / 6  # of the known pixels of the box may be alike: 4 of 25; a small blob has at least 8
REACH = 2  # pixels from the centre of a 5 x 5 box to its side


@dataclass(frozen=True)
class CleanFrame:
    """A cleaned difference image.

    Attributes
    ----------
    image : ndarray, shape (ny, nx), float32 (float64 if the input is)
        Level and offsets subtracted, in the unit of the input; NaN where unknown or masked.
    masked : ndarray, shape (ny, nx), bool
        Masked finite pixels of the input: isolated pixels, small clusters, the death star.
    level : float
        Median of the input.
    noise : float
        Noise per pixel at the scale of a blob, in the unit of the input.
    """

    image: np.ndarray
    masked: np.ndarray
    level: float
    noise: float


def clean_frame(image: np.ndarray) -> CleanFrame:
    """Mask bad pixels and subtract the offsets of rows, columns and amplifiers.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), any unit, new blob positive
        Both sides are multiples of 8; pixels that are not finite are unknown.

    Returns
    -------
    CleanFrame

    Raises
    ------
    BlobwatchError
        If there are too few finite pixels, or they are all equal.

    Notes
    -----
    Measured on simulated frames, sigma being the noise per pixel:

    * In white noise 0.001 % of the pixels are masked. Of single bad pixels of 6 sigma 92 % are, of squares of
      four 84 %, of those of 15 sigma and more 99 %. Clusters of more than four pixels stay.
    * With 1.5 % bad pixels the noise is right within 1 %.
    * The amplitude of a blob (half-width 2.5-12 px, SNR 5-200) does not change in white noise. In frames with
      stripes of 0.05 sigma the median change is 0.3 %, and 3 % for the widest and faintest blobs.
    """
    level = np.median(finite_sample(image))
    # Frames for training are float64, so that subframes are the same on each type of processor.
    image = np.subtract(image, level, dtype=np.result_type(image, np.float32))
    image[~np.isfinite(image)] = np.nan
    background = local_background(image)
    excess = image - background
    sigma = noise_of_pixels(excess)
    if not sigma > 0:
        raise BlobwatchError("the image has no noise (most pixels are equal); leave it out")
    offsets = measure_offsets(excess, background, sigma)
    offsets.subtract_stripes(excess)
    masked = find_bad_pixels(excess, sigma)
    if image.shape == (wfc3ir.SIZE, wfc3ir.SIZE):
        masked |= death_star_mask() & np.isfinite(excess)
    excess[masked] = np.nan
    noise = float(max(noise_of_pixels(excess), noise_of_blocks(excess)))
    image = np.add(excess, background, out=background)
    offsets.subtract_steps(image)
    return CleanFrame(image, masked, float(level), noise)


def fill_unknown(image: np.ndarray) -> np.ndarray:
    """Return an image with each NaN replaced by the mean of its neighbours.

    Returns
    -------
    ndarray, shape (ny, nx), float32
        0 where none of the eight neighbours is known.
    """
    unknown = np.flatnonzero(np.isnan(image))
    boxes = boxes_around(image, unknown, 1)
    known = np.isfinite(boxes)
    filled = image.copy()
    filled.flat[unknown] = np.where(known, boxes, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return filled


def noise_of_pixels(excess: np.ndarray) -> float:
    """Return the robust noise per pixel of an image without background."""
    sample = sample_pixels(excess)
    return robust_deviation(sample[np.isfinite(sample)])


def local_background(image: np.ndarray) -> np.ndarray:
    """Return the smooth part of each quadrant: medians of boxes joined by cubics."""
    sample = sample_pixels(image)
    matrices, counts = zip(*(halves_interpolation(side) for side in image.shape), strict=True)
    (rows, columns), (height, width) = counts, sample.shape
    boxes = sample.reshape(rows, height // rows, columns, width // columns).swapaxes(1, 2)
    mesh = median_without_nan(boxes.reshape(rows, columns, -1))
    mesh = np.where(np.isfinite(mesh), mesh, 0.0).astype(image.dtype)
    return matrices[0] @ mesh @ matrices[1].T


@lru_cache(maxsize=8)
def halves_interpolation(side: int) -> tuple[np.ndarray, int]:
    """Return the interpolation matrix of each half of a side, and the number of boxes."""
    half = side // 2
    matrix = cubic_interpolation(half, BOX if half % BOX == 0 else half)
    return np.kron(np.eye(2), matrix).astype(np.float32), 2 * matrix.shape[1]


def find_bad_pixels(excess: np.ndarray, sigma: float) -> np.ndarray:
    """Return the mask of isolated bad pixels and small clusters of them.

    A bad pixel satisfies two conditions. It is more than `OUTLIER` sigma above the median of its 5 x 5 box.
    At most the share `SHARE` of the known pixels of the box is above `LIKE` times its value: this keeps the
    peak of a small, deep blob. Pixels below the background are treated in the same way.

    Parameters
    ----------
    excess : ndarray, shape (ny, nx), float32
        Above the local background; NaN where unknown.
    sigma : float
        Noise per pixel.
    """
    # The median of a box is rarely further than half a sigma from the background.
    places = np.flatnonzero(np.abs(excess) > (OUTLIER - 0.5) * sigma)
    boxes = boxes_around(excess, places, REACH)
    value = excess.flat[places]
    boxes *= np.sign(value)
    value = np.abs(value)
    known = np.isfinite(boxes).sum(axis=0)
    below = (boxes < value - OUTLIER * sigma).sum(axis=0)
    alike = (boxes > LIKE * value).sum(axis=0)
    masked = np.zeros(excess.shape, dtype=bool)
    masked.flat[places[(2 * below >= known) & (alike <= SHARE * known)]] = True
    return masked


def boxes_around(image: np.ndarray, places: np.ndarray, reach: int) -> np.ndarray:
    """Return the boxes around pixels, given by flat indices.

    Shape ((2 reach + 1)**2, n), NaN beyond the edge.
    """
    padded = np.pad(image, reach, constant_values=np.nan)
    y, x = np.divmod(places, image.shape[1])
    width, steps = padded.shape[1], np.arange(2 * reach + 1)
    box = (steps[:, None] * width + steps).ravel()
    return padded.ravel()[box[:, None] + y * width + x]


@lru_cache(maxsize=1)
def death_star_mask() -> np.ndarray:
    """Return the mask of the ring of dead pixels, shape (1024, 1024), bool."""
    x, y, _ = DEATH_STAR
    v, u = np.ogrid[: wfc3ir.SIZE, : wfc3ir.SIZE]
    return np.hypot(u - x, v - y) <= DEATH_STAR_MASK
