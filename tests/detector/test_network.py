"""The networks: size, form of the answer, and cells that lie centred on their pixels."""

import numpy as np
import pytest
import torch
from synthetic import random_network

from blobwatch.detector.network import (
    LARGE,
    MAPS,
    RINGS,
    SMALL,
    UNIT,
    MatchedFilters,
    build_network,
    count_parameters,
    radial_profile,
)
from blobwatch.images.scaling import CLIP


def test_the_predecessor_has_its_published_number_of_parameters():
    assert count_parameters(build_network("predecessor", 16)) == 8_392_418


def test_compact_is_small_and_grows_with_its_width():
    sizes = [count_parameters(build_network("compact", width)) for width in (8, 16, 24)]
    assert sizes == sorted(sizes)
    assert sizes[1] < 100_000


def test_an_unknown_architecture():
    with pytest.raises(
        ValueError, match=r"unknown architecture 'resnet'\. Known architectures: compact, predecessor"
    ):
        build_network("resnet", 16)


@pytest.mark.parametrize(("name", "stride"), [("compact", 4), ("predecessor", 256)])
@pytest.mark.parametrize("size", [(2, 256, 256), (1, 512, 256)])
def test_the_map_has_three_planes_of_cells(name, stride, size):
    network = build_network(name, 1).eval()
    batch, ny, nx = size
    with torch.inference_mode():
        output = network(torch.zeros(batch, 1, ny, nx))
    assert network.stride == stride
    assert tuple(output.shape) == (batch, 3, ny // stride, nx // stride)


def test_a_new_network_is_the_best_of_its_matched_filters():
    """Nearly all cells are empty, and a blob twice as strong as the limit is found, before any training."""
    torch.manual_seed(0)
    network = build_network("compact", 16).eval()
    noise = torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        empty, blob = (network(x)[0, 0] for x in (noise, noise + blob_image(6.2, 0.0, 10.6, 301.5, 197.5)))
        best = network.filter_maps(noise)[0, 0]
    assert (torch.sigmoid(empty) > 0.5).float().mean() < 0.002
    assert torch.sigmoid(empty).mean() < 0.05
    assert torch.sigmoid(blob)[49, 75] > 0.9
    assert np.corrcoef(empty.flatten(), best.flatten())[0, 1] > 0.95


def test_the_predecessor_judges_each_subframe_for_itself():
    network = random_network("predecessor")
    frame = torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = network(frame)
        alone = network(frame[..., 256:, :256])
    assert whole[0, 0, 1, 0] == pytest.approx(float(alone[0, 0, 0, 0]), abs=1e-5)
    assert (whole[:, 1:] == 0).all()


def test_a_pixel_beyond_the_clip_counts_as_the_clip():
    network = build_network("compact", 8, clip=3.0).eval()
    frame = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    frame[0, 0, 20, 30], frame[0, 0, 40, 10] = 3.0, -3.0
    beyond, within = frame.clone(), frame.clone()
    beyond[0, 0, 20, 30], beyond[0, 0, 40, 10] = 300.0, -7.9
    within[0, 0, 20, 30] = 2.0
    with torch.inference_mode():
        assert torch.equal(network(beyond), network(frame.clamp(-3.0, 3.0)))
        assert not torch.allclose(network(within), network(frame), atol=1e-6)


def test_calibration_changes_the_logit_and_nothing_else():
    network = random_network(width=8)
    frame = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network(frame)
    network.calibrate(0.7, -0.4)
    with torch.inference_mode():
        after = network(frame)
    torch.testing.assert_close(after[:, 0], 0.7 * before[:, 0] - 0.4, rtol=1e-5, atol=1e-5)
    assert torch.equal(after[:, 1:], before[:, 1:])
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_what_the_stage_keeps_is_within_the_clip_of_a_network_that_is_told_none():
    assert build_network("compact").clip == CLIP


def test_a_point_of_light_excites_the_cell_that_holds_it():
    network = random_network().double()
    for part in (network.near.body, network.up):  # what is left sees three cells far
        part[-1].weight.data.zero_()
        part[-1].bias.data.zero_()
    for convolution in (network.merge[0], network.last[0]):
        convolution.weight.data[:, -MAPS:] = 0.0
    network.filter_logit.weight.data.zero_()
    frame = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        blank = network(frame)
        frame[0, 0, 22, 41] = 5.0  # y 22, x 41: row 5, column 10
        change = (network(frame) - blank)[0].abs().sum(dim=0)
    rows, columns = np.nonzero(change.numpy())
    assert (rows.min(), rows.max()) == (5 - 3, 5 + 3)
    assert (columns.min(), columns.max()) == (10 - 3, 10 + 3)


# Matched filters


def blob_image(width: float, hole: float, snr: float, x: float, y: float) -> torch.Tensor:
    """Return a blob of a filter's own shape in sigma, shape (1, 1, 512, 512)."""
    v, u = np.mgrid[:512, :512]
    profile = radial_profile(np.hypot(u - x, v - y), width, hole)
    image = snr * profile / np.sqrt((profile**2).sum())
    return torch.from_numpy(image.astype(np.float32))[None, None]


def test_matched_filters_have_unit_noise_in_white_noise():
    noise = torch.randn(1, 1, 1024, 1024, generator=torch.Generator().manual_seed(0))
    for shapes, reduction in ((SMALL, 2), (LARGE + RINGS, 4)):
        maps = MatchedFilters(shapes, reduction)(noise)[0, :, 8:-8, 8:-8]
        assert tuple(maps.shape[1:]) == (1024 // reduction - 16,) * 2
        # The largest kernel leaves about 1,500 independent places in the frame.
        assert maps.std(dim=(1, 2)).tolist() == pytest.approx([1.0] * len(shapes), abs=0.06)
        assert maps.mean(dim=(1, 2)).tolist() == pytest.approx([0.0] * len(shapes), abs=0.1)


def snr_maps(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    return UNIT * torch.sinh(network.filter_maps(image))


@pytest.mark.parametrize(("width", "hole"), SMALL + LARGE + RINGS)
def test_a_matched_filter_gives_the_snr_of_a_blob_of_its_shape(width, hole):
    """The mean over a cell takes 1 to 7 % of it, at the corner of cells up to 21 %."""
    network = build_network("compact", 1)
    small = (width, hole) in SMALL
    middle = (300.5, 196.5) if small else (301.5, 197.5)  # of a cell of 2 or of 4 pixels
    with torch.inference_mode():
        maps = snr_maps(network, blob_image(width, hole, 12.0, *middle))[0]
        corner = snr_maps(network, blob_image(width, hole, 12.0, 303.5, 199.5))[0, 0]
    own = 1 + (SMALL + LARGE + RINGS).index((width, hole))
    row, column = divmod(int(maps[0].argmax()), maps.shape[-1])
    assert (row, column) == (49, 75)
    assert 0.93 * 12 < maps[own, row, column] <= maps[0, row, column] < 12.0
    assert maps[own, row, column] == maps[own].max()
    assert maps[own, row, column] > 0.97 * maps[0].max()
    assert torch.equal(maps[0], maps[1:].amax(dim=0))
    assert 0.78 * 12 < corner.max() < maps[0].max()


def test_a_negative_blob_is_no_detection_of_a_matched_filter():
    network = build_network("compact", 1)
    with torch.inference_mode():
        maps = snr_maps(network, -blob_image(6.2, 0.0, 12.0, 301.5, 197.5))
    assert maps[:, 0].max() < 1.2


def test_maps_of_matched_filters_are_compressed():
    network = build_network("compact", 1)
    with torch.inference_mode():
        faint, bright = (
            network.filter_maps(blob_image(6.2, 0.0, snr, 301.5, 197.5)).max().item() for snr in (2.0, 200.0)
        )
    assert faint == pytest.approx(2.0 / UNIT, rel=0.1)
    assert bright < 0.15 * 200.0 / UNIT
