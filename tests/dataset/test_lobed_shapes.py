"""Lobed shapes: centre, peak, sizes, forms and orientations."""

from dataclasses import replace

import numpy as np
import pytest

from blobwatch.dataset.cutouts import render_blob
from blobwatch.dataset.lobed_shapes import CUTOFF, Lobe, LobedBlob, draw_lobed, render_lobes
from blobwatch.instrument.blobs import blob_snr, depth_at_snr

X, Y = 300.3, 500.7


@pytest.fixture(scope="module")
def blobs() -> list[LobedBlob]:
    rng = np.random.default_rng(1)
    return [draw_lobed(rng, X, Y) for _ in range(150)]


def moments(blob: LobedBlob) -> tuple[float, float, float]:
    """Return the centre of light, and the angle (0 to pi) of the long axis."""
    stamp, x0, y0 = blob.unit_shape()
    v, u = np.indices(stamp.shape)
    x, y = (stamp * u).sum() / stamp.sum(), (stamp * v).sum() / stamp.sum()
    u, v = u - x, v - y
    angle = 0.5 * np.arctan2(2 * (stamp * u * v).sum(), (stamp * (u**2 - v**2)).sum())
    return x + x0, y + y0, angle % np.pi


def test_centre_of_light_is_blob_position(blobs):
    places = np.array([moments(blob)[:2] for blob in blobs])
    np.testing.assert_allclose(places, [[X, Y]] * len(blobs), atol=0.06)
    assert {(blob.x, blob.y) for blob in blobs} == {(X, Y)}


def test_shapes_have_unit_peak_and_cutoff(blobs):
    for blob in blobs:
        stamp = blob.unit_shape()[0]
        assert stamp.max() == 1.0
        assert stamp.min() == 0.0
        assert stamp[stamp > 0].min() >= CUTOFF


def test_sizes_and_forms_cover_range(blobs):
    widths = [2 * np.sqrt((blob.unit_shape()[0] > 0.5).sum() / np.pi) for blob in blobs]
    assert min(widths) < 4.8  # the FWHM of real blobs: 4.8 to 25 px
    assert max(widths) > 24
    assert np.mean(np.array(widths) > 10) > 0.3  # large ones of low surface brightness
    counts = np.bincount([len(blob.lobes) for blob in blobs], minlength=4) / len(blobs)
    assert counts == pytest.approx([0.0, 0.5, 0.3, 0.2], abs=0.12)
    assert 0.15 < np.mean([any(lobe.hole for lobe in blob.lobes) for blob in blobs]) < 0.45


def test_orientations_cover_all_directions(blobs):
    angles = [moments(blob)[2] for blob in blobs]
    assert np.histogram(angles, 4, (0, np.pi))[0].min() > len(blobs) / 10


def test_single_lobe_has_expected_form():
    lobe = Lobe(0.0, 0.0, 6.0, axis_ratio=2.0, angle=np.pi / 6, exponent=2.0, edge=8.0, weight=0.7)
    blob = LobedBlob(x=X, y=Y, half_width=6.0, depth=0.1, lobes=(lobe,))
    stamp, x0, y0 = blob.unit_shape()
    inside = stamp > 0.5
    assert inside.sum() == pytest.approx(2 * np.pi * 6.0**2, rel=0.03)
    assert moments(blob)[2] == pytest.approx(np.pi / 6 + np.pi / 2, abs=0.02)  # the longer side is across
    ring = replace(blob, lobes=(replace(lobe, hole=0.5),)).unit_shape()[0]
    middle = round(Y) - y0, round(X) - x0
    assert stamp[middle] == pytest.approx(1.0, abs=0.01)
    assert ring[middle] == pytest.approx(0.4, abs=0.05)  # of its brightest pixel


def test_snr_of_lobed_blob_matches_image(blobs):
    blob = blobs[0]
    loud = replace(blob, depth=depth_at_snr(blob, 15.0, 0.01))
    assert blob_snr(loud, 0.01) == pytest.approx(15.0)
    assert np.sqrt((render_blob(loud, (1024, 1024)) ** 2).sum()) / 0.01 == pytest.approx(15.0)
    assert render_lobes(replace(loud, depth=1.0))[0] is loud.unit_shape()[0]  # rendered once for all depths
