"""The networks, which map a scaled frame to a coarse map of blob centres.

Every network maps ``(batch, 1, ny, nx)`` to ``(batch, 3, ny / stride, nx / stride)``: the logit that a
cell contains the centre of a new blob, and the offset ``dx, dy`` of the centre from the middle of the cell
in units of the stride. The probability of a subframe is that of its best cell.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from blobwatch.images.scaling import CLIP


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution without bias; the padding keeps cells centred on their pixels."""
    padding = (dilation * (size - 1) + 1 - stride) // 2
    return nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)


def conv_block(inputs: int, outputs: int, size: int, **options: int) -> nn.Sequential:
    """Return a convolution with batch normalisation and ReLU."""
    return nn.Sequential(
        convolution(inputs, outputs, size, **options), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Residual block of two dilated convolutions, which keeps size and channels."""

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
    """SNR of a bank of blob shapes at reduced resolution, with unit noise for white noise.

    ``shapes`` are pairs of half-width (pixels) and radius of the hole in half-widths (0: no hole), and
    ``reduction`` is the number of pixels per cell.
    """

    kernels: torch.Tensor

    def __init__(self, shapes: tuple[tuple[float, float], ...], reduction: int):
        super().__init__()
        self.reduction = reduction
        radius = int(np.ceil(1.5 * max(width for width, _ in shapes) / reduction))
        grid = reduction * np.arange(-radius, radius + 1)
        distance = np.hypot(grid[:, None], grid[None, :])
        kernels = np.stack([radial_profile(distance, width, hole) for width, hole in shapes])
        # The mean of n x n pixels has 1 / n of the noise per pixel.
        kernels *= reduction / np.sqrt((kernels**2).sum(axis=(1, 2), keepdims=True))
        self.register_buffer("kernels", torch.tensor(kernels, dtype=torch.float32)[:, None], persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        reduced = nn.functional.avg_pool2d(x, self.reduction)
        return nn.functional.conv2d(reduced, self.kernels, padding=self.kernels.shape[-1] // 2)


def radial_profile(distance: np.ndarray, half_width: float, hole: float) -> np.ndarray:
    """Return the profile of a round blob; a hole has 0.6 of its depth."""
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
MAPS = len(SMALL + LARGE + RINGS) + 1  # one per shape, and their maximum
UNIT = 4.0  # SNR; maps are linear below it and logarithmic above it
START_SNR = 5.3  # SNR of the best matched filter with probability 0.5 before training
START_SLOPE = 1.0  # logit per SNR of a faint blob before training


class Network(nn.Module):
    """A network that maps frames to maps; ``stride`` is the number of pixels per cell."""

    stride: int

    def calibrate(self, slope: float, shift: float) -> None:
        """Change the weights: logits become ``slope * logit + shift``."""
        raise NotImplementedError


class Compact(Network):
    """Fully convolutional network with one cell per 4 x 4 pixels, initialised with matched filters.

    Parameters
    ----------
    width : int
        Channels at 1/2 and 1/4 of the resolution; 1.5 times as many at 1/8.
    clip : float
        Pixels are clipped to this value, in sigma.

    Notes
    -----
    Even kernels keep each cell centred on its pixels. The matched filters measure the SNR. The convolutions
    distinguish blobs from streaks, stars and clusters of bad pixels. The receptive field of the coarse path
    exceeds 100 pixels, so that a streak can be recognised by its length.
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
        """Return ``asinh(SNR / UNIT)`` of the best and of each matched filter."""
        maps = torch.cat([nn.functional.max_pool2d(self.small(x), 2), self.large(x)], dim=1)
        maps = asinh(maps / UNIT)  # limits the influence of bright trails on the batch normalisation
        return torch.cat([maps.amax(dim=1, keepdim=True), maps], dim=1)

    @torch.no_grad()
    def initialize_from_filters(self) -> None:
        """Initialise the logit with the best matched filter: 0 at `START_SNR`."""
        self.filter_logit.weight.zero_()
        self.filter_logit.weight[0, 0] = START_SLOPE * UNIT
        bias = self.answer.get_parameter("bias")
        bias.zero_()
        bias[0] = -START_SLOPE * UNIT * float(np.arcsinh(START_SNR / UNIT))

    @torch.no_grad()
    def calibrate(self, slope: float, shift: float) -> None:
        self.answer.weight[0].mul_(slope)
        self.answer.get_parameter("bias")[0].mul_(slope).add_(shift)
        self.filter_logit.weight.mul_(slope)


class Predecessor(Network):
    """The CNN of the public predecessor: 8,392,418 parameters, one score per 256 x 256 subframe.

    Pooling precedes ReLU, which is faster and gives the same result. A whole frame is cut into subframes:
    the map has one cell per subframe, with offset 0.
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


def build_network(name: str, width: int = 16, clip: float = CLIP) -> Network:
    """Return a new network: ``compact``, or ``predecessor``, which ignores ``width`` and ``clip``."""
    networks: dict[str, Callable[[], Network]] = {
        "compact": partial(Compact, width, clip),
        "predecessor": Predecessor,
    }
    return networks[name]()


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
