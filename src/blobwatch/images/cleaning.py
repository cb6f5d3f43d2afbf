"""Cleaning of a difference image: bad pixels, row, column and amplifier offsets, noise."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.images.blobimage import interpolation, median_without_nan
from blobwatch.images.scaling import deviation, noise_of_blocks
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.detector import DEATH_STAR, DEATH_STAR_MASK

BOX = 64  # pixels; side of the boxes whose medians are the local background
PERIOD = 8  # pixels; statistics use two of eight rows and two of eight columns
USUAL = 3.0  # sigma; only pixels nearer to the local background count for the offsets
OUTLIER = 4.0  # sigma above the median of its 5 x 5 box, from which a pixel may be bad
LIKE = 0.5  # of its own value; neighbours above it have the same light
SHARE = 1 / 6  # of the known pixels of the box may be alike: 4 of 25; a small blob has 8 and more
REACH = 2  # pixels from the middle of a 5 x 5 box to its side
SMOOTH = 33  # rows or columns; offsets are relative to the mean of so many, so that no wide blob is lost
SEAM = 64  # pixels on each side of the seam of two amplifiers, in which their step is measured


@dataclass(frozen=True)
class CleanFrame:
    """A cleaned difference image.

    Attributes
    ----------
    image : ndarray, shape (ny, nx), float32
        Level and offsets subtracted, in the unit of the input; NaN where unknown or masked.
    masked : ndarray, shape (ny, nx), bool
        Finite pixels of the input that are masked: isolated pixels, small clusters, the death star.
    level : float
        Median of the input.
    noise : float
        Noise per pixel at the scale of a blob, in the unit of the input.
    """

    image: np.ndarray
    masked: np.ndarray
    level: float
    noise: float

    def filled(self) -> np.ndarray:
        """Return the image with each unknown pixel as the mean of its neighbours.

        Returns
        -------
        ndarray, shape (ny, nx), float32
            0 where none of the eight neighbours is known.
        """
        unknown = np.flatnonzero(np.isnan(self.image))
        boxes = boxes_around(self.image, unknown, 1)
        known = np.isfinite(boxes)
        filled = self.image.copy()
        filled.flat[unknown] = np.where(known, boxes, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        return filled


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
    """
    sample = sampled(image)
    sample = sample[np.isfinite(sample)]
    if sample.size < image.size // 16 // 10:
        raise BlobwatchError("fewer than a tenth of the pixels are finite; leave the image out")
    level = np.float32(np.median(sample))
    image = np.subtract(image, level, dtype=np.float32)
    image[~np.isfinite(image)] = np.nan
    background = local_background(image)
    excess = image - background
    sigma = noise_of_pixels(excess)
    if not sigma > 0:
        raise BlobwatchError("the image has no noise (most pixels are equal); leave it out")
    quadrants, rows, columns = offsets(excess, background, sigma)
    by_column_half(excess)[:] -= columns[:, None, :]
    by_row_half(excess)[:] -= rows.T[:, :, None]
    masked = isolated(excess, sigma)
    if image.shape == (wfc3ir.SIZE, wfc3ir.SIZE):
        masked |= death_star() & np.isfinite(excess)
    excess[masked] = np.nan
    noise = max(noise_of_pixels(excess), noise_of_blocks(excess))
    image = np.add(excess, background, out=background)
    for half, levels in zip(np.split(image, 2), quadrants, strict=True):
        by_row_half(half)[:] -= levels[:, None]
    return CleanFrame(image, masked, float(level), noise)


