"""Blobs against the measured figures: size by place, depth, shape, rings."""

from dataclasses import replace

import numpy as np
import pytest

from blobwatch.instrument.blobs import (
    Blob,
    blob_snr,
    depth_at_snr,
    draw_blob,
    draw_old_blobs,
    half_width_at,
    overlap,
    parametric_shape,
    radius_at,
    transmission,
)


@pytest.fixture(scope="module")
def drawn() -> list[Blob]:
    rng = np.random.default_rng(11)
    return [draw_blob(rng) for _ in range(6000)]


def column(blobs: list[Blob], name: str) -> np.ndarray:
    return np.array([getattr(blob, name) for blob in blobs])


def test_size_depends_on_position(drawn):
    x, y = (column(drawn, "x") - 512) / 512, (column(drawn, "y") - 512) / 512
    design = np.stack([np.ones_like(x), x, y], axis=1)
    law, *_ = np.linalg.lstsq(design, column(drawn, "half_width"), rcond=None)
    np.testing.assert_allclose(law, [6.6, -2.3, -2.2], atol=0.1)
    assert np.std(column(drawn, "half_width") - design @ law) == pytest.approx(0.9, abs=0.06)


def test_laws_at_the_corners():
    assert half_width_at(0, 0) == pytest.approx(11.1)
    assert half_width_at(1024, 1024) == pytest.approx(2.1)
    assert half_width_at(1024, 0) == pytest.approx(6.5)
    assert radius_at(512, 512) == pytest.approx(8.41)
    assert radius_at(0, 1024) == pytest.approx(8.41 + 2.06 - 1.98)


def test_size_does_not_depend_on_the_strength(drawn):
    residual = [blob.half_width - half_width_at(blob.x, blob.y) for blob in drawn]
    assert abs(np.corrcoef(residual, np.log(column(drawn, "depth")))[0, 1]) < 0.05


def test_depths(drawn):
    depth = column(drawn, "depth")
    measured = [0.012, 0.016, 0.023, 0.042]
    np.testing.assert_allclose(np.quantile(depth, [0.05, 0.25, 0.5, 0.75]), measured, rtol=0.06)
    assert np.mean(depth > 0.047) == pytest.approx(0.2, abs=0.02)
    assert depth.min() > 0.005
    assert depth.max() <= 0.30


def test_shape_parameters(drawn):
    exponent, edge = column(drawn, "exponent"), column(drawn, "edge")
    assert exponent.min() >= 0.73
    assert exponent.max() <= 1.84
    assert np.median(exponent) == pytest.approx(1.25, abs=0.05)
    assert 2.0 <= edge.min() < 2.1
    assert 19.0 < edge.max() <= 20.0
    # log-uniform: each half of the logarithmic range holds half of them
    assert np.mean(edge < np.sqrt(40)) == pytest.approx(0.5, abs=0.03)
    assert column(drawn, "axis_ratio").mean() == pytest.approx(1.08, abs=0.005)


def test_rings_are_at_lower_left_with_measured_share(drawn):
    rings = [blob for blob in drawn if blob.hole]
    assert len(rings) / len(drawn) == pytest.approx(7 / 27, abs=np.sqrt(7 / 27 * 20 / 27 / 27))
    assert max(column(rings, "x")) <= 480
    assert max(column(rings, "y")) <= 660
    assert min(column(rings, "half_width")) > 7.5
    assert min(column(rings, "hole")) >= 0.3
    assert max(column(rings, "hole")) <= 0.5


def test_given_values_are_kept():
    blob = draw_blob(np.random.default_rng(1), x=300.3, y=701.8, depth=0.05)
    assert (blob.x, blob.y, blob.depth) == (300.3, 701.8, 0.05)


def test_shape_is_diamond_with_corners_on_axes():
    stamp, x0, y0 = parametric_shape(
        Blob(300.0, 700.0, half_width=8.0, depth=0.1, axis_ratio=1.0, exponent=1.0, edge=20.0), 8
    )
    at = {(dx, dy): stamp[700 + dy - y0, 300 + dx - x0] for dx in range(-9, 10) for dy in range(-9, 10)}
    assert at[0, 0] == pytest.approx(1.0)
    assert [at[0, 8], at[-8, 0], at[0, -8]] == pytest.approx([at[8, 0]] * 3)
    assert 0.2 < at[8, 0] < 0.6
    assert at[7, 0] > 0.85  # flat top
    assert at[9, 0] < 0.1  # hard edge
    assert at[6, 6] < 0.01  # a circle of this radius would reach (5.7, 5.7), a square (8, 8)
    assert at[3, 3] > 0.9


