"""Offsets of rows, columns and amplifiers in a difference image.

Each amplifier reads one quadrant, so the two halves of a row or column have separate offsets. Each estimate
is multiplied by the share of its variance that is not noise: a frame without offsets does not change.
"""

from dataclasses import dataclass

import numpy as np

USUAL = 3.0  # sigma; pixels further from the local background are excluded
SMOOTH = 33  # rows or columns of the running mean that is subtracted from offsets, to keep wide blobs
SEAM = 64  # pixels on each side of the seam of two amplifiers that define their step


@dataclass(frozen=True)
class Offsets:
    """Offsets of a difference image, in its unit.

    Attributes
    ----------
    quadrants : ndarray, shape (2, 2), float32
        Levels of the amplifiers, mean 0.
    rows : ndarray, shape (2, ny), float32
        Of the left and the right half.
    columns : ndarray, shape (2, nx), float32
        Of the lower and the upper half.
    """

    quadrants: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    def subtract_stripes(self, image: np.ndarray) -> None:
        """Subtract the offsets of rows and columns from an image in place."""
        by_column_half(image)[:] -= self.columns[:, None, :]
        by_row_half(image)[:] -= self.rows.T[:, :, None]

    def subtract_steps(self, image: np.ndarray) -> None:
        """Subtract the levels of the amplifiers from an image in place."""
        for half, levels in zip(by_column_half(image), self.quadrants, strict=True):
            by_row_half(half)[:] -= levels[:, None]


def measure_offsets(excess: np.ndarray, background: np.ndarray, sigma: float) -> Offsets:
    """Return the offsets of an image.

    Parameters
    ----------
    excess : ndarray, shape (ny, nx), float32
        Above the background; NaN where unknown.
    background : ndarray, shape (ny, nx), float32
        Smooth within each quadrant.
    sigma : float
        Noise per pixel.
    """
    usual = np.abs(excess) < USUAL * sigma
    values = np.where(usual, excess, 0)
    counted = usual.astype(excess.dtype)
    column_means, column_counts = (by_column_half(part).sum(axis=1) for part in (values, counted))
    row_means, row_counts = (by_row_half(part).sum(axis=2).T for part in (values, counted))
    column_means /= np.maximum(column_counts, 1)
    row_means /= np.maximum(row_counts, 1)
    quadrants = amplifier_levels(
        column_means + by_column_half(background).mean(axis=1),
        row_means + by_row_half(background).mean(axis=2).T,
    )
    rows = stripe_offsets(row_means, row_counts, sigma)
    return Offsets(quadrants, rows, stripe_offsets(column_means, column_counts, sigma))


def by_column_half(image: np.ndarray) -> np.ndarray:
    """Return a view of shape (2, ny / 2, nx): the halves of the columns."""
    return image.reshape(2, image.shape[0] // 2, image.shape[1])


def by_row_half(image: np.ndarray) -> np.ndarray:
    """Return a view of shape (ny, 2, nx / 2): the halves of the rows."""
    return image.reshape(image.shape[0], 2, image.shape[1] // 2)


def stripe_offsets(means: np.ndarray, counts: np.ndarray, sigma: float) -> np.ndarray:
    """Return the offsets of the columns (or rows) in both halves, shape (2, n).

    The mean and the difference of the halves are estimated separately.
    """
    known = np.all(counts > 0, axis=0)
    if not known.any():
        return np.zeros_like(means)
    variance = sigma**2 * np.mean(1 / counts[:, known]) / 2 * (1 - 1 / SMOOTH)
    parts = []
    for part in (means[0] + means[1]) / 2, (means[0] - means[1]) / 2:
        part = subtract_running_mean(np.where(known, part, 0), known)
        observed = np.mean(part[known] ** 2)
        parts.append(part * max(0.0, 1 - variance / observed) if observed > 0 else part)
    return np.stack([parts[0] + parts[1], parts[0] - parts[1]]).astype(np.float32)


def subtract_running_mean(profile: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Subtract the running mean from each half of a profile."""
    result = np.zeros_like(profile)
    for half in np.split(np.arange(profile.size), 2):
        window = np.ones(min(SMOOTH, half.size - 1 + half.size % 2))
        smooth = np.convolve(profile[half], window, "same")
        result[half] = profile[half] - smooth / np.maximum(np.convolve(known[half], window, "same"), 1)
    return np.where(known, result, 0)


def amplifier_levels(across: np.ndarray, upward: np.ndarray) -> np.ndarray:
    """Return the levels of the four quadrants, mean 0, from the profiles of the frame.

    Parameters
    ----------
    across : ndarray, shape (2, nx)
        Means of the columns in the lower and the upper half.
    upward : ndarray, shape (2, ny)
        Means of the rows in the left and the right half.
    """
    (low, up), variance_x = seam_steps(across)
    (left, right), variance_y = seam_steps(upward)
    step_x = shrink_step((low + up) / 2, variance_x / 2)
    step_y = shrink_step((left + right) / 2, variance_y / 2)
    twist = shrink_step((up - low + right - left) / 4, (variance_x + variance_y) / 8)
    sign = np.array([-0.5, 0.5])
    levels = step_x * sign[None, :] + step_y * sign[:, None] + 2 * twist * np.outer(sign, sign)
    return levels.astype(np.float32)


def seam_steps(profiles: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the steps at the middle of two profiles, and their variance.

    The fit has a step and a slope.
    """
    n = profiles.shape[1]
    reach = min(SEAM, n // 2)
    place = np.arange(2 * reach) - reach + 0.5
    terms = np.stack([np.ones(2 * reach), place / reach, np.sign(place) / 2], axis=1)
    inverse = np.linalg.inv(terms.T @ terms)
    near = profiles[:, n // 2 - reach : n // 2 + reach].T.astype(np.float64)
    found = inverse @ terms.T @ near
    scatter = np.sum((near - terms @ found) ** 2) / max(2 * (2 * reach - 3), 1)
    return found[2], float(scatter * inverse[2, 2])


def shrink_step(step: float, variance: float) -> float:
    """Shrink a step towards 0 if it is not well above its error."""
    return float(step * max(0.0, 1 - 4 * variance / step**2)) if step else 0.0
