"""Tests of the robustness sets: independence of the training data, reproducibility and SNR."""

import ast

import numpy as np
import pytest
from test_pipeline import PACKAGE, closure

from blobwatch.robustness import defects, noise, stray_light
from blobwatch.robustness.frames import APART, SETS, draw_frame
from blobwatch.robustness.shapes import KINDS, TEMPLATE, Shape, draw_shape, render

ROOM = PACKAGE / "robustness"
GENERATORS = ("shapes", "noise", "defects", "stray_light", "frames", "limit")
FORBIDDEN = ("dataset/contaminants", "dataset/injection", "instrument/contaminants", "instrument/blobs")


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_import_only_the_robustness_package(name):
    assert {path.parent for path in closure(ROOM / f"{name}.py")} == {ROOM}


def statements(names: tuple[str, ...]) -> set[str]:
    """Return the constants and the bodies of longer functions of modules."""
    nodes = [node for name in names for node in ast.parse((PACKAGE / f"{name}.py").read_text()).body]
    bodies = [node.body[1:] for node in nodes if isinstance(node, ast.FunctionDef) and len(node.body) > 3]
    constants = [[node] for node in nodes if isinstance(node, ast.Assign)]
    return {ast.unparse(ast.Module(body, [])) for body in bodies + constants}


def test_generators_share_no_code_with_training_data():
    theirs = statements(FORBIDDEN)
    assert theirs
    assert not theirs & statements(tuple(f"robustness/{name}" for name in GENERATORS))


@pytest.mark.parametrize("name", SETS)
def test_frames_are_reproducible_with_stated_snr(name):
    frame, again, other = (draw_frame(name, np.random.default_rng(seed), 12) for seed in (3, 3, 4))
    np.testing.assert_array_equal(frame.image, again.image)
    np.testing.assert_array_equal(frame.blobs, again.blobs)
    assert not np.array_equal(frame.image, other.image, equal_nan=True)
    assert (frame.image.shape, frame.image.dtype) == ((1024, 1024), np.float32)
    assert 0.9 < np.isfinite(frame.image).mean() < 1.0
    assert np.isnan(frame.image[:5]).all()
    empty = draw_frame(name, np.random.default_rng(3), 0)
    assert len(empty.blobs) == 0
    added = np.nan_to_num(frame.image - empty.image)  # the blobs alone
    assert len(frame.blobs) == 12
    for blob, stamp in zip(frame.blobs, frame.stamps, strict=True):
        side = len(stamp.image)
        region = np.s_[max(0, stamp.bottom) : stamp.bottom + side, max(0, stamp.left) : stamp.left + side]
        seen = np.zeros_like(added)
        defects.add_stamp(seen, stamp, 1.0)
        seen[np.isnan(frame.image)] = 0.0
        amplitude = (added[region] * seen[region]).sum() / (seen[region] ** 2).sum()
        assert amplitude == pytest.approx(blob["snr"], rel=0.1)  # neighbours' wings
        assert 3.0 <= blob["snr"] <= 40.0


@pytest.mark.parametrize("name", ["white_noise", "correlated_noise", "row_noise", "all_together"])
def test_noise_has_its_spectrum(name):
    spectrum = SETS[name][0](np.random.default_rng(1))
    field = noise.draw_noise(np.random.default_rng(2), spectrum)
    assert field.std() == pytest.approx(1.0, abs=0.01)
    power = np.abs(np.fft.rfft2(field)) ** 2 / field.size / spectrum
    for part in (power[1:20, 1:20], power[300:340, 20:60], power[500:520, 480:510], power[1:, 0]):
        assert part.mean() == pytest.approx(1.0, abs=0.15)


def test_blobs_are_separated_and_on_usable_pixels():
    frame = draw_frame("all_together", np.random.default_rng(7), 24)
    places = frame.blobs["x"] + 1j * frame.blobs["y"]
    distance = np.abs(places[:, None] - places) + 1e9 * np.eye(len(places))
    assert distance.min() > APART - 5  # a centroid is a little off the place that was drawn
    finite = np.isfinite(frame.image)
    near = [
        finite[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4].mean() for x, y in frame.blobs[["x", "y"]]
    ]
    assert min(near) > 0.5