def test_half_width_is_where_the_profile_is_one_half():
    blob = Blob(300.0, 700.0, half_width=7.0, depth=0.1, axis_ratio=1.2, exponent=1.25, edge=4.0)
    stamp, x0, y0 = parametric_shape(blob, 9)
    assert stamp[700 - y0, 307 - x0] == pytest.approx(0.5, abs=0.02)
    assert np.interp(8.4, range(12), stamp[700 - y0 : 712 - y0, 300 - x0]) == pytest.approx(0.5, abs=0.02)


def test_ring_has_half_depth_hole_and_central_dot():
    stamp, x0, y0 = parametric_shape(Blob(200.0, 200.0, half_width=10.0, depth=0.1, edge=15.0, hole=0.5), 8)
    row = stamp[200 - y0, 200 - x0 :]
    assert row[0] > 0.9  # the dot
    assert row[3] == pytest.approx(0.5, abs=0.1)  # the hole
    assert row[7] > 0.9  # the ring
    assert row[13] < 0.01


@pytest.mark.parametrize("strength", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("edge", [2.0, 5.0, 20.0])
def test_collar_sign_and_strength(strength, edge):
    bare = Blob(300.0, 700.0, half_width=7.0, depth=0.1, axis_ratio=1.2, edge=edge)
    collared = replace(bare, collar=strength)
    stamp, x0, y0 = parametric_shape(collared, 4)
    wide, _, _ = parametric_shape(replace(collared, collar=1e-9), 4)  # the same stamp, all but without
    added = stamp - wide
    assert added.max() <= 1e-8
    assert added.min() == pytest.approx(-strength, rel=0.02)
    row, column = np.unravel_index(added.argmin(), added.shape)
    x, y = (abs(column + x0 - 300.0) / 7.0, abs(row + y0 - 700.0) / 8.4)
    assert (x**1.25 + y**1.25) ** 0.8 == pytest.approx(1.7, abs=0.1)
    assert added[700 - y0, 300 - x0] == pytest.approx(0.0, abs=1e-4)  # the peak is as it was
    if edge > 2.0:  # a soft profile reaches over it
        assert stamp.min() < -0.8 * strength


def test_collar_fades_at_stamp_edge_and_changes_snr():
    blob = Blob(300.3, 701.8, half_width=5.0, depth=0.1, axis_ratio=0.7, edge=25.0, collar=0.2)
    stamp, _, _ = blob.unit_shape()
    assert np.abs([*stamp[0], *stamp[-1], *stamp[:, 0], *stamp[:, -1]]).max() < 0.001
    assert stamp.shape[0] > replace(blob, collar=0.0).unit_shape()[0].shape[0]
    assert blob_snr(blob, 0.01) == pytest.approx(10 * np.sqrt((stamp**2).sum()))
    assert blob_snr(blob, 0.01) > blob_snr(replace(blob, collar=0.0), 0.01)


def test_transmission_is_attenuation_and_shadows_multiply():
    one, two = Blob(300.3, 701.8, 7.0, 0.2), Blob(303.0, 703.0, 6.0, 0.1)
    together = transmission([one, two])
    np.testing.assert_allclose(together, transmission([one]) * transmission([two]))
    assert together.min() == pytest.approx(0.72, abs=0.01)
    assert together.max() == 1.0


def test_blob_at_asymmetric_position():
    light = 1.0 - transmission([Blob(300.3, 701.8, 7.0, 0.2)])
    y, x = np.indices(light.shape)
    assert (light * x).sum() / light.sum() == pytest.approx(300.3, abs=0.05)
    assert (light * y).sum() / light.sum() == pytest.approx(701.8, abs=0.05)


@pytest.mark.parametrize(
    "place", [(-30.0, 500.0), (500.0, 1100.0), (0.0, 0.0), (1023.0, 2.0), (-3.0, 1026.0)]
)
def test_blob_at_frame_edge_is_clipped(place):
    region, part = overlap(*Blob(*place, 7.0, 0.2).unit_shape(), (1024, 1024))
    assert np.empty((1024, 1024))[region].shape == part.shape
    assert transmission([Blob(*place, 7.0, 0.2)]).shape == (1024, 1024)


def test_depth_at_snr_inverts_blob_snr(drawn):
    for blob in drawn[:20]:
        assert blob_snr(blob, 0.01) == pytest.approx(blob.depth / depth_at_snr(blob, 1.0, 0.01), rel=1e-9)


def test_old_blobs_match_measured_table():
    old = draw_old_blobs(np.random.default_rng(1))
    assert len(old) == 108
    assert (old[0].x, old[0].y, old[0].depth) == (234.0, 424.0, pytest.approx(0.0488))
    again = draw_old_blobs(np.random.default_rng(2))
    assert [(b.x, b.y, b.depth) for b in old] == [(b.x, b.y, b.depth) for b in again]
    assert all(5 <= b.x <= 1018 and 5 <= b.y <= 1018 for b in old)
