"""Injection attenuates the light; random shapes and SNRs have the expected ranges."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import NOISE

from blobwatch.dataset.injection import (
    LOBED,
    MAX_DEPTH,
    MIN_SEPARATION,
    draw_blob_to_inject,
    draw_measured_blob,
    draw_wide_blob,
    inject_blob,
)
from blobwatch.dataset.lobed_shapes import LobedBlob
from blobwatch.images.tiling import Tile
from blobwatch.instrument.blobs import Blob, blob_snr

BLOB = Blob(x=400.3, y=300.7, half_width=6.0, depth=0.08)
X0, Y0 = 300, 200  # of the cut
TILE = Tile(0, 0, 0, X0, Y0)


def added_by(blob: Blob, light: np.ndarray) -> np.ndarray:
    cut = np.zeros((256, 256))
    inject_blob(cut, light, blob, X0, Y0)
    return cut


def test_injection_is_proportional_to_light():
    light = np.random.default_rng(1).uniform(0.5, 1.5, (256, 256))
    added, full = added_by(BLOB, light), added_by(BLOB, np.ones((256, 256)))
    np.testing.assert_allclose(added, full * light, rtol=1e-12, atol=0)
    assert full.max() == pytest.approx(BLOB.depth, rel=0.01)
    assert np.unravel_index(full.argmax(), full.shape) == (101, 100)  # y 300.7 - 200, x 400.3 - 300
    stamp, left, bottom = BLOB.unit_shape()
    full[bottom - Y0 : bottom - Y0 + stamp.shape[0], left - X0 : left - X0 + stamp.shape[1]] = 0.0
    assert not full.any()


@pytest.mark.parametrize("draw", [draw_measured_blob, draw_wide_blob])
def test_stamp_border_is_faint(draw):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        stamp, _, _ = draw(rng, *rng.uniform(5, 1018, 2)).unit_shape()
        assert np.abs([stamp[[0, -1]], stamp[:, [0, -1]].T]).max() < 0.005
        assert np.abs(stamp[[0, 0, -1, -1], [0, -1, 0, -1]]).max() < 1e-4
        assert stamp.max() <= 1.0


@pytest.mark.parametrize("draw", [draw_measured_blob, draw_wide_blob])
@pytest.mark.parametrize("asked", [4.0, 12.0, 30.0])
def test_drawn_blob_has_requested_snr(asked, draw):
    rng = np.random.default_rng(3)
    for _ in range(10):
        blob = draw_blob_to_inject(rng, TILE, [], (asked, asked), NOISE, draw)
        centred = replace(blob, x=X0 + 128.0, y=Y0 + 128.0)
        added = added_by(centred, np.ones((256, 256)))
        assert np.sqrt((added**2).sum()) / NOISE == pytest.approx(asked, rel=0.02)


def test_snr_distribution_and_maximum_depth():
    rng = np.random.default_rng(8)
    blobs = [draw_blob_to_inject(rng, TILE, [], (4.0, 40.0), NOISE) for _ in range(400)]
    snr = np.array([blob_snr(blob, NOISE) for blob in blobs])
    assert snr.min() >= 4.0 - 1e-9
    assert snr.max() <= 40.0 + 1e-9
    # The logarithm rises with the power of 1.5 of an even draw.
    for share in (0.2, 0.5, 0.8):
        assert (np.log10(snr / 4.0) < share).mean() == pytest.approx(share ** (1 / 1.5), abs=0.07)
    noisy = [draw_blob_to_inject(rng, TILE, [], (40.0, 40.0), 0.5) for _ in range(20)]
    assert max(blob.depth for blob in noisy) == MAX_DEPTH


def test_injected_blobs_are_separated_and_inside():
    rng = np.random.default_rng(5)
    taken: list[Blob] = []
    for _ in range(12):
        blob = draw_blob_to_inject(rng, TILE, taken, (5.0, 30.0), NOISE)
        if blob is not None:
            assert X0 <= blob.x <= X0 + 255
            assert Y0 <= blob.y <= Y0 + 255
            taken.append(blob)
    places = np.array([(blob.x, blob.y) for blob in taken])
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert apart[np.triu_indices(len(taken), 1)].min() >= MIN_SEPARATION
    assert len(taken) > 6
    assert apart[np.triu_indices(len(taken), 1)].min() < 2 * MIN_SEPARATION  # their edges may touch


def test_no_blob_without_free_position():
    taken = [Blob(x, y, 5.0, 0.01) for x in range(0, 64, 14) for y in range(0, 64, 14)]
    assert (
        draw_blob_to_inject(np.random.default_rng(6), Tile(0, 0, 0, 0, 0, 64), taken, (5.0, 30.0), NOISE)
        is None
    )


def draw_table(draw) -> dict[str, np.ndarray]:
    """Return the parameters of blobs without lobes."""
    rng = np.random.default_rng(9)
    blobs = [draw(rng, *rng.uniform(5, 1018, 2)) for _ in range(4000)]
    rows = [blob.as_dict() for blob in blobs if not isinstance(blob, LobedBlob)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module")
def known() -> dict[str, np.ndarray]:
    return draw_table(draw_measured_blob)


@pytest.fixture(scope="module")
def wide() -> dict[str, np.ndarray]:
    return draw_table(draw_wide_blob)


def test_share_of_lobed_wide_shapes(wide):
    assert 1 - len(wide["x"]) / 4000 == pytest.approx(LOBED, abs=0.03)


@pytest.mark.parametrize("name", ["half_width", "axis_ratio", "exponent", "edge", "hole", "collar"])
def test_wide_shapes_enclose_measured_shapes(known, wide, name):
    low, high = np.quantile(known[name], [0.001, 0.999])
    assert wide[name].min() <= low
    assert wide[name].max() >= high
    if name in ("axis_ratio", "exponent", "edge", "collar"):
        assert wide[name].max() > 1.1 * high
    if name not in ("hole", "collar"):  # which most have none of
        assert np.histogram(wide[name], 8, (low, high))[0].min() > 20  # no gap


def test_half_of_wide_sizes_follow_position(known, wide):
    for columns_of, least, most in ((known, 0.85, 1.0), (wide, 0.25, 0.65)):
        law = 6.6 - 2.3 * (columns_of["x"] / 512 - 1) - 2.2 * (columns_of["y"] / 512 - 1)
        assert least < np.corrcoef(columns_of["half_width"], law)[0, 1] < most


def test_wide_rings_are_anywhere_and_not_tiny(wide):
    rings = wide["hole"] > 0
    assert 0.1 < rings.mean() < 0.2
    assert wide["half_width"][rings].min() > 4.0
    assert (wide["x"][rings] > 700).any()
    assert wide["hole"][rings].min() >= 0.25
    assert 0.3 < (wide["collar"] > 0).mean() < 0.5


def test_measured_shapes_have_no_collar_and_keep_position(known):
    assert (known["collar"] == 0).all()
    for draw in (draw_measured_blob, draw_wide_blob):
        blob = draw(np.random.default_rng(1), 300.3, 701.8)
        assert (blob.x, blob.y) == (300.3, 701.8)


def test_matched_filter_measures_injected_snr():
    rng = np.random.default_rng(4)
    blob = replace(BLOB, depth=20.0 / blob_snr(BLOB, NOISE) * BLOB.depth)
    profile = added_by(blob, np.ones((256, 256)))
    profile /= np.sqrt((profile**2).sum())
    measured = []
    for _ in range(60):
        cut = rng.normal(0.0, NOISE, (256, 256))
        inject_blob(cut, np.ones_like(cut), blob, X0, Y0)
        measured.append((cut * profile).sum() / NOISE)
    assert np.mean(measured) == pytest.approx(20.0, abs=0.4)
    assert np.std(measured) == pytest.approx(1.0, abs=0.35)


def test_injection_keeps_nan():
    cut = np.full((256, 256), 0.001)
    cut[101, 100] = np.nan
    inject_blob(cut, np.ones_like(cut), BLOB, X0, Y0)
    assert np.isnan(cut[101, 100])
    assert np.isnan(cut).sum() == 1