def test_shapes_exceed_the_training_range():
    rng = np.random.default_rng(5)
    shapes = [draw_shape(rng) for _ in range(600)]
    widths = np.array([shape.half_width for shape in shapes])
    assert {shape.kind for shape in shapes} == set(KINDS)
    assert (widths.min() < 2.4, widths.max() > 12.0) == (True, True)
    assert (widths > 7.5).mean() > 0.3
    assert np.mean([shape.hole > 0 for shape in shapes]) > 0.2
    assert max(shape.exponent for shape in shapes) > 2.6  # training: at most 2.5
    assert np.ptp([shape.angle for shape in shapes]) > 3.0


def test_render_places_shape_at_position():
    stamp = render(Shape("superellipse", 6.0, exponent=1.25, angle=0.4), 200.3, 500.8)
    assert (stamp.x, stamp.y) == (pytest.approx(200.3, abs=0.02), pytest.approx(500.8, abs=0.02))
    image = np.zeros((1024, 1024), dtype=np.float32)
    defects.add_stamp(image, stamp, 10.0)
    assert np.sqrt((image**2).sum()) == pytest.approx(10.0)
    assert image[501, 200] == image.max()
    assert np.sqrt(image[400:600, 212:300].max() / image.max()) < 0.1  # nothing at twice the half-width


def test_position_of_lobed_shape_is_its_centroid():
    lobes = ((0.0, 0.0, 0.5), (1.0, 0.0, 0.5))
    stamp = render(Shape("lobes", 8.0, lobes=lobes), 300.0, 300.0)
    assert (stamp.x, stamp.y) == (pytest.approx(304.0, abs=0.1), pytest.approx(300.0, abs=0.1))


def test_templates_are_used():
    profile = np.zeros((21, 21))
    profile[8:13, 6:15] = 1.0
    frame = draw_frame("white_noise", np.random.default_rng(1), 20, [profile])
    mine = frame.blobs["kind"] == TEMPLATE
    assert 2 <= mine.sum() < 20
    assert frame.blobs["half_width"][mine] == pytest.approx(np.sqrt(45 / np.pi))


@pytest.mark.parametrize(
    ("kind", "amounts"),
    [("stars", [30]), ("persistence", [30]), ("trails", [8]), ("triplets", [20, np.pi]), ("glow", [1.0])],
)
def test_excess_light_is_negative(kind, amounts):
    image = np.zeros((1024, 1024), dtype=np.float32)
    for seed in range(3):
        getattr(stray_light, f"add_{kind}")(np.random.default_rng(seed), image, *amounts)
    assert image.sum() < 0


def test_bad_pixels_are_mostly_flagged():
    image = np.zeros((1024, 1024), dtype=np.float32)
    defects.add_bad_pixels(np.random.default_rng(1), image, 0.01, 0.1)
    assert np.isnan(image).mean() == pytest.approx(0.009, rel=0.05)
    loose = image[np.nan_to_num(image) != 0]
    assert len(loose) == pytest.approx(0.001 * image.size, rel=0.1)
    assert (loose > 3).any()
    assert np.abs(loose).max() > 50
    image = np.zeros((1024, 1024), dtype=np.float32)
    defects.add_clusters(np.random.default_rng(1), image, 100)
    assert 100 < (image != 0).sum() <= 400


def test_old_blob_residuals_cancel_at_measured_positions():
    image = np.zeros((1024, 1024), dtype=np.float32)
    defects.add_old_blobs(np.random.default_rng(1), image, 0.5, 0.0)
    places = defects.read_old_blobs()
    assert places.shape == (108, 3)
    near = np.zeros(image.shape, dtype=bool)
    for x, y, _ in places:
        near[max(0, int(y) - 25) : int(y) + 26, max(0, int(x) - 25) : int(x) + 26] = True
    assert not image[~near].any()
    assert 0.3 < image.max() < 4.0
    assert abs(image.sum()) < 0.1 * np.abs(image).sum()
