"""Injection takes away the light that is there; nothing is pasted."""

import numpy as np
import pytest
from made import NOISE

from blobwatch.dataset.injection import SEPARATION, contaminate, draw_injected, inject, residual
from blobwatch.instrument.blobs import Blob, draw_blob, shape, snr_of

BLOB = Blob(x=400.3, y=300.7, half_width=6.0, depth=0.08)
X0, Y0 = 300, 200  # of the cut


def added_by(blob: Blob, light: np.ndarray) -> np.ndarray:
    cut = np.zeros((256, 256))
    inject(cut, light, blob, X0, Y0)
    return cut


def test_it_is_attenuation_of_the_light_that_is_there():
    light = np.random.default_rng(1).uniform(0.5, 1.5, (256, 256))
    added, full = added_by(BLOB, light), added_by(BLOB, np.ones((256, 256)))
    np.testing.assert_allclose(added, full * light, rtol=1e-12, atol=0)
    assert full.max() == pytest.approx(BLOB.depth, rel=0.01)
    assert np.unravel_index(full.argmax(), full.shape) == (101, 100)  # y 300.7 - 200, x 400.3 - 300


def test_nothing_is_taken_where_there_is_no_light():
    light = np.ones((256, 256))
    light[:, 100:] = 0.0
    added = added_by(BLOB, light)
    assert (added[:, 100:] == 0).all()
    assert added[101, 99] > 0.05


def test_outside_the_shape_the_cut_is_bit_identical():
    rng = np.random.default_rng(2)
    before = rng.normal(0.0, NOISE, (256, 256))
    before[3, 4] = np.nan
    cut = before.copy()
    inject(cut, np.ones_like(cut), BLOB, X0, Y0)
    stamp, left, bottom = shape(BLOB)
    outside = np.ones(cut.shape, dtype=bool)
    outside[bottom - Y0 : bottom - Y0 + stamp.shape[0], left - X0 : left - X0 + stamp.shape[1]] = False
    assert cut[outside].tobytes() == before[outside].tobytes()
    assert (cut[~outside] - before[~outside]).max() > 0.9 * BLOB.depth


@pytest.mark.parametrize("seed", range(40))
def test_no_square_is_pasted(seed):
    """At the border of its stamp a blob of any shape has faded away, so no edge is left to see."""
    rng = np.random.default_rng(seed)
    blob = draw_blob(rng, depth=0.05)
    stamp, _, _ = shape(blob)
    border = np.concatenate([stamp[0], stamp[-1], stamp[:, 0], stamp[:, -1]])
    assert border.max() < 0.005
    assert stamp.max() <= 1.0
    assert (stamp[0, 0], stamp[0, -1], stamp[-1, 0], stamp[-1, -1]) == pytest.approx((0, 0, 0, 0), abs=1e-4)


def test_noise_and_unknown_pixels_stay():
    cut = np.full((256, 256), 0.001)
    cut[101, 100] = np.nan
    inject(cut, np.ones_like(cut), BLOB, X0, Y0)
    assert np.isnan(cut[101, 100])
    assert np.isnan(cut).sum() == 1


@pytest.mark.parametrize("asked", [4.0, 12.0, 30.0])
def test_the_snr_is_as_asked(asked):
    rng = np.random.default_rng(3)
    for _ in range(10):
        blob = draw_injected(rng, 256, X0, Y0, [], (asked, asked), NOISE)
        centred = Blob(**(blob.as_dict() | {"x": X0 + 128.0, "y": Y0 + 128.0}))
        added = added_by(centred, np.ones((256, 256)))
        assert np.sqrt((added**2).sum()) / NOISE == pytest.approx(asked, rel=0.02)
        assert snr_of(blob, NOISE) == pytest.approx(asked, rel=0.02)


def test_the_snr_is_measured_so_by_its_own_filter_in_noise():
    rng = np.random.default_rng(4)
    blob = Blob(**(BLOB.as_dict() | {"depth": 20.0 / snr_of(BLOB, NOISE) * BLOB.depth}))
    profile = added_by(blob, np.ones((256, 256)))
    profile /= np.sqrt((profile**2).sum())
    measured = []
    for _ in range(60):
        cut = rng.normal(0.0, NOISE, (256, 256))
        inject(cut, np.ones_like(cut), blob, X0, Y0)
        measured.append((cut * profile).sum() / NOISE)
    assert np.mean(measured) == pytest.approx(20.0, abs=0.4)
    assert np.std(measured) == pytest.approx(1.0, abs=0.35)


def test_injected_blobs_keep_apart_and_inside():
    rng = np.random.default_rng(5)
    taken: list[Blob] = []
    for _ in range(12):
        blob = draw_injected(rng, 256, X0, Y0, taken, (5.0, 30.0), NOISE)
        if blob is not None:
            assert X0 <= blob.x <= X0 + 255
            assert Y0 <= blob.y <= Y0 + 255
            taken.append(blob)
    places = np.array([(blob.x, blob.y) for blob in taken])
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert apart[np.triu_indices(len(taken), 1)].min() >= SEPARATION
    assert len(taken) > 6


def test_a_full_cut_gets_no_further_blob():
    taken = [Blob(x, y, 5.0, 0.01) for x in range(0, 64, 14) for y in range(0, 64, 14)]
    assert draw_injected(np.random.default_rng(6), 64, 0, 0, taken, (5.0, 30.0), NOISE) is None


def test_contaminants_of_every_kind_are_named_and_change_the_cut():
    seen = {}
    for seed in range(60):
        cut = np.zeros((256, 256))
        kind = contaminate(np.random.default_rng(seed), cut, NOISE, X0, Y0)
        seen.setdefault(kind, []).append(np.abs(cut).max() / NOISE)
        assert np.isfinite(cut).all()
    assert sorted(seen) == ["bad pixels", "residuals", "streaks", "triplets"]
    assert max(len(kind) for kind in seen) <= 12  # the width of the shard's column
    for kind, peaks in seen.items():
        assert np.median(peaks) > 0.5, kind


def test_a_residual_is_a_few_per_cent_of_an_old_blob_and_of_either_sign():
    totals, peaks = [], []
    for seed in range(60):
        cut = np.zeros((256, 256))
        residual(np.random.default_rng(seed), cut, NOISE, X0, Y0)
        totals.append(cut.sum())
        peaks.append(np.abs(cut).max() / NOISE)
    assert 0.1 < np.median(peaks) < 1.0
    assert max(peaks) < 8.0  # of the deepest old blob, were it new
    assert 0.25 < np.mean(np.array(totals) > 0) < 0.75
