"""Layers that commute with flips and quarter turns, and the ordinary ones that take their place."""

import numpy as np
import pytest
import torch
from made import random_network

from blobwatch.dataset.shards import turn, turn_image
from blobwatch.detector.network import MAPS, build, count_parameters
from blobwatch.detector.symmetry import (
    COUNT,
    ORIENTATIONS,
    Answer,
    Convolution,
    Normalisation,
    each,
    plain,
    shared,
    turned,
    turned_vector,
)

ALL = range(COUNT)
LAYERS = {
    "even": {"size": 4, "stride": 2},
    "odd": {"size": 3},
    "dilated": {"size": 3, "dilation": 2},
    "one": {"size": 1},
}


def random_frame(side: int = 32, batch: int = 1, channels: int = 1, seed: int = 0) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(size=(batch, channels, side, side))
    return torch.from_numpy(values)


def stepped(network: torch.nn.Module, steps: int = 2) -> torch.nn.Module:
    """Return a network after steps of training on noise, so that its statistics have moved."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    network.train()
    for step in range(steps):
        images = random_frame(64, batch=2, seed=step).to(next(network.parameters()).dtype)
        optimizer.zero_grad()
        (network(3.0 * images + 0.5) ** 2).mean().backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("orientation", ALL)
def test_images_and_offsets_turn_as_those_of_the_subframes_do(orientation):
    image = np.random.default_rng(1).normal(size=(2, 5, 5))
    flipped, turns = ORIENTATIONS[orientation]
    np.testing.assert_array_equal(
        turned(torch.from_numpy(image), orientation), turn_image(image, flipped, turns)
    )
    x, y = turn(np.array([0.0, 3.0]), np.array([0.0, 1.0]), flipped, turns, 9)
    expected = [x[1] - x[0], y[1] - y[0]]  # of the offset (3, 1)
    np.testing.assert_allclose(turned_vector(orientation) @ [3.0, 1.0], expected)


def test_the_eight_orientations_are_eight():
    assert len({turned(random_frame(3), g).numpy().tobytes() for g in ALL}) == 8


@pytest.mark.parametrize("how", LAYERS)
def test_a_kernel_comes_in_all_eight_orientations(how):
    size = LAYERS[how]["size"]
    weight = Convolution(1, 2, size, first=True).weight()
    assert tuple(weight.shape) == (16, 1, size, size)
    for feature in range(2):
        first = weight[8 * feature]
        for g in ALL:
            torch.testing.assert_close(weight[8 * feature + g], turned(first, g), rtol=0, atol=0)
    inner = Convolution(3, 2, size).weight()
    assert tuple(inner.shape) == (16, 24, size, size)
    kernels = inner.unflatten(0, (2, 8)).unflatten(2, (3, 8))  # feature, orientation, feature, orientation
    for g in ALL:  # the same numbers, in another order
        one, other = (kernels[:, h].flatten(2).sort().values for h in (0, g))
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        if g:
            assert not torch.equal(kernels[:, 0], kernels[:, g])


@pytest.mark.parametrize("orientation", ALL)
@pytest.mark.parametrize("how", LAYERS)
def test_a_turned_frame_gives_turned_features_in_another_order(how, orientation):
    torch.manual_seed(1)
    first = Convolution(1, 2, 6, stride=2, first=True).double()
    second = Convolution(2, 3, **LAYERS[how]).double()
    frame = random_frame()
    with torch.inference_mode():
        straight, seen = (second(torch.relu(first(image))) for image in (frame, turned(frame, orientation)))
    # Which orientation stands where has changed, and nothing else.
    for one, other in zip(straight.split(8, dim=1), seen.split(8, dim=1), strict=True):
        expected = turned(one, orientation).sort(dim=1).values
        torch.testing.assert_close(other.sort(dim=1).values, expected, rtol=0, atol=1e-12)
        assert (orientation == 0) == torch.allclose(other, turned(one, orientation), atol=1e-6)


@pytest.mark.parametrize(
    ("size", "stride", "dilation"), [(6, 2, 1), (4, 2, 1), (3, 1, 1), (3, 1, 4), (1, 1, 1)]
)
def test_the_output_has_a_cell_per_stride(size, stride, dilation):
    layer = Convolution(1, 1, size, stride, dilation, first=True)
    assert tuple(layer(torch.zeros(1, 1, 64, 32)).shape) == (1, 8, 64 // stride, 32 // stride)


def test_a_value_per_feature_and_per_channel():
    assert each(torch.tensor([1.0, 2.0])).tolist() == [1.0] * 8 + [2.0] * 8
    means = shared(torch.tensor([*range(8), *[5.0] * 8], dtype=torch.float32))
    assert means.tolist() == [3.5] * 8 + [5.0] * 8


@pytest.mark.parametrize(
    "layer",
    [
        Convolution(1, 2, 6, stride=2, first=True),
        Convolution(2, 1, 4, stride=2),
        Convolution(2, 1, 3, dilation=4),
        Normalisation(2),
        Answer(2),
    ],
    ids=["first", "even", "dilated", "normalisation", "answer"],
)
def test_each_layer_has_an_ordinary_one_that_does_the_same(layer):
    torch.manual_seed(2)
    if isinstance(layer, Normalisation):
        layer.weight.data.normal_()
        layer.bias.data.normal_()
        layer.mean.normal_()
        layer.variance.uniform_(0.5, 2.0)
    layer.eval()
    channels = 1 if getattr(layer, "first", False) else 16
    features = random_frame(16, 2, channels).float()
    ordinary = layer.plain().eval()
    assert type(ordinary) in (torch.nn.Conv2d, torch.nn.BatchNorm2d)
    with torch.inference_mode():
        expected = layer(features)
        assert expected.std() > 0.01
        torch.testing.assert_close(ordinary(features), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["compact", "plain"])
def test_a_trained_network_of_ordinary_layers_answers_the_same(name):
    """After training the statistics of the orientations differ; both networks must use their mean."""
    network = stepped(random_network(name, width=1))
    frame = random_frame(128).float()
    training = network.training
    served = plain(network)
    assert network.training is training  # a copy was made
    with torch.inference_mode():
        expected = network.eval()(frame)
        assert expected[:, 0].std() > 0.01
        torch.testing.assert_close(served(frame), expected, rtol=1e-4, atol=1e-4)
    own = (Convolution, Normalisation, Answer)
    assert not any(isinstance(layer, own) for layer in served.modules())
    assert any(isinstance(layer, own) for layer in network.modules()) == (name == "compact")


def test_the_statistics_of_the_orientations_differ_while_training_and_are_shared_in_use():
    network = stepped(random_network(width=1))
    statistics = dict(network.named_buffers())
    means = [value.view(-1, COUNT) for name, value in statistics.items() if name.endswith("mean")]
    assert max(float(value.std(dim=1).max()) for value in means) > 1e-3
    for layer in plain(network).modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for value in (layer.running_mean, layer.running_var, layer.weight.detach()):
                assert float(value.view(-1, COUNT).std(dim=1).max()) < 1e-6


@pytest.mark.parametrize("orientation", ALL)
def test_a_trained_network_still_knows_no_up_and_down(orientation):
    network = stepped(random_network(width=1)).double().eval()
    frame = random_frame(64)
    with torch.inference_mode():
        straight, seen = network(frame)[:, 0], network(turned(frame, orientation))[:, 0]
    torch.testing.assert_close(seen, turned(straight, orientation), rtol=0, atol=1e-9)


def test_an_eighth_of_the_parameters():
    symmetric, ordinary = (
        sum(p.numel() for p in build(name, 2).parameters() if p.dim() == 4) for name in ("compact", "plain")
    )
    # The answer's kernel is no four-dimensional parameter of the symmetric network, and the logit of the
    # matched filters, which are round, is the same in both.
    assert ordinary - 3 * 16 - MAPS == 8 * (symmetric - MAPS)
    assert count_parameters(build("compact", 1)) < count_parameters(build("plain", 1)) / 7


def test_every_parameter_is_trained():
    network = random_network(width=1).train()
    (network(random_frame(64, batch=2).float()) ** 2).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
