"""Tests of the networks: size, output shape, and alignment of cells and pixels."""

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


def test_numbers_of_parameters():
    assert count_parameters(build_network("predecessor", 16)) == 8_392_418  # as published
    sizes = [count_parameters(build_network("compact", width)) for width in (8, 16, 24)]
    assert sizes == sorted(sizes)
    assert sizes[1] < 100_000


@pytest.mark.parametrize(("name", "stride"), [("compact", 4), ("predecessor", 256)])
@pytest.mark.parametrize("size", [(2, 256, 256), (1, 512, 256)])
def test_output_has_three_planes_of_cells(name, stride, size):
    network = build_network(name, 1).eval()
    batch, ny, nx = size
    with torch.inference_mode():
        output = network(torch.zeros(batch, 1, ny, nx))
    assert network.stride == stride
    assert tuple(output.shape) == (batch, 3, ny // stride, nx // stride)


def test_new_network_equals_its_best_matched_filter():
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


def test_predecessor_scores_subframes_independently():
    network = random_network("predecessor")
    frame = torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = network(frame)
        alone = network(frame[..., 256:, :256])
    assert whole[0, 0, 1, 0] == pytest.approx(float(alone[0, 0, 0, 0]), abs=1e-5)
    assert (whole[:, 1:] == 0).all()


def test_pixels_are_clipped():
    network = build_network("compact", 8, clip=3.0).eval()
    frame = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    frame[0, 0, 20, 30], frame[0, 0, 40, 10] = 3.0, -3.0
    beyond, within = frame.clone(), frame.clone()
    beyond[0, 0, 20, 30], beyond[0, 0, 40, 10] = 300.0, -7.9
    within[0, 0, 20, 30] = 2.0
    with torch.inference_mode():
        assert torch.equal(network(beyond), network(frame.clamp(-3.0, 3.0)))
        assert not torch.allclose(network(within), network(frame), atol=1e-6)


def test_calibrate_changes_only_the_logit():
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


def test_point_source_affects_its_own_cell():
    network = random_network().double()
    for part in (network.near.body, network.up):  # the remaining receptive field is three cells
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
    """Return a blob with the shape of a filter, in sigma, shape (1, 1, 512, 512)."""
    v, u = np.mgrid[:512, :512]
    profile = radial_profile(np.hypot(u - x, v - y), width, hole)
    image = snr * profile / np.sqrt((profile**2).sum())
    return torch.from_numpy(image.astype(np.float32))[None, None]


def test_matched_filters_have_unit_noise():
    noise = torch.randn(1, 1, 1024, 1024, generator=torch.Generator().manual_seed(0))
    for shapes, reduction in ((SMALL, 2), (LARGE + RINGS, 4)):
        maps = MatchedFilters(shapes, reduction)(noise)[0, :, 8:-8, 8:-8]
        assert tuple(maps.shape[1:]) == (1024 // reduction - 16,) * 2
        # The largest kernel leaves about 1,500 independent places in the frame.
        assert maps.std(dim=(1, 2)).tolist() == pytest.approx([1.0] * len(shapes), abs=0.06)
        assert maps.mean(dim=(1, 2)).tolist() == pytest.approx([0.0] * len(shapes), abs=0.1)


@pytest.mark.parametrize(("width", "hole"), SMALL + LARGE + RINGS)
def test_matched_filter_returns_snr_of_its_shape(width, hole):
    # The mean over a cell reduces the SNR by 1 to 7 %, at the corner of cells by up to 21 %.
    network = build_network("compact", 1)
    small = (width, hole) in SMALL
    middle = (300.5, 196.5) if small else (301.5, 197.5)  # of a cell of 2 or of 4 pixels
    with torch.inference_mode():
        images = torch.cat([blob_image(width, hole, 12.0, *xy) for xy in (middle, (303.5, 199.5))])
        maps, (corner, *_) = UNIT * torch.sinh(network.filter_maps(images))
    own = 1 + (SMALL + LARGE + RINGS).index((width, hole))
    row, column = divmod(int(maps[0].argmax()), maps.shape[-1])
    assert (row, column) == (49, 75)
    assert 0.93 * 12 < maps[own, row, column] <= maps[0, row, column] < 12.0
    assert maps[own, row, column] == maps[own].max()
    assert maps[own, row, column] > 0.97 * maps[0].max()
    assert torch.equal(maps[0], maps[1:].amax(dim=0))
    assert 0.78 * 12 < corner.max() < maps[0].max()


def test_filter_maps_are_compressed_and_ignore_negative_blobs():
    network = build_network("compact", 1)
    with torch.inference_mode():
        negative, faint, bright = (
            network.filter_maps(blob_image(6.2, 0.0, snr, 301.5, 197.5))[:, 0].max().item()
            for snr in (-12.0, 2.0, 200.0)
        )
    assert UNIT * np.sinh(negative) < 1.2
    assert faint == pytest.approx(2.0 / UNIT, rel=0.1)
    assert bright < 0.15 * 200.0 / UNIT
