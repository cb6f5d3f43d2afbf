"""What a cut is contaminated with: each kind does what it says, in units of the noise, from its seed."""

import numpy as np
import pytest
from made import NOISE

from blobwatch.dataset.contamination import (
    KINDS,
    SHARES,
    contaminate,
    point_sources,
    vary_noise,
)
from blobwatch.dataset.shards import SUBFRAME
from blobwatch.instrument.blobs import draw_blob, parametric_shape

SHAPE = (256, 256)


def scene_of(kind: str, seed: int, wide: bool = True, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    scene = np.zeros(shape)
    KINDS[kind](np.random.default_rng(seed), scene, wide)
    return scene


def contaminated(seed: int, noise: float = NOISE, wide: bool = True) -> tuple[np.ndarray, str]:
    cut = np.zeros(SHAPE)
    return cut, contaminate(np.random.default_rng(seed), cut, noise, wide)


BOTH = pytest.mark.parametrize("wide", [True, False], ids=["wide", "measured"])


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_the_cut_and_only_dead_areas_make_it_unknown(kind, wide):
    changed = []
    for seed in range(25):
        scene = scene_of(kind, seed, wide)
        assert scene.shape == SHAPE
        assert not np.isinf(scene).any()
        assert np.isnan(scene).any() == (kind == "dead areas")
        assert np.nanmax(np.abs(scene)) <= (
            0 if kind == "dead areas" else 160
        )  # two of the brightest at once
        changed.append((scene != 0).any())
    assert np.mean(changed) >= 0.9  # an arc may lie beside the cut


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dead areas"])
@BOTH
def test_they_are_of_both_signs(kind, wide):
    scenes = [scene_of(kind, seed, wide) for seed in range(40)]
    assert max(scene.max() for scene in scenes) > 0.4
    assert min(scene.min() for scene in scenes) < -0.4


@pytest.mark.parametrize("kind", ["streaks", "triplets", "point sources"])
@BOTH
def test_what_comes_of_one_cause_has_one_sign_and_is_mostly_excess_light(kind, wide):
    scenes = [scene_of(kind, seed, wide) for seed in range(80)]
    assert all(scene.min() == 0 or scene.max() == 0 for scene in scenes)
    assert 0.55 < np.mean([scene.min() < 0 for scene in scenes]) < 0.97


@pytest.mark.parametrize(
    ("kind", "most"), [("streaks", 0.8 * 1.4), ("triplets", 1.3), ("arcs", 1.5), ("residuals", 1.5)]
)
def test_measured_ones_are_faint_and_wide_ones_go_beyond(kind, most):
    """Of most scenes; where several lie on each other they add up."""
    peaks = {
        wide: np.array([np.abs(scene_of(kind, seed, wide)).max() for seed in range(50)])
        for wide in (False, True)
    }
    assert np.quantile(peaks[False], 0.7) <= most
    assert peaks[False].max() <= 3 * most
    assert peaks[True].max() > 1.05 * most
    assert peaks[True].mean() > peaks[False].mean()


def test_measured_streaks_and_triplets_have_the_measured_direction():
    for seed in range(20):
        scene = np.abs(scene_of("triplets", seed, wide=False))
        down, across = (np.abs(slope).sum() for slope in np.gradient(scene))
        assert scene.max() == 0 or across < 0.2 * down  # nearly horizontal
    upright = [np.abs(scene_of("triplets", seed)) for seed in range(20)]
    assert any(np.abs(np.diff(one, axis=1)).sum() > np.abs(np.diff(one, axis=0)).sum() for one in upright)


@BOTH
def test_dead_areas_leave_most_of_the_cut(wide):
    unknown = [np.isnan(scene_of("dead areas", seed, wide)).mean() for seed in range(40)]
    assert min(unknown) > 0
    assert max(unknown) < 0.5
    assert np.median(unknown) < 0.1


@BOTH
def test_all_kinds_are_drawn_alone_or_mixed_and_their_names_fit_the_shard(wide):
    names = [contaminated(seed, wide=wide)[1] for seed in range(150)]
    assert set(names) == {*KINDS, "mixed"}
    assert 0.15 < names.count("mixed") / len(names) < 0.35
    assert max(len(name) for name in names) <= SUBFRAME["contaminant"].itemsize // 4
    assert sum(SHARES) == pytest.approx(1.0)
    assert len(SHARES) == len(KINDS)


def test_they_scale_with_the_noise():
    for seed in range(20):
        (quiet, kind), (loud, again) = contaminated(seed, NOISE), contaminated(seed, 3 * NOISE)
        assert kind == again
        np.testing.assert_allclose(loud, 3 * quiet, rtol=1e-12, atol=1e-15)


def test_they_are_added_to_what_is_there():
    for seed in range(20):
        before = np.random.default_rng(7).normal(0.0, NOISE, SHAPE)
        cut = before.copy()
        contaminate(np.random.default_rng(seed), cut, NOISE, wide=True)
        np.testing.assert_allclose(cut, before + contaminated(seed)[0], rtol=0, atol=1e-15)


def test_the_seed_says_it_all():
    for seed in range(12):
        assert contaminated(seed)[0].tobytes() == contaminated(seed)[0].tobytes()
    cuts = {contaminated(seed, wide=wide)[0].tobytes() for seed in range(12) for wide in (True, False)}
    assert len(cuts) > 20  # dead areas may be the same


@BOTH
def test_a_residual_sums_to_nearly_nothing(wide):
    """It is one shadow taken from another; only those cut off by the border leave a sum."""
    scenes = [scene_of("residuals", seed, wide, (512, 512)) for seed in range(25)]
    balance = [abs(scene.sum()) / np.abs(scene).sum() for scene in scenes]
    assert np.median(balance) < 0.02
    assert max(balance) < 0.2


def test_residuals_stay_below_eight_per_cent_of_the_old_blob():
    peaks = [np.abs(scene_of("residuals", seed)).max() for seed in range(60)]
    assert max(peaks) < 0.08 * 30  # the strongest old blobs have 30 sigma in the middle
    assert min(peaks) > 0.005
    assert 0.2 < np.median(peaks) < 1.5


@BOTH
def test_residuals_look_like_both_sides_of_a_blob(wide):
    """The strongest pixel is as often dark as bright."""
    signs = []
    for seed in range(60):
        scene = scene_of("residuals", seed, wide)
        signs.append(scene.flat[np.abs(scene).argmax()] > 0)
    assert 0.25 < np.mean(signs) < 0.75


def width_of_brightest(scene: np.ndarray) -> float:
    """Full width at half maximum of a Gaussian star, exactly, from three pixels of its row."""
    y, x = np.unravel_index(scene.argmax(), scene.shape)
    left, middle, right = np.log(scene[y, x - 1 : x + 2])
    return float(np.sqrt(8 * np.log(2) / (2 * middle - left - right)))


@BOTH
def test_a_positive_point_source_is_narrower_than_the_narrowest_blob(wide):
    widths = {1: [], -1: []}
    for seed in range(60):
        scene = np.zeros((1024, 1024))
        point_sources(np.random.default_rng(seed), scene, wide)
        sign = 1 if scene.max() > 0 else -1
        widths[sign].append(width_of_brightest(sign * np.pad(scene, 1, mode="edge")))
    rng = np.random.default_rng(3)
    blobs = (draw_blob(rng, 1018.0, 1018.0) for _ in range(200))  # where they are smallest
    areas = [(parametric_shape(blob, 6)[0] > 0.5).sum() for blob in blobs]
    assert max(widths[1]) < np.sqrt(4 * min(areas) / np.pi)
    assert max(widths[1]) <= 2.25
    assert min(widths[1] + widths[-1]) >= 1.05
    if wide:
        assert 4.0 < max(widths[-1]) <= 5.1  # excess light is no blob, however wide
    else:
        assert max(widths[-1]) <= 2.25


def added_noise(seed: int) -> np.ndarray:
    cut = np.zeros(SHAPE)
    vary_noise(np.random.default_rng(seed), cut, NOISE)
    return cut / NOISE


def test_noise_is_at_most_doubled_and_sometimes_correlated_or_heavy_tailed():
    correlated, heavy, plain, untouched = [], [], [], 0
    for seed in range(160):
        added = added_noise(seed)
        if not added.any():
            untouched += 1
            continue
        own = added.std()
        assert 0.3 * 0.99 <= own <= 1.7 * 1.01
        assert np.hypot(1.0, own) < 2.0  # with the cut's own noise
        one = added / own
        beside = (one[:, 1:] * one[:, :-1]).mean()
        above = (one[1:] * one[:-1]).mean()
        assert beside == pytest.approx(above, abs=0.03)
        if (one**4).mean() > 3.5:
            heavy.append(beside)
        elif beside > 0.02:
            correlated.append(beside)
        else:
            plain.append(beside)
    assert 0.28 < untouched / 160 < 0.52
    assert 0.04 < len(heavy) / 160 < 0.18
    assert 0.18 < len(correlated) / 160 < 0.42
    assert 0.10 < len(plain) / 160 < 0.35
    assert np.abs(heavy + plain).max() < 0.021  # only correlated noise is correlated
    assert min(plain) > -0.02
    assert 0.5 < max(correlated) < 0.8


def test_noise_is_in_units_of_the_cuts_own_and_keeps_what_is_unknown():
    seed = next(seed for seed in range(20) if added_noise(seed).any())
    cut = np.full(SHAPE, 0.5)
    cut[3, 4] = np.nan
    vary_noise(np.random.default_rng(seed), cut, 5 * NOISE)
    assert np.argwhere(np.isnan(cut)).tolist() == [[3, 4]]
    expected = 0.5 + 5 * NOISE * added_noise(seed)
    known = np.isfinite(cut)
    np.testing.assert_allclose(cut[known], expected[known], rtol=1e-12)
