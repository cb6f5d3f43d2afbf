"""The loss of the network: class of the subframe, cells of the blobs, and positions in the cells."""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, pad

TOLERANCE = 1.0  # cells; at this distance from the centre a detection has the weight exp(-1/2)
SPREAD = 1.2  # cells; scale on which the penalty of a false detection increases with the distance
REACH = 2  # cells; largest distance of a detection from its centre along each axis


def detection_loss(
    output: torch.Tensor,
    labels: torch.Tensor,
    blobs: list[np.ndarray],
    stride: int,
    position_weight: float,
) -> torch.Tensor:
    """Return the loss of a batch.

    Parameters
    ----------
    output : Tensor, shape (n, 3, cells, cells)
        Output of the network.
    labels : Tensor, shape (n,), float32
        1 for subframes with a new blob.
    blobs : list of ndarray, shape (k, 2)
        Centres ``x, y`` of the blobs in each subframe, pixels.
    stride : int
        Pixels per cell.
    position_weight : float
        Weight of the losses of cells and offsets relative to the class loss. Not used if a cell is a whole
        subframe.

    Notes
    -----
    The centre of a large faint blob is uncertain by more than a cell. With only the cell of the centre as
    target, the probability would be distributed over several cells, each with a lower probability than a
    small blob of the same SNR. Therefore each cell near the centre counts as a detection.
    """
    heat = output[:, 0]
    # The best cell of an empty subframe is its worst false alarm, so this term reduces rare false alarms.
    class_loss = binary_cross_entropy_with_logits(heat.amax(dim=(1, 2)), labels)
    if heat.shape[-1] == 1 or position_weight == 0:
        return class_loss
    owner, centres = locate_centres(blobs, stride)
    found = focal_loss(detection_logit(heat, owner, centres)).sum()
    false = (false_detection_weight(heat.shape, owner, centres) * focal_loss(-heat)).sum()
    cell = np.clip(np.rint(centres), 0, heat.shape[-1] - 1).astype(int)
    offset = output[:, 1:][owner, :, cell[:, 1], cell[:, 0]]
    position = (offset - torch.from_numpy((centres - cell).astype(np.float32))).abs().sum()
    return class_loss + position_weight * (found + false + position) / max(len(owner), 1)


def locate_centres(blobs: list[np.ndarray], stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the subframe of each blob, shape (m,), and its centre ``x, y`` in cells, shape (m, 2)."""
    owner = np.repeat(np.arange(len(blobs)), [len(centres) for centres in blobs])
    centres = np.concatenate([np.asarray(xy, dtype=float).reshape(-1, 2) for xy in blobs])
    return owner, (centres + 0.5) / stride - 0.5


def focal_loss(logit: torch.Tensor) -> torch.Tensor:
    """Return the focal loss of positive cells, in which the many easy cells have little weight."""
    return -((1 - torch.sigmoid(logit)) ** 2) * logsigmoid(logit)


def detection_logit(heat: torch.Tensor, owner: np.ndarray, centres: np.ndarray) -> torch.Tensor:
    """Return the logit of each blob, shape (m,), pooled over the cells near its centre."""
    steps = np.arange(-REACH, REACH + 1)
    cell = np.clip(np.rint(centres), 0, heat.shape[-1] - 1).astype(int)
    columns = cell[:, 0, None, None] + steps[None, None, :]
    rows = cell[:, 1, None, None] + steps[None, :, None]
    square = (columns - centres[:, 0, None, None]) ** 2 + (rows - centres[:, 1, None, None]) ** 2
    padded = pad(heat, (REACH,) * 4, value=-30.0)
    near = padded[owner[:, None, None], rows + REACH, columns + REACH]
    weight = torch.from_numpy(square.astype(np.float32) / (-2 * TOLERANCE**2))
    return torch.logsumexp((near + weight).flatten(1), dim=1)


def false_detection_weight(shape: torch.Size, owner: np.ndarray, centres: np.ndarray) -> torch.Tensor:
    """Return the weight of a false detection in each cell: 0 at a centre, 1 far from all centres."""
    near = np.zeros(shape, dtype=np.float32)
    grid = np.arange(shape[-1])
    reach = int(np.ceil(4 * SPREAD))
    for index, (x, y) in zip(owner, centres, strict=True):
        left, bottom = (max(0, round(float(c)) - reach) for c in (x, y))
        part = near[index, bottom : bottom + 2 * reach + 1, left : left + 2 * reach + 1]
        across = (grid[left : left + part.shape[1]] - x) ** 2
        down = (grid[bottom : bottom + part.shape[0]] - y) ** 2
        np.maximum(part, np.exp(-(down[:, None] + across[None, :]) / (2 * SPREAD**2)), out=part)
    return torch.from_numpy((1 - near) ** 4)