def by_column_half(image: np.ndarray) -> np.ndarray:
    """Return a view of an image with the halves of its columns apart, shape (2, ny / 2, nx)."""
    return image.reshape(2, image.shape[0] // 2, image.shape[1])


def by_row_half(image: np.ndarray) -> np.ndarray:
    """Return a view of an image with the halves of its rows apart, shape (ny, 2, nx / 2)."""
    return image.reshape(image.shape[0], 2, image.shape[1] // 2)


def sampled(image: np.ndarray) -> np.ndarray:
    """Return a sixteenth of the pixels, the same whichever way round the frame is shown."""
    ny, nx = (side // PERIOD for side in image.shape)
    middle = slice(PERIOD // 2 - 1, PERIOD // 2 + 1)
    return image.reshape(ny, PERIOD, nx, PERIOD)[:, middle, :, middle].reshape(2 * ny, 2 * nx)


def noise_of_pixels(excess: np.ndarray) -> float:
    """Return the robust noise per pixel of an image without background."""
    sample = sampled(excess)
    return deviation(sample[np.isfinite(sample)])


def local_background(image: np.ndarray) -> np.ndarray:
    """Return the smooth part of an image, amplifier by amplifier: medians of boxes joined by cubics."""
    sample = sampled(image)
    matrices, counts = zip(*(halves_interpolation(side) for side in image.shape), strict=True)
    (rows, columns), (height, width) = counts, sample.shape
    boxes = sample.reshape(rows, height // rows, columns, width // columns).swapaxes(1, 2)
    mesh = median_without_nan(boxes.reshape(rows, columns, -1))
    mesh = np.where(np.isfinite(mesh), mesh, 0.0).astype(np.float32)
    return matrices[0] @ mesh @ matrices[1].T


@lru_cache(maxsize=8)
def halves_interpolation(side: int) -> tuple[np.ndarray, int]:
    """Return the matrix that joins the box centres within each half of a side, and the number of boxes."""
    half = side // 2
    matrix = interpolation(half, BOX if half % BOX == 0 else half)
    return np.kron(np.eye(2), matrix).astype(np.float32), 2 * matrix.shape[1]


def offsets(
    excess: np.ndarray, background: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the offsets of amplifiers, rows and columns.

    Each estimate is multiplied by the share of its variance that is not noise: nothing is subtracted from
    a frame without offsets.

    Returns
    -------
    quadrants : ndarray, shape (2, 2), float32
    rows : ndarray, shape (2, ny), float32
        In the left and the right half.
    columns : ndarray, shape (2, nx), float32
        In the lower and the upper half.
    """
    usual = np.abs(excess) < USUAL * sigma
    values = np.where(usual, excess, np.float32(0))
    counted = usual.astype(np.float32)
    column_means, column_counts = (by_column_half(part).sum(axis=1) for part in (values, counted))
    row_means, row_counts = (by_row_half(part).sum(axis=2).T for part in (values, counted))
    column_means /= np.maximum(column_counts, 1)
    row_means /= np.maximum(row_counts, 1)
    quadrants = amplifier_levels(
        column_means + by_column_half(background).mean(axis=1),
        row_means + by_row_half(background).mean(axis=2).T,
    )
    return (
        quadrants,
        stripe_offsets(row_means, row_counts, sigma),
        stripe_offsets(column_means, column_counts, sigma),
    )


def stripe_offsets(means: np.ndarray, counts: np.ndarray, sigma: float) -> np.ndarray:
    """Return the offsets of the columns (or rows) in both halves, shape (2, n).

    What both halves share and in what they differ are estimated each for itself.
    """
    known = (counts > 0).all(axis=0)
    if not known.any():
        return np.zeros_like(means)
    variance = sigma**2 * np.mean(1 / counts[:, known]) / 2 * (1 - 1 / SMOOTH)
    parts = []
    for part in (means[0] + means[1]) / 2, (means[0] - means[1]) / 2:
        part = sharp_part(np.where(known, part, 0), known)
        observed = np.mean(part[known] ** 2)
        parts.append(part * max(0.0, 1 - variance / observed) if observed > 0 else part)
    return np.stack([parts[0] + parts[1], parts[0] - parts[1]]).astype(np.float32)


def sharp_part(profile: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return a profile minus its running mean, half by half."""
    result = np.zeros_like(profile)
    for half in np.split(np.arange(profile.size), 2):
        window = np.ones(min(SMOOTH, half.size - 1 + half.size % 2))
        smooth = np.convolve(profile[half], window, "same")
        result[half] = profile[half] - smooth / np.maximum(np.convolve(known[half], window, "same"), 1)
    return np.where(known, result, 0)


def amplifier_levels(across: np.ndarray, upward: np.ndarray) -> np.ndarray:
    """Return the levels of the four quadrants, mean 0, from the profiles across and along the frame.

    Parameters
    ----------
    across : ndarray, shape (2, nx)
        Means of the columns in the lower and the upper half.
    upward : ndarray, shape (2, ny)
        Means of the rows in the left and the right half.
    """
    (low, up), variance_x = seam_steps(across)
    (left, right), variance_y = seam_steps(upward)
    step_x = significant((low + up) / 2, variance_x / 2)
    step_y = significant((left + right) / 2, variance_y / 2)
    twist = significant((up - low + right - left) / 4, (variance_x + variance_y) / 8)
    sign = np.array([-0.5, 0.5])
    levels = step_x * sign[None, :] + step_y * sign[:, None] + 2 * twist * np.outer(sign, sign)
    return levels.astype(np.float32)


def seam_steps(profiles: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the steps in the middle of two profiles, and their variance; a slope is fitted as well."""
    n = profiles.shape[1]
    reach = min(SEAM, n // 2)
    place = np.arange(2 * reach) - reach + 0.5
    terms = np.stack([np.ones(2 * reach), place / reach, np.sign(place) / 2], axis=1)
    inverse = np.linalg.inv(terms.T @ terms)
    near = profiles[:, n // 2 - reach : n // 2 + reach].T.astype(np.float64)
    found = inverse @ terms.T @ near
    scatter = np.sum((near - terms @ found) ** 2) / max(2 * (2 * reach - 3), 1)
    return found[2], float(scatter * inverse[2, 2])


def significant(step: float, variance: float) -> float:
    """Return a step, shrunk toward 0 where it is not well above its error."""
    return float(step * max(0.0, 1 - 4 * variance / step**2)) if step else 0.0


def isolated(excess: np.ndarray, sigma: float) -> np.ndarray:
    """Return which pixels are bad: far from the background, and alone or in a small cluster.

    A pixel is bad if it is more than ``OUTLIER`` sigma above the median of its 5 x 5 box, and if at most a
    sixth of the known pixels of the box is above ``LIKE`` times its value. The second condition keeps the
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
    below = (boxes < value - np.float32(OUTLIER * sigma)).sum(axis=0)
    alike = (boxes > LIKE * value).sum(axis=0)
    masked = np.zeros(excess.shape, dtype=bool)
    masked.flat[places[(2 * below >= known) & (alike <= SHARE * known)]] = True
    return masked


def boxes_around(image: np.ndarray, places: np.ndarray, reach: int) -> np.ndarray:
    """Return the boxes around pixels (flat indices), shape ((2 reach + 1)**2, n), NaN beyond the edge."""
    padded = np.pad(image, reach, constant_values=np.nan)
    y, x = np.divmod(places, image.shape[1])
    width, steps = padded.shape[1], np.arange(2 * reach + 1)
    box = (steps[:, None] * width + steps).ravel()
    return padded.ravel()[box[:, None] + y * width + x]


@lru_cache(maxsize=1)
def death_star() -> np.ndarray:
    """Return the mask of the ring of dead pixels, shape (1024, 1024), bool."""
    x, y, _ = DEATH_STAR
    v, u = np.ogrid[: wfc3ir.SIZE, : wfc3ir.SIZE]
    return np.hypot(u - x, v - y) <= DEATH_STAR_MASK
