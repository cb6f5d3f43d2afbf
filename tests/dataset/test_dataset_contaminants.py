"""Contaminants of subframes and effects on frames: strength, sign, shape and seed."""

import numpy as np
import pytest
from synthetic import NOISE

from blobwatch.dataset import injection
from blobwatch.dataset.contaminants import KINDS, add_contaminants, add_point_sources
from blobwatch.dataset.frame_effects import (
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
    """Return a scene with one kind of contaminant."""
    scene = np.zeros(shape)
    KINDS[kind](np.random.default_rng(seed), scene, wide)
    return scene


def contaminated(seed: int, noise: float = NOISE, wide: bool = True) -> tuple[np.ndarray, str]:
    cut = np.zeros(SHAPE)
    return cut, add_contaminants(np.random.default_rng(seed), cut, noise, wide)


BOTH = pytest.mark.parametrize("wide", [True, False], ids=["wide", "measured"])


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_pixels_and_only_dead_areas_are_nan(kind, wide):
    changed = []
    for seed in range(25):
        scene = scene_of(kind, seed, wide)
        assert scene.shape == SHAPE
        assert not np.isinf(scene).any()
        assert np.isnan(scene).any() == (kind == "dead areas")
        assert np.nanmax(np.abs(scene)) <= (0 if kind == "dead areas" else 160)  # two of the brightest
        changed.append((scene != 0).any())
    assert np.mean(changed) >= 0.9  # an arc may lie outside the scene


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dead areas"])
@BOTH
def test_kinds_have_both_signs(kind, wide):
    scenes = [scene_of(kind, seed, wide) for seed in range(40)]
    assert max(scene.max() for scene in scenes) > 0.4
    assert min(scene.min() for scene in scenes) < -0.4


@pytest.mark.parametrize("kind", ["streaks", "triplets", "point sources"])
@BOTH
def test_light_sources_have_one_sign_per_scene(kind, wide):
    scenes = [scene_of(kind, seed, wide) for seed in range(80)]
    assert all(scene.min() == 0 or scene.max() == 0 for scene in scenes)
    assert 0.55 < np.mean([scene.min() < 0 for scene in scenes]) < 0.97


@pytest.mark.parametrize(
    ("kind", "most"), [("streaks", 0.8 * 1.4), ("triplets", 1.3), ("arcs", 1.5), ("residuals", 1.5)]
)
def test_wide_contaminants_exceed_measured_range(kind, most):
    """Compare most scenes; overlapping contaminants add up."""
    peaks = {
        wide: np.array([np.abs(scene_of(kind, seed, wide)).max() for seed in range(50)])
        for wide in (False, True)
    }
    assert np.quantile(peaks[False], 0.7) <= most
    assert peaks[False].max() <= 3 * most
    assert peaks[True].max() > 1.05 * most
    assert peaks[True].mean() > peaks[False].mean()


def test_measured_triplets_are_nearly_horizontal():
    for seed in range(20):
        scene = np.abs(scene_of("triplets", seed, wide=False))
        down, across = (np.abs(slope).sum() for slope in np.gradient(scene))
        assert scene.max() == 0 or across < 0.2 * down  # nearly horizontal
    upright = [np.abs(scene_of("triplets", seed)) for seed in range(20)]
    assert any(np.abs(np.diff(one, axis=1)).sum() > np.abs(np.diff(one, axis=0)).sum() for one in upright)


@BOTH
def test_dead_areas_cover_less_than_half(wide):
    unknown = [np.isnan(scene_of("dead areas", seed, wide)).mean() for seed in range(40)]
    assert min(unknown) > 0
    assert max(unknown) < 0.5
    assert np.median(unknown) < 0.1


@BOTH
def test_all_kinds_are_drawn_and_names_fit_dtype(wide):
    names = [contaminated(seed, wide=wide)[1] for seed in range(150)]
    assert set(names) == {*KINDS, "mixed"}
    assert 0.15 < names.count("mixed") / len(names) < 0.35
    assert max(len(name) for name in names) <= SUBFRAME["contaminant"].itemsize // 4


def test_contaminants_are_additive_scale_with_noise_and_depend_on_seed():
    before = np.random.default_rng(7).normal(0.0, NOISE, SHAPE)
    cuts = set()
    for seed in range(12):
        (quiet, kind), (loud, again) = contaminated(seed, NOISE), contaminated(seed, 3 * NOISE)
        assert kind == again
        np.testing.assert_allclose(loud, 3 * quiet, rtol=1e-12, atol=1e-15)
        cut = before.copy()
        add_contaminants(np.random.default_rng(seed), cut, NOISE, wide=True)
        np.testing.assert_allclose(cut, before + quiet, rtol=0, atol=1e-15)
        cuts |= {quiet.tobytes(), contaminated(seed, wide=False)[0].tobytes()}
    assert len(cuts) > 20  # dead areas may be the same


@pytest.mark.parametrize(
    ("wide", "lobed"),
    [(False, 0.0), (True, 0.0), (True, 1.0)],
    ids=["measured", "wide", "lobed"],
)
def test_residual_sum_is_near_zero(wide, lobed, monkeypatch):
    """Check the sum of a residual; only the border of the scene changes it."""
    monkeypatch.setattr(injection, "LOBED", lobed)
    scenes = [scene_of("residuals", seed, wide, (512, 512)) for seed in range(25)]
    balance = [abs(scene.sum()) / np.abs(scene).sum() for scene in scenes]
    assert np.median(balance) < 0.02
    assert max(balance) < 0.3


@pytest.mark.parametrize(
    ("wide", "most", "usual"), [(False, 0.05 * 30, (0.05, 0.6)), (True, 0.25 * 30, (0.2, 2.5))]
)
def test_residual_peak_is_limited(wide, most, usual):
    """Check the peak: old blobs have up to 30 sigma, of which a shift leaves a quarter."""
    scenes = [scene_of("residuals", seed, wide) for seed in range(60)]
    strongest = np.array([scene.flat[np.abs(scene).argmax()] for scene in scenes])
    assert 0.25 < (strongest > 0).mean() < 0.75
    peaks = np.abs(strongest)
    assert max(peaks) < 1.3 * most  # two may lie on each other
    assert min(peaks) > 0.005
    assert usual[0] < np.median(peaks) < usual[1]


def width_of_brightest(scene: np.ndarray) -> float:
    """Full width at half maximum of a Gaussian star, exactly, from three pixels of its row."""
    y, x = np.unravel_index(scene.argmax(), scene.shape)
    left, middle, right = np.log(scene[y, x - 1 : x + 2])
    return float(np.sqrt(8 * np.log(2) / (2 * middle - left - right)))


@BOTH
def test_positive_point_sources_are_narrower_than_blobs(wide):
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
        assert 4.0 < max(widths[-1]) <= 5.1  # excess light is never a blob
    else:
        assert max(widths[-1]) <= 2.25


def test_noise_kinds_have_unit_scatter_and_expected_shares():
    """Identify the kinds of noise by correlation and kurtosis."""
    correlations, tails, none = [], [], 0
    for seed in range(200):
        noise = draw_noise(np.random.default_rng(seed), SHAPE)
        if not noise.any():
            none += 1
            continue
        assert noise.std() == pytest.approx(1.0, abs=1e-4)
        assert abs(noise.mean()) < 0.2  # a drift along rows
        correlations.append([(noise * np.roll(noise, 1, axis=axis)).mean() for axis in (1, 0)])
        tails.append((noise**4).mean())
    correlations, tails = np.array(correlations), np.array(tails)
    correlated = correlations.max(axis=1) > 0.02
    assert none / 200 == pytest.approx(NOISE_SHARES[0], abs=0.08)
    assert correlated.mean() > 0.55
    assert (~correlated).mean() > 0.1
    assert (tails > 3.5).mean() == pytest.approx(NOISE_SHARES[5], abs=0.06)
    assert not (correlated & (tails > 3.5)).any()
    along, across = correlations.T
    assert (np.abs(along - across) > 0.05).sum() > 4  # drifts go along rows or columns only
    assert 0.5 < correlations.max() < 0.9


def test_stripes_are_row_and_column_offsets_per_quadrant():
    for seed in range(8):
        scene = draw_stripes(np.random.default_rng(seed), SHAPE)
        for quadrant in (scene[:128, :128], scene[:128, 128:], scene[128:, :128], scene[128:, 128:]):
            rest = quadrant - quadrant.mean(axis=0) - quadrant.mean(axis=1)[:, None] + quadrant.mean()
            assert np.abs(rest).max() < 1e-9
        assert 0.0 < scene.std() < 1.5


def test_glow_is_smooth_and_one_sided():
    sides = []
    for seed in range(20):
        scene = draw_glow(np.random.default_rng(seed), (1024, 1024))
        assert np.abs(np.diff(scene, axis=0)).max() < 0.05
        assert np.abs(np.diff(scene, axis=1)).max() < 0.2
        across = np.abs(np.diff(scene.mean(axis=0)))
        sides.append(across[:20].mean() > across[-20:].mean())
    assert 3 <= sum(sides) <= 17


def test_outliers_have_both_signs_and_clusters():
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


def test_frame_effects_scale_with_noise_and_keep_nan():
    image = np.full((512, 512), 0.5)
    image[3, 4] = np.nan
    for seed in range(6):
        scene = disturbed(seed, np.zeros_like(image))
        assert disturbed(seed, np.zeros_like(image)).tobytes() == scene.tobytes()
        np.testing.assert_allclose(disturbed(seed, np.zeros_like(image), 5 * NOISE), 5 * scene, rtol=1e-9)
        seen = disturbed(seed, image)
        assert np.argwhere(np.isnan(seen)).tolist() == [[3, 4]]
        np.testing.assert_allclose(seen[np.isfinite(seen)], (0.5 + scene)[np.isfinite(seen)], rtol=1e-12)


def test_frame_effects_have_limited_strength():
    scatter = []
    for seed in range(40):
        scene = disturbed(seed, np.zeros(SHAPE)) / NOISE
        scatter.append(1.4826 * np.median(np.abs(scene - np.median(scene))))
    assert max(scatter) < 5.0
    assert np.mean(np.array(scatter) > 0.3) > 0.6
