"""What a cut is contaminated with: each kind does what it says, in units of the noise, from its seed."""

import numpy as np
import pytest
from synthetic import NOISE

from blobwatch.dataset import injection
from blobwatch.dataset.contaminants import KINDS, SHARES, add_contaminants, add_point_sources
from blobwatch.dataset.frame_effects import (
    FRAME_EFFECTS,
    NOISE_SHARES,
    add_frame_effects,
    draw_glow,
    draw_noise,
    draw_outliers,
    draw_stripes,
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
    return cut, add_contaminants(np.random.default_rng(seed), cut, noise, wide)


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
        add_contaminants(np.random.default_rng(seed), cut, NOISE, wide=True)
        np.testing.assert_allclose(cut, before + contaminated(seed)[0], rtol=0, atol=1e-15)


def test_the_seed_says_it_all():
    for seed in range(12):
        assert contaminated(seed)[0].tobytes() == contaminated(seed)[0].tobytes()
    cuts = {contaminated(seed, wide=wide)[0].tobytes() for seed in range(12) for wide in (True, False)}
    assert len(cuts) > 20  # dead areas may be the same


@pytest.mark.parametrize(
    ("wide", "lobed"),
    [(False, 0.0), (True, 0.0), (True, 1.0)],
    ids=["measured", "wide", "lobed"],
)
def test_a_residual_sums_to_nearly_nothing(wide, lobed, monkeypatch):
    """It is one shadow taken from another; only those cut off by the border leave a sum."""
    monkeypatch.setattr(injection, "LOBED", lobed)
    scenes = [scene_of("residuals", seed, wide, (512, 512)) for seed in range(25)]
    balance = [abs(scene.sum()) / np.abs(scene).sum() for scene in scenes]
    assert np.median(balance) < 0.02
    assert max(balance) < 0.3


@pytest.mark.parametrize(
    ("wide", "most", "usual"), [(False, 0.05 * 30, (0.05, 0.6)), (True, 0.25 * 30, (0.2, 2.5))]
)
def test_residuals_stay_below_a_share_of_the_old_blob(wide, most, usual):
    """The strongest old blobs have 30 sigma in the middle; shifted by a pixel they leave a quarter."""
    peaks = [np.abs(scene_of("residuals", seed, wide)).max() for seed in range(60)]
    assert max(peaks) < 1.3 * most  # two may lie on each other
    assert min(peaks) > 0.005
    assert usual[0] < np.median(peaks) < usual[1]


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
        add_point_sources(np.random.default_rng(seed), scene, wide)
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


def test_added_noise_has_unit_scatter_and_is_correlated_or_heavy_tailed_at_times():
    """The kinds are told by their neighbours and their tails."""
    beside, tails, none = [], [], 0
    for seed in range(200):
        noise = draw_noise(np.random.default_rng(seed), SHAPE)
        if not noise.any():
            none += 1
            continue
        assert noise.std() == pytest.approx(1.0, abs=1e-4)
        assert abs(noise.mean()) < 0.2  # a drift along rows
        beside.append([(noise * np.roll(noise, 1, axis=axis)).mean() for axis in (1, 0)])
        tails.append((noise**4).mean())
    beside, tails = np.array(beside), np.array(tails)
    correlated = beside.max(axis=1) > 0.02
    assert none / 200 == pytest.approx(NOISE_SHARES[0], abs=0.08)
    assert correlated.mean() > 0.55
    assert (~correlated).mean() > 0.1
    assert (tails > 3.5).mean() == pytest.approx(NOISE_SHARES[5], abs=0.06)
    assert not (correlated & (tails > 3.5)).any()
    assert (np.abs(beside[:, 0] - beside[:, 1]) > 0.05).sum() > 4  # drifts go along rows or columns only
    assert 0.5 < beside.max() < 0.9
    assert sum(NOISE_SHARES) == pytest.approx(1.0)


def test_stripes_are_offsets_of_rows_and_columns_by_quadrant():
    for seed in range(8):
        scene = draw_stripes(np.random.default_rng(seed), SHAPE)
        for quadrant in (scene[:128, :128], scene[:128, 128:], scene[128:, :128], scene[128:, 128:]):
            rest = quadrant - quadrant.mean(axis=0) - quadrant.mean(axis=1)[:, None] + quadrant.mean()
            assert np.abs(rest).max() < 1e-9
        assert 0.0 < scene.std() < 1.5


def test_glow_is_smooth_and_has_its_side():
    sides = []
    for seed in range(20):
        scene = draw_glow(np.random.default_rng(seed), (1024, 1024))
        assert np.abs(np.diff(scene, axis=0)).max() < 0.05
        assert np.abs(np.diff(scene, axis=1)).max() < 0.2
        across = np.abs(np.diff(scene.mean(axis=0)))
        sides.append(across[:20].mean() > across[-20:].mean())
    assert 3 <= sum(sides) <= 17


def test_outliers_are_few_of_both_signs_and_come_in_hard_edged_clusters():
    shares, clusters = [], 0
    for seed in range(12):
        scene = draw_outliers(np.random.default_rng(seed), (512, 512))
        shares.append((scene != 0).mean())
        assert scene.min() < -2 and scene.max() > 2  # noqa: PT018
        clusters += ((scene[1:, 1:] * scene[:-1, :-1] * scene[1:, :-1] * scene[:-1, 1:]) != 0).sum()
    assert 1e-4 < min(shares) < 2e-3
    assert 3e-3 < max(shares) < 2e-2
    assert clusters > 50


def disturbed(seed: int, image: np.ndarray, noise: float = NOISE) -> np.ndarray:
    image = image.copy()
    add_frame_effects(np.random.default_rng(seed), image, noise)
    return image


def test_a_frame_is_disturbed_in_units_of_its_noise_and_keeps_what_is_unknown():
    image = np.full((512, 512), 0.5)
    image[3, 4] = np.nan
    for seed in range(6):
        scene = disturbed(seed, np.zeros_like(image))
        assert disturbed(seed, np.zeros_like(image)).tobytes() == scene.tobytes()
        np.testing.assert_allclose(disturbed(seed, np.zeros_like(image), 5 * NOISE), 5 * scene, rtol=1e-9)
        seen = disturbed(seed, image)
        assert np.argwhere(np.isnan(seen)).tolist() == [[3, 4]]
        np.testing.assert_allclose(seen[np.isfinite(seen)], (0.5 + scene)[np.isfinite(seen)], rtol=1e-12)


def test_most_frames_are_disturbed_and_none_beyond_measure():
    scatter = []
    for seed in range(40):
        scene = disturbed(seed, np.zeros(SHAPE)) / NOISE
        scatter.append(1.4826 * np.median(np.abs(scene - np.median(scene))))
    assert max(scatter) < 5.0
    assert np.mean(np.array(scatter) > 0.3) > 0.6
    assert set(FRAME_EFFECTS) == {draw_stripes, draw_glow, draw_outliers}
