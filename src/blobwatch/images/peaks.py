"""Peaks of a network's map, and the probabilities of subframes."""

from dataclasses import dataclass

import numpy as np

from blobwatch.images.tiling import SUBFRAME

SEPARATION = 10.0  # pixels; two peaks closer than this are one blob


@dataclass(frozen=True)
class Peaks:
    """Peaks of a map, the most probable first.

    Attributes
    ----------
    x, y : ndarray, shape (k,), float64, pixels of the image
    probability : ndarray, shape (k,), float64
    """

    x: np.ndarray
    y: np.ndarray
    probability: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def select(self, chosen: np.ndarray) -> "Peaks":
        """Return some of the peaks by mask or indices."""
        return Peaks(self.x[chosen], self.y[chosen], self.probability[chosen])


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Return the probability of a logit."""
    return 1.0 / (1.0 + np.exp(-np.clip(logit, -60.0, 60.0)))


def find_peaks(output: np.ndarray, stride: int, threshold: float) -> Peaks:
    """Return the peaks of a network's map.

    Parameters
    ----------
    output : ndarray, shape (3, rows, columns)
        Logit, and offset ``dx, dy`` from the centre of the cell, in cells.
    stride : int
        Pixels per cell.
    threshold : float
        Probability.
    """
    probability = sigmoid(output[0].astype(np.float64))
    rows, columns = np.nonzero(probability >= threshold)
    order = np.argsort(-probability[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    # The position stays in the cell, so that it is consistent with the subframe.
    offset = np.clip(output[1:, rows, columns], -0.5, 0.499)
    x = (columns + offset[0] + 0.5) * stride - 0.5
    y = (rows + offset[1] + 0.5) * stride - 0.5
    rank = np.full(probability.shape, -1)
    rank[rows, columns] = np.arange(len(rows))
    reach = int(SEPARATION // stride) + 1  # cells
    chosen: list[int] = []
    free = np.ones(len(rows), dtype=bool)
    for best, (row, column) in enumerate(zip(rows, columns, strict=True)):
        if free[best]:  # it absorbs the weaker peaks near it
            chosen.append(best)
            near = rank[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
            near = near[near >= 0]
            free[near] &= (x[near] - x[best]) ** 2 + (y[near] - y[best]) ** 2 > SEPARATION**2
    return Peaks(x, y, probability[rows, columns]).select(np.array(chosen, dtype=int))


def subframe_probabilities(output: np.ndarray, stride: int, peaks: Peaks, threshold: float) -> np.ndarray:
    """Return the probability of each subframe: that of its best peak.

    Cells above the threshold that are not peaks do not count. So the subframes above any probability from the
    threshold on are exactly those that contain a peak above it.

    Parameters
    ----------
    output : ndarray, shape (3, rows, columns)
        The map of a whole frame, or of one subframe.
    stride : int
        Pixels per cell.
    peaks : Peaks
        All peaks of the map, from `find_peaks` with the same threshold.
    threshold : float
        Without a peak, the best cell below this probability counts.

    Returns
    -------
    ndarray, shape (subframes,), float64
        Row-major from the bottom row.
    """
    probability = sigmoid(output[0].astype(np.float64))
    cells = SUBFRAME // stride
    rows, columns = (length // cells for length in probability.shape)
    weak = np.where(probability < threshold, probability, 0.0)
    best = weak.reshape(rows, cells, columns, cells).max(axis=(1, 3))
    row, column = (((place + 0.5) // SUBFRAME).astype(int) for place in (peaks.y, peaks.x))
    np.maximum.at(best, (row, column), peaks.probability)
    return best.ravel()
