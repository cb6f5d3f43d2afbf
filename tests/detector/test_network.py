"""The networks: size, form of the answer, and cells that lie centred on their pixels."""

import numpy as np
import pytest
import torch
from made import random_network

from blobwatch.dataset.shards import turn_image
from blobwatch.detector.network import Residual, build, count_parameters

EIGHT = [(flipped, turns) for flipped in (False, True) for turns in range(4)]


def test_the_predecessor_has_its_published_number_of_parameters():
    assert count_parameters(build("predecessor", 16)) == 8_392_418


def test_compact_is_small_and_grows_with_its_width():
    sizes = [count_parameters(build("compact", width)) for width in (4, 8, 16)]
    assert sizes == sorted(sizes)
    assert sizes[2] < 120_000


def test_an_unknown_architecture():
    with pytest.raises(ValueError, match="unknown architecture 'resnet'; known are compact and predecessor"):
        build("resnet", 16)


@pytest.mark.parametrize(("name", "stride"), [("compact", 4), ("predecessor", 256)])
@pytest.mark.parametrize("size", [(2, 256, 256), (1, 512, 256)])
def test_the_map_has_three_planes_of_cells(name, stride, size):
    network = build(name, 4).eval()
    batch, ny, nx = size
    with torch.inference_mode():
        output = network(torch.zeros(batch, 1, ny, nx))
    assert network.stride == stride
    assert tuple(output.shape) == (batch, 3, ny // stride, nx // stride)


def test_a_new_compact_network_says_that_nearly_all_cells_are_empty():
    torch.manual_seed(0)
    network = build("compact", 8).eval()
    with torch.inference_mode():
        logit = network(torch.randn(1, 1, 256, 256))[:, 0]
    assert (torch.sigmoid(logit) < 0.1).all()


def test_the_predecessor_judges_each_subframe_for_itself():
    network = random_network("predecessor")
    frame = torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = network(frame)
        alone = network(frame[..., 256:, :256])
    assert whole[0, 0, 1, 0] == pytest.approx(float(alone[0, 0, 0, 0]), abs=1e-5)
    assert (whole[:, 1:] == 0).all()


def symmetric() -> torch.nn.Module:
    """A random network whose kernels look the same in all eight orientations."""
    network = random_network().double()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            kernel = module.weight.data.numpy()
            mean = np.mean([turn_image(kernel, *orientation) for orientation in EIGHT], axis=0)
            module.weight.data = torch.from_numpy(mean.copy())
    return network


@pytest.mark.parametrize(("flipped", "turns"), EIGHT)
def test_a_turned_frame_gives_the_turned_map(flipped, turns):
    """Cells lie centred on their pixels; with odd kernels they would be off by half a cell."""
    network = symmetric()
    image = np.random.default_rng(3).normal(size=(1, 1, 128, 128))
    with torch.inference_mode():
        straight = network(torch.from_numpy(image)).numpy()
        turned = network(torch.from_numpy(turn_image(image, flipped, turns).copy())).numpy()
    assert straight[0, 0].std() > 1e-3
    np.testing.assert_allclose(turned[:, 0], turn_image(straight[:, 0], flipped, turns), atol=1e-9)


def test_a_point_of_light_excites_the_cell_that_holds_it():
    network = random_network().double()
    for module in network.modules():
        if isinstance(module, Residual):
            module.body[-1].weight.data.zero_()
            module.body[-1].bias.data.zero_()
    frame = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        blank = network(frame)
        frame[0, 0, 22, 41] = 5.0  # y 22, x 41: row 5, column 10
        change = (network(frame) - blank)[0].abs().sum(dim=0)
    rows, columns = np.nonzero(change.numpy())
    assert (rows.min(), rows.max()) in {(4, 5), (5, 6), (4, 6)}
    assert (columns.min(), columns.max()) in {(9, 10), (10, 11), (9, 11)}
