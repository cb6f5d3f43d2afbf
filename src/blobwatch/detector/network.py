"""The networks: a scaled frame in, a coarse map of blob centres out.

Every network maps ``(batch, 1, ny, nx)`` to ``(batch, 3, ny / stride, nx / stride)``: the logit that a
cell holds the centre of a new blob, and the centre's offset ``dx, dy`` from the middle of the cell in
units of the stride. The probability of a subframe is that of its best cell.
"""

import torch
from torch import nn


class Residual(nn.Module):
    """Two dilated convolutions beside a shortcut; size and channels stay."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.body(x))


class Compact(nn.Module):
    """Fully convolutional, one cell per 4 x 4 pixels.

    Parameters
    ----------
    width : int
        Channels at half resolution; twice as many at a quarter.

    Notes
    -----
    Even kernels keep each cell centred on its pixels, so that a flipped frame gives the flipped map.
    Dilations let a cell see 100 pixels far: a streak is told from a blob by its length.
    """

    stride = 4

    def __init__(self, width: int):
        super().__init__()
        deep = 2 * width
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 6, stride=2, padding=2, bias=False),  # (batch, width, ny/2, nx/2)
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, deep, 4, stride=2, padding=1, bias=False),  # (batch, deep, ny/4, nx/4)
            nn.BatchNorm2d(deep),
            nn.ReLU(inplace=True),
        )
        self.body = nn.Sequential(*(Residual(deep, dilation) for dilation in (1, 2, 4, 8)))
        self.head = nn.Sequential(nn.Conv2d(deep, deep, 1), nn.ReLU(inplace=True), nn.Conv2d(deep, 3, 1))
        nn.init.constant_(self.head[-1].bias, 0.0)
        nn.init.constant_(self.head[-1].bias[:1], -4.0)  # nearly all cells are empty

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.stem(x)))


class Predecessor(nn.Module):
    """The public predecessor's CNN with its 8,392,418 parameters: one answer per 256 x 256 subframe.

    A whole frame is cut into its subframes, so the map has one cell for each, and no position in it.
    """

    stride = 256

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Dropout(0.15),
            nn.Flatten(),  # (batch, 65536)
            nn.Linear(65536, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.30),
            nn.Linear(128, 2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, _, ny, nx = x.shape
        rows, columns = ny // self.stride, nx // self.stride
        cells = x.reshape(batch, rows, self.stride, columns, self.stride).swapaxes(2, 3)
        scores = self.features(cells.reshape(-1, 1, self.stride, self.stride))  # (batch * cells, 2)
        logit = (scores[:, 1] - scores[:, 0]).reshape(batch, 1, rows, columns)
        return torch.cat([logit, torch.zeros_like(logit), torch.zeros_like(logit)], dim=1)


def build(architecture: str, width: int) -> nn.Module:
    """Return a new network: ``compact`` or ``predecessor`` (which has no ``width`` to choose)."""
    if architecture == "compact":
        return Compact(width)
    if architecture == "predecessor":
        return Predecessor()
    raise ValueError(f"unknown architecture {architecture!r}; known are compact and predecessor")


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
