"""The detector's permanent features at their measured places."""

import numpy as np
import pytest

from blobwatch.instrument import wfc3ir
from blobwatch.instrument.detector import (
    DEATH_STAR,
    Detector,
    dead_zones,
    death_star,
    draw_bad_pixels,
    draw_detector,
    flat_field,
    scratch,
    wagon_wheel,
)

Y, X = np.indices((1024, 1024))


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return draw_detector(rng(), 246.0, 0.007, 0.0145, 0.0004)


def test_death_star():
    dead = death_star(rng())
    y, x = np.nonzero(dead)
    radius = np.hypot(x - 361.8, y - 59.1)
    ring = np.abs(radius - 21.4) < 0.5  # about 1 px wide
    assert DEATH_STAR == (361.8, 59.1, 21.4)
    assert ring.sum() == 103
    assert (~ring).sum() == 46
    assert radius[~ring].max() < 21.4
    bearing = np.degrees(np.arctan2(y - 59.1, x - 361.8))[ring]
    assert np.histogram(bearing, 12, (-180, 180))[0].min() >= 4  # all around


def test_dead_zones():
    dead = dead_zones(rng())
    top = (Y > 1006) & (np.abs(X - 480) < 105)
    upper = (Y > 988) & ((X < 34) | (X > 1000))
    lower_right = (X > 975) & (Y < 120)
    assert not dead[~(top | upper | lower_right)].any()
    assert dead[(Y > 1014) & (Y < 1019) & (X > 440) & (X < 520)].mean() > 0.6
    assert dead[(Y > 1010) & (Y < 1019) & (X >= 400) & (X <= 560)].mean() > 0.3
    for corner_x, reach in ((5, 20), (1018, 12)):
        distance = np.abs(X - corner_x) + np.abs(Y - 1018.0)  # the corner is cut off aslant
        inside = (Y < 1019) & (X >= 5) & (X < 1019)
        assert dead[inside & (distance < reach)].mean() > 0.85
        assert not dead[inside & (distance > 2 * reach) & (distance < 2 * reach + 10)].any()
    assert dead[(X > 995) & (X < 1019) & (Y >= 5) & (Y < 60)].mean() == pytest.approx(0.45, abs=0.12)
    assert not dead[:5].any()
    assert not dead[:, -5:].any()


def test_wagon_wheel():
    dimming = wagon_wheel(rng())
    assert dimming.min() >= 0
    assert dimming.max() <= 0.9
    felloe = [(950, 110), (935, 150), (929, 180), (930, 215), (940, 250), (948, 280), (952, 300)]
    outside = np.concatenate([dimming[y - 5 : y + 6, x - 30 : x - 15].ravel() for x, y in felloe])
    inside = np.concatenate([dimming[y - 5 : y + 6, x + 8 : x + 20].ravel() for x, y in felloe[1:4]])
    assert np.median(outside) < 0.01
    assert 0.10 < np.median(inside) < 0.20  # as in the real sky
    curl = (np.hypot(X - 965, Y - 50) < 17) & (np.hypot(X - 965, Y - 50) > 12) & (X > 970)
    assert np.median(dimming[curl]) > 0.1
    assert dimming[:, :900].max() < 0.01
    assert dimming[360:].max() < 0.01


def test_scratch():
    dimming = scratch(rng())
    y, x = np.nonzero(dimming)
    assert x.min() >= 880
    assert x.max() <= 890
    assert set(y) == set(range(350, 500)) | set(range(600, 930))
    assert (np.bincount(y)[350:500] == 1).all()  # thin
    assert dimming[y, x].min() >= 0.005
    assert dimming.max() <= 0.02


def test_flat_field_is_smooth_except_stripes_and_rim():
    flat = flat_field(rng(), 0.0)
    assert np.abs(np.diff(flat[20:-20, 20:-20], axis=1)).max() < 2e-4
    assert flat[512, 5] < 0.975 * flat[512, 20]
    assert flat[512, 17] > 0.995 * flat[512, 30]  # the outermost 10-12 px differ
    striped = flat_field(rng(), 0.0004) / flat - 1.0
    assert np.std(striped.mean(axis=0)) == pytest.approx(0.0004, rel=0.1)
    assert np.std(striped.mean(axis=1)) == pytest.approx(0.0004, rel=0.1)


def test_bad_pixels_grow_from_start_to_end(detector):
    def share(day):
        return np.mean(detector.dead | (detector.bad_since <= day))

    assert share(0) == pytest.approx(0.007, rel=0.05)
    assert share(246) == pytest.approx(0.0145, rel=0.05)
    assert share(123) == pytest.approx(0.01075, rel=0.05)


def test_kinds_and_levels_of_bad_pixels(detector):
    bad = np.isfinite(detector.bad_since)
    early, late = bad & (detector.bad_since <= 0), bad & (detector.bad_since > 0)
    is_dead = detector.bad_kind == wfc3ir.DQ_BAD
    assert set(np.unique(detector.bad_kind[bad])) == {4, 16, 32}
    assert is_dead[early].mean() == pytest.approx(0.3, abs=0.03)
    assert is_dead[late].mean() == pytest.approx(0.06, abs=0.02)
    assert (detector.bad_level[bad & is_dead] <= 0.95).all()
    assert (detector.bad_level[bad] >= 0).all()


def test_bad_pixels_form_clusters_of_one_to_three():
    ndimage = pytest.importorskip("scipy.ndimage", reason="needs the extra train")
    since, _, _ = draw_bad_pixels(rng(), 246.0, 0.007, 0.0145)
    labels, count = ndimage.label(np.isfinite(since), np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    assert np.isfinite(since).sum() / count == pytest.approx(1.4, abs=0.15)
    assert np.mean(sizes == 1) == pytest.approx(0.65, abs=0.08)
    assert np.mean(sizes <= 4) > 0.97


def test_same_seed_same_detector(detector):
    again = draw_detector(rng(), 246.0, 0.007, 0.0145, 0.0004)
    for name in ("sensitivity", "dead", "bad_since", "bad_kind", "bad_level"):
        np.testing.assert_array_equal(getattr(again, name), getattr(detector, name))
