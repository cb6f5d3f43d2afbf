"""The networks: a scaled frame in, a coarse map of blob centres out.

Every network maps ``(batch, 1, ny, nx)`` to ``(batch, 3, ny / stride, nx / stride)``: the logit that a
cell holds the centre of a new blob, and the centre's offset ``dx, dy`` from the middle of the cell in
units of the stride. The probability of a subframe is that of its best cell.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from blobwatch.images.scaling import CLIP


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution without bias, padded so that each cell stays centred on its pixels."""
    padding = (dilation * (size - 1) + 1 - stride) // 2
    return nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)


def conv_block(inputs: int, outputs: int, size: int, **how: int) -> nn.Sequential:
    """Return convolution, batch normalisation and rectifier."""
    return nn.Sequential(
        convolution(inputs, outputs, size, **how), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two dilated convolutions beside a shortcut; size and channels stay."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.body = nn.Sequential(
            *conv_block(channels, channels, 3, dilation=dilation),
            convolution(channels, channels, 3, dilation=dilation),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.body(x))


class MatchedFilters(nn.Module):
    """The SNR of a bank of blob shapes at reduced resolution: unit noise where the noise is white.

    Parameters
    ----------
    shapes : sequence of (float, float)
        Half-width in pixels, and the radius of the hole in half-widths (0 for none).
    reduction : int
        Pixels per cell.
    """

    def __init__(self, shapes: tuple[tuple[float, float], ...], reduction: int):
        super().__init__()
        self.reduction = reduction
        radius = int(np.ceil(1.5 * max(width for width, _ in shapes) / reduction))
        grid = reduction * np.arange(-radius, radius + 1)
        distance = np.hypot(grid[:, None], grid[None, :])
        kernels = np.stack([radial_profile(distance, width, hole) for width, hole in shapes])
        # The mean of n x n pixels has an n-th of their noise.
        kernels *= reduction / np.sqrt((kernels**2).sum(axis=(1, 2), keepdims=True))
        self.register_buffer("kernels", torch.tensor(kernels, dtype=torch.float32)[:, None], persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        reduced = nn.functional.avg_pool2d(x, self.reduction)
        return nn.functional.conv2d(reduced, self.kernels, padding=self.kernels.shape[-1] // 2)


def radial_profile(distance: np.ndarray, half_width: float, hole: float) -> np.ndarray:
    """Return a round blob with an edge of medium steepness, and with a hole of 0.6 of its depth."""
    light = np.exp(-np.log(2.0) * (distance / half_width) ** 3)
    if hole:
        light *= 1.0 - 0.6 * np.exp(-np.log(2.0) * (distance / half_width / hole) ** 4)
    return light


def asinh(x: torch.Tensor) -> torch.Tensor:
    """Return ``torch.asinh(x)``, which cannot be exported to ONNX."""
    return x.sign() * (x.abs() + (x * x + 1).sqrt()).log()


# Half-widths and holes; at 4 pixels per cell a half-width below 7 px loses several per cent of its SNR.
SMALL = ((2.2, 0.0), (2.9, 0.0), (3.7, 0.0), (4.8, 0.0), (6.2, 0.0))
LARGE = ((8.0, 0.0), (10.2, 0.0), (13.0, 0.0))
RINGS = ((5.0, 0.5), (7.0, 0.5), (9.5, 0.5), (12.5, 0.5))
MAPS = len(SMALL + LARGE + RINGS) + 1  # and the best of them
UNIT = 4.0  # SNR; maps are linear below and logarithmic beyond
START_SNR = 5.3  # of the best matched filter: even odds before training
START_SLOPE = 1.0  # logit per SNR of a faint blob before training


class Compact(nn.Module):
    """Fully convolutional, one cell per 4 x 4 pixels; starts from matched filters and sees far.

    Parameters
    ----------
    width : int
        Channels at a half and a quarter of the resolution; half as many again at an eighth.
    clip : float
        Sigma; a pixel beyond counts as this.

    Notes
    -----
    Even kernels keep each cell centred on its pixels. The matched filters tell how much light there is; the
    convolutions tell a blob from a streak, a star or a cluster of bad pixels. Through the coarse path a cell
    sees more than 100 pixels far: a streak is told from a blob by its length.
    """

    stride = 4

    def __init__(self, width: int, clip: float):
        super().__init__()
        self.clip = clip
        deep = 3 * width // 2
        self.small, self.large = MatchedFilters(SMALL, 2), MatchedFilters(LARGE + RINGS, 4)
        self.stem = nn.Sequential(
            conv_block(1, width, 6, stride=2),  # (batch, width, ny/2, nx/2)
            conv_block(width, width, 4, stride=2),  # (batch, width, ny/4, nx/4)
        )
        self.merge = conv_block(width + MAPS, width, 3)
        self.near = Residual(width, 1)
        self.down = conv_block(width, deep, 4, stride=2)  # (batch, deep, ny/8, nx/8)
        self.far = nn.Sequential(*(Residual(deep, dilation) for dilation in (1, 2, 4)))
        self.up = nn.Sequential(convolution(deep, width, 1), nn.BatchNorm2d(width))
        self.last = conv_block(width + MAPS, width, 3)
        self.answer = nn.Conv2d(width, 3, 1)
        self.filter_logit = nn.Conv2d(MAPS, 1, 1, bias=False)
        self.initialize_from_filters()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.clamp(-self.clip, self.clip)
        maps = self.filter_maps(x)
        near = self.near(self.merge(torch.cat([self.stem(x), maps], dim=1)))
        far = interpolate(self.up(self.far(self.down(near))), scale_factor=2.0, mode="nearest")
        answer = self.answer(self.last(torch.cat([torch.relu(near + far), maps], dim=1)))
        return torch.cat([answer[:, :1] + self.filter_logit(maps), answer[:, 1:]], dim=1)

    def filter_maps(self, x: torch.Tensor) -> torch.Tensor:
        """Return the SNR of the best matched filter and of each, compressed: ``asinh(SNR / UNIT)``."""
        maps = torch.cat([nn.functional.max_pool2d(self.small(x), 2), self.large(x)], dim=1)
        maps = asinh(maps / UNIT)  # a bright trail must not spoil the statistics of the normalisation
        return torch.cat([maps.amax(dim=1, keepdim=True), maps], dim=1)

    @torch.no_grad()
    def initialize_from_filters(self) -> None:
        """Let the logit be that of the best matched filter: even odds at the limit of white noise."""
        self.filter_logit.weight.zero_()
        self.filter_logit.weight[0, 0] = START_SLOPE * UNIT
        self.answer.bias.zero_()
        self.answer.bias[0] = -START_SLOPE * UNIT * float(np.arcsinh(START_SNR / UNIT))

    @torch.no_grad()
    def calibrate(self, slope: float, shift: float) -> None:
        """Replace each logit by ``slope * logit + shift``, for good."""
        self.answer.weight[0].mul_(slope)
        self.answer.bias[0].mul_(slope).add_(shift)
        self.filter_logit.weight.mul_(slope)


class Predecessor(nn.Module):
    """The public predecessor's CNN with its 8,392,418 parameters: one answer per 256 x 256 subframe.

    Its pooling and its rectifier are swapped, which changes nothing but the time it takes.

    A whole frame is cut into its subframes, so the map has one cell for each, and no position in it.
    """

    stride = 256

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 16, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
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


ARCHITECTURES: dict[str, Callable[[int, float], nn.Module]] = {
    "compact": Compact,
    "predecessor": lambda width, clip: Predecessor(),
}


def build_network(name: str, width: int = 16, clip: float = CLIP) -> nn.Module:
    """Return a new network; the predecessor has neither ``width`` nor ``clip`` to choose."""
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"unknown architecture {name!r}; known are {known}")
    return ARCHITECTURES[name](width, clip)


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
