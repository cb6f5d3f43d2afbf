"""From a network's map to blobs: peaks and their positions, and the probabilities of subframes."""

from dataclasses import dataclass

import numpy as np

from blobwatch.images.tiling import Tile

APART = 10.0  # pixels; two peaks nearer than this are one blob


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


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Return the probability of a logit."""
    return 1.0 / (1.0 + np.exp(-np.clip(logit, -60.0, 60.0)))


def find_peaks(output: np.ndarray, stride: int, threshold: float) -> Peaks:
    """Return the blobs that a network's map shows, each once.

    Parameters
    ----------
    output : ndarray, shape (3, rows, columns)
        Logit, and offset ``dx, dy`` from the middle of the cell in cells.
    stride : int
        Pixels per cell.
    threshold : float
        Probability.
    """
    probability = sigmoid(output[0].astype(np.float64))
    rows, columns = np.nonzero(probability >= threshold)
    order = np.argsort(-probability[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    # A centre lies in its cell, so position and subframe cannot disagree.
    offset = np.clip(output[1:, rows, columns], -0.5, 0.499)
    x = (columns + offset[0] + 0.5) * stride - 0.5
    y = (rows + offset[1] + 0.5) * stride - 0.5
    kept: list[int] = []
    left = np.arange(len(rows))
    while len(left):  # the best that is left, without all that is near it
        best = left[0]
        kept.append(int(best))
        left = left[(x[left] - x[best]) ** 2 + (y[left] - y[best]) ** 2 > APART**2]
    return Peaks(x[kept], y[kept], probability[rows, columns][kept])


def subframe_probability(output: np.ndarray) -> float:
    """Return the probability that the part of a map of one subframe holds a blob: that of its best cell."""
    return float(sigmoid(output[0].max().astype(np.float64)))


def tile_of_map(output: np.ndarray, tile: Tile, stride: int) -> np.ndarray:
    """Return the part of a whole frame's map, shape (3, rows, columns), that is one subframe's."""
    y, x, cells = tile.y0 // stride, tile.x0 // stride, tile.size // stride
    return output[:, y : y + cells, x : x + cells]
