"""The losses: which cells hold a blob, and where in the cell."""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

SPREAD = 0.8  # cells; how fast the penalty for a near miss rises around a centre


def targets(
    blobs: list[np.ndarray], size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what the map should be.

    Parameters
    ----------
    blobs : list of ndarray, shape (k, 2)
        Per subframe the centres ``x, y`` in pixels.
    size : int
        Pixels on a side.
    stride : int
        Pixels per cell.

    Returns
    -------
    heat : Tensor, shape (n, cells, cells), float32
        1 in the cell of a centre, falling to 0 around it.
    offset : Tensor, shape (n, 2, cells, cells), float32
        From the middle of the cell, in cells.
    centre : Tensor, shape (n, cells, cells), bool
        The centres' cells.
    """
    cells = size // stride
    heat = np.zeros((len(blobs), cells, cells), dtype=np.float32)
    offset = np.zeros((len(blobs), 2, cells, cells), dtype=np.float32)
    centre = np.zeros(heat.shape, dtype=bool)
    grid = np.arange(cells)
    for n, places in enumerate(blobs):
        for x, y in places:
            u, v = ((c + 0.5) / stride - 0.5 for c in (x, y))  # in cells
            column, row = (int(np.clip(round(float(c)), 0, cells - 1)) for c in (u, v))
            distance = (grid[None, :] - u) ** 2 + (grid[:, None] - v) ** 2
            np.maximum(heat[n], np.exp(-distance / (2 * SPREAD**2)), out=heat[n])
            heat[n, row, column] = 1.0
            offset[n, :, row, column] = u - column, v - row
            centre[n, row, column] = True
    return torch.from_numpy(heat), torch.from_numpy(offset), torch.from_numpy(centre)


def loss(
    output: torch.Tensor,
    labels: torch.Tensor,
    blobs: list[np.ndarray],
    stride: int,
    kind: str,
    position_weight: float,
) -> torch.Tensor:
    """Return the loss of a batch.

    Parameters
    ----------
    output : Tensor, shape (n, 3, cells, cells)
        Of a network.
    labels : Tensor, shape (n,), float32
        1: holds a new blob.
    blobs : list of ndarray, shape (k, 2)
        Centres in pixels.
    stride : int
    kind : str
        Of the loss of the cells, ``focal`` or ``logistic``.
    position_weight : float
        Of the cells' and the offsets' loss beside the class loss; nothing where a cell is a whole subframe.
    """
    heat = output[:, 0]
    # The best cell of an empty subframe is its worst false alarm, so this looks after the rare ones.
    class_loss = binary_cross_entropy_with_logits(heat.amax(dim=(1, 2)), labels)
    if heat.shape[-1] == 1 or position_weight == 0:
        return class_loss
    goal, offset, centre = targets(blobs, heat.shape[-1] * stride, stride)
    cells = focal(heat, goal, centre) if kind == "focal" else logistic(heat, goal)
    where = centre[:, None].expand_as(offset)
    places = (output[:, 1:] - offset)[where].abs().sum()
    return class_loss + position_weight * (cells + places) / max(int(centre.sum()), 1)


def logistic(heat: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of all cells; a cell beside a centre may say so, if less surely."""
    return binary_cross_entropy_with_logits(heat, goal**4, reduction="sum")


def focal(heat: torch.Tensor, goal: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Return the focal loss of all cells: the many easy empty ones must not drown the few blobs."""
    probability = torch.sigmoid(heat)
    hit = ((1 - probability) ** 2 * logsigmoid(heat))[centre].sum()
    miss = ((1 - goal) ** 4 * probability**2 * logsigmoid(-heat))[~centre].sum()
    return -(hit + miss)
