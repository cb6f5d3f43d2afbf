"""Convolutions that commute with flips and quarter turns: a turned frame gives the turned map, exactly.

Nothing on the detector tells a blob from its mirror image, so the answer must not depend on which way round
a frame is shown. Instead of teaching that with turned copies, these layers have it built in: each feature
comes in all eight orientations, made with one kernel flipped and turned. That takes an eighth of the
parameters. For serving, `plain` writes the kernels out into ordinary convolutions.

Notes
-----
Group convolutions for the eight symmetries of the square (Cohen and Welling 2016, arXiv:1602.07576).
The channels of a feature are its orientations, in the order of `ORIENTATIONS`.
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional

ORIENTATIONS = [(flipped, turns) for flipped in (False, True) for turns in range(4)]
COUNT = len(ORIENTATIONS)


def turned(image: torch.Tensor, orientation: int) -> torch.Tensor:
    """Return an image (..., ny, nx) flipped left to right, if so, and then turned counterclockwise."""
    flipped, turns = ORIENTATIONS[orientation]
    return torch.rot90(image.flip(-1) if flipped else image, turns, (-2, -1))


def turned_vector(orientation: int) -> np.ndarray:
    """Return the matrix that turns an offset ``(dx, dy)`` as `turned` turns an image."""
    flipped, turns = ORIENTATIONS[orientation]
    mirror = np.diag([-1.0, 1.0]) if flipped else np.eye(2)
    return np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), turns) @ mirror


def seen_from() -> torch.Tensor:
    """Return which orientation each one is, seen from each one: shape (8, 8), int."""
    mark = torch.arange(9.0).reshape(3, 3)  # looks different in each orientation
    looks = torch.stack([turned(mark, g) for g in range(COUNT)])
    after = torch.tensor(
        [
            [int((turned(looks[h], g) == looks).all((1, 2)).nonzero()) for h in range(COUNT)]
            for g in range(COUNT)
        ]
    )
    undo = (after == 0).int().argmax(dim=1)  # which orientation undoes each one
    return after[undo]


class Convolution(nn.Module):
    """From features to features; with ``first``, from a frame to features.

    Parameters
    ----------
    inputs, outputs : int
        Features; each has eight channels (a frame has one).
    size : int
        Pixels on a side of the kernel; even with an even stride, so that cells stay centred.
    stride, dilation : int
    first : bool
        The input is a frame.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        dilation: int = 1,
        first: bool = False,
    ):
        super().__init__()
        self.stride, self.dilation, self.first = stride, dilation, first
        self.padding = (dilation * (size - 1) + 1 - stride) // 2
        channels = inputs if first else inputs * COUNT
        self.kernel = nn.Parameter(torch.empty(outputs, channels, size, size))
        nn.init.kaiming_normal_(self.kernel, nonlinearity="relu")
        self.register_buffer("seen", seen_from(), persistent=False)

    def weight(self) -> torch.Tensor:
        """Return the kernels in all orientations, shape (outputs * 8, channels, size, size)."""
        if self.first:
            kernels = [turned(self.kernel, g) for g in range(COUNT)]
        else:
            # A turned kernel must also take each input feature in the orientation it sees.
            whole = self.kernel.unflatten(1, (-1, COUNT))
            kernels = [turned(whole[:, :, self.seen[g]], g).flatten(1, 2) for g in range(COUNT)]
        return torch.stack(kernels, dim=1).flatten(0, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(
            x, self.weight(), stride=self.stride, padding=self.padding, dilation=self.dilation
        )

    def plain(self) -> nn.Module:
        """Return the ordinary convolution that does the same."""
        return ordinary(self.weight(), None, self.stride, self.padding, self.dilation)


class Normalisation(nn.Module):
    """Batch normalisation with one scale and shift for the eight channels of a feature."""

    def __init__(self, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features * COUNT))
        self.register_buffer("variance", torch.ones(features * COUNT))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale, shift = each(self.weight), each(self.bias)
        if self.training:
            return functional.batch_norm(x, self.mean, self.variance, scale, shift, training=True)
        return functional.batch_norm(x, shared(self.mean), shared(self.variance), scale, shift)

    def plain(self) -> nn.Module:
        """Return the ordinary batch normalisation that does the same."""
        layer = nn.BatchNorm2d(len(self.mean))
        layer.weight.data, layer.bias.data = each(self.weight).detach(), each(self.bias).detach()
        layer.running_mean, layer.running_var = shared(self.mean), shared(self.variance)
        return layer


class Answer(nn.Module):
    """From features to the logit, which no turn changes, and the offset, which turns with the frame."""

    def __init__(self, features: int):
        super().__init__()
        self.logit = nn.Parameter(torch.randn(features) * 0.1 / COUNT)
        self.bias = nn.Parameter(torch.tensor([-4.0]))  # nearly all cells are empty
        self.offset = nn.Parameter(torch.randn(features, 2) * 0.05)
        matrices = np.stack([turned_vector(g) for g in range(COUNT)])
        self.register_buffer("matrices", torch.tensor(matrices, dtype=torch.float32), persistent=False)

    def weight(self) -> torch.Tensor:
        """Return the weights of logit, dx and dy, shape (3, features * 8, 1, 1)."""
        offset = torch.einsum("gij,cj->icg", self.matrices, self.offset).flatten(1)
        return torch.cat([each(self.logit)[None], offset])[:, :, None, None]

    def logit_parameters(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias of the logit."""
        return self.logit, self.bias

    def all_biases(self) -> torch.Tensor:
        """Return the biases of logit, dx and dy."""
        return torch.cat([self.bias, self.bias.new_zeros(2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, self.weight(), self.all_biases())

    def plain(self) -> nn.Module:
        """Return the ordinary convolution that does the same."""
        return ordinary(self.weight(), self.all_biases())


def each(feature: torch.Tensor) -> torch.Tensor:
    """Return a value per channel out of a value per feature."""
    return feature.repeat_interleave(COUNT)


def shared(channel: torch.Tensor) -> torch.Tensor:
    """Return the mean over a feature's orientations in each of its channels."""
    return each(channel.view(-1, COUNT).mean(dim=1))


def ordinary(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> nn.Conv2d:
    """Return an ordinary convolution with these weights."""
    outputs, inputs, size, _ = weight.shape
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=bias is not None)
    layer.weight.data = weight.detach().contiguous()
    if bias is not None:
        layer.bias.data = bias.detach()
    return layer


def plain(network: nn.Module) -> nn.Module:
    """Return a copy of a trained network whose layers are ordinary ones; it answers the same."""
    network = copy.deepcopy(network).eval()
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if hasattr(layer, "plain"):
                setattr(parent, name, layer.plain())
    return network.eval()
