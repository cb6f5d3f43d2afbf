"""Labels, positions and origins of the subframes of one difference image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import EASY, NOISE, frame_from_image, image_with_blobs

from blobwatch.dataset import injection, subframes
from blobwatch.dataset.injection import MIN_SEPARATION, inject_blob
from blobwatch.dataset.shards import orient_image
from blobwatch.dataset.subframes import (
    EDGE,
    FAINT,
    MARGIN,
    Recipe,
    contains,
    create_frame,
    cut_subframes,
    cut_whole_frame,
    synthesize_frame,
    usable_tiles,
)
from blobwatch.errors import BlobwatchError
from blobwatch.images.preparation import prepare_frame
from blobwatch.images.tiling import Tile, tiles
from blobwatch.instrument.blobs import Blob, blob_snr, depth_at_snr
from blobwatch.instrument.differences import Difference

ONE = Recipe(snr=(20.0, 20.0), blobs=(1, 1), contaminated=0.0)
LOUD = Recipe(snr=(200.0, 200.0), blobs=(1, 1), contaminated=0.0)
WIDE = Recipe(snr=(12.0, 12.0), blobs=(1, 1), contaminated=0.0, wide=True)
OWN = Blob(x=400.0, y=620.0, half_width=6.0, depth=0.05)


def difference_of(image: np.ndarray, stack: np.ndarray | None = None) -> Difference:
    return Difference("izzz0000q", image, stack, None, {}, Path("x.fits"))


def cut(frame, count: int, recipe: Recipe = EASY, seed: int = 1):
    return cut_subframes(np.random.default_rng(seed), frame, count, recipe)


def tile_of(row) -> Tile:
    return Tile(0, 0, 0, int(row["x0"]), int(row["y0"]))


@pytest.fixture(scope="module")
def noise():
    return image_with_blobs([])


def test_blob_position_in_all_orientations(noise):
    data = cut(frame_from_image(noise), 160, LOUD)
    orientations = set()
    for index in np.flatnonzero(data.labels):
        (blob,) = data.blobs_of(index)
        if not (25 < blob["x"] < 230 and 25 < blob["y"] < 230):
            continue  # cut off by the border
        image = data.scaled(index).astype(float)
        left, bottom = round(float(blob["x"])) - 16, round(float(blob["y"])) - 16
        near = image[bottom : bottom + 33, left : left + 33]
        near = np.where(near > 3.0, near, 0.0)
        y, x = (np.tensordot(grid, near, 2) / near.sum() for grid in np.indices(near.shape))
        assert (x + left, y + bottom) == pytest.approx((blob["x"], blob["y"]), abs=0.3)
        if blob["hole"] == 0:
            assert near[16, 16] > 0.9 * image.max()
        row = data.subframes[index]
        orientations.add((int(row["flipped"]), int(row["turns"])))
    assert len(orientations) == 8


def test_half_of_subframes_contain_requested_number_of_blobs(noise):
    data = cut(frame_from_image(noise), 100, Recipe((5.0, 30.0), (2, 4), 0.5))
    assert data.labels.sum() == 50
    assert (np.diff(data.blobs["subframe"]) >= 0).all()
    held = np.bincount(data.blobs["subframe"], minlength=100)
    np.testing.assert_array_equal(data.labels, held > 0)
    assert held.max() == 4
    assert data.blobs["snr"].min() >= 4.9
    assert data.blobs["snr"].max() <= 30.1
    for name in ("x", "y"):
        assert (data.blobs[name] >= -0.5).all()
        assert (data.blobs[name] < 255.5).all()
    named = data.subframes["contaminant"] != ""
    for label in (0, 1):
        assert 0.3 < named[data.labels == label].mean() < 0.7  # as often with blobs as without


def test_own_blobs_are_labelled_and_absent_from_negatives():
    image = image_with_blobs([OWN])
    data = cut(frame_from_image(image, new=[OWN]), 200)
    own = data.blobs[data.blobs["injected"] == 0]
    assert len(own) > 3
    assert (own["frame_x"] == OWN.x).all()
    assert (own["frame_y"] == OWN.y).all()
    assert own["snr"] == pytest.approx(blob_snr(OWN, NOISE), rel=0.02)
    for blob in own:
        picture = data.scaled(int(blob["subframe"]))
        x, y = round(float(blob["x"])), round(float(blob["y"]))
        assert picture[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean() > 2.5


@pytest.mark.parametrize(("x", "left_out"), [(400.0, []), (500.0, [9, 10]), (520.0, [9, 10]), (1015.0, [11])])
def test_subframes_with_partial_blob_are_excluded(noise, x, left_out):
    blob = replace(OWN, x=x)
    expected = {tile.index for tile in tiles()} - set(left_out)
    frame = frame_from_image(noise, new=[blob])
    assert {tile.index for tile in usable_tiles(frame)} == expected
    rows = cut(frame, 32).subframes
    assert {4 * int(row["y0"]) // 256 + int(row["x0"]) // 256 for row in rows} == expected


def test_every_tile_is_cut_once_per_frame(noise):
    rows = cut(frame_from_image(noise), 32).subframes
    for part in (rows[:16], rows[16:]):
        assert len({(int(row["x0"]), int(row["y0"])) for row in part}) == 16
    assert (rows["x0"][:16] != rows["x0"][16:]).any()  # in random order


def test_labelled_tiles_are_cut_more_often(noise):
    frame = replace(frame_from_image(noise), labelled=np.array([[400.0, 620.0], [410.0, 600.0]]))
    for share in (0.0, 0.5):
        rows = cut(frame, 160, replace(EASY, labelled=share)).subframes
        held = (rows["x0"] == 256) & (rows["y0"] == 512)
        assert held.mean() == pytest.approx(share + (1 - share) / 16, abs=0.1)


def profile_in(data, blob) -> np.ndarray:
    """Return the unit-norm shape of a listed blob in its rotated subframe."""
    row = data.subframes[blob["subframe"]]
    values = {name: float(blob[name]) for name in ("half_width", "axis_ratio", "exponent", "edge")}
    values |= {name: float(blob[name]) for name in ("hole", "collar")}
    known = Blob(x=float(blob["frame_x"]), y=float(blob["frame_y"]), depth=1.0, **values)
    profile = np.zeros((256, 256))
    inject_blob(profile, np.ones_like(profile), known, int(row["x0"]), int(row["y0"]))
    profile = orient_image(profile, bool(row["flipped"]), int(row["turns"]))
    return profile / np.sqrt((profile**2).sum())


def measured_snr(data) -> np.ndarray:
    """Return measured over listed SNR of the blobs that are whole."""
    ratios = []
    for blob in data.blobs:
        if 30 < blob["x"] < 225 and 30 < blob["y"] < 225:
            image = data.scaled(int(blob["subframe"])).astype(float)
            ratios.append((image * profile_in(data, blob)).sum() / blob["snr"])
    return np.array(ratios)


@pytest.fixture
def no_lobes(monkeypatch):
    """Lobed shapes are not in the table of blobs."""
    monkeypatch.setattr(injection, "LOBED", 0.0)


@pytest.mark.parametrize(("wide", "bias", "most"), [(False, 0.06, 0.4), (True, 0.2, 0.7)])
def test_subframes_have_unit_noise_and_listed_snr(noise, no_lobes, wide, bias, most):
    """Noise was added in wide ones, so both are in units of the noise of the changed frame."""
    data = cut(frame_from_image(noise), 128, replace(WIDE, wide=wide))
    quiet = np.stack([data.scaled(index) for index in np.flatnonzero(data.labels == 0)])
    blocks = quiet.reshape(len(quiet), 64, 4, 64, 4).sum(axis=(2, 4)) / 4
    scatter = 1.4826 * np.median(np.abs(blocks - np.median(blocks, axis=(1, 2))[:, None, None]), axis=(1, 2))
    assert scatter.mean() == pytest.approx(1.0, abs=0.05)
    assert np.abs(scatter - 1.0).max() < 0.25
    assert data.blobs["snr"] == pytest.approx(12.0, rel=0.01)
    ratios = measured_snr(data)
    assert len(ratios) > 25
    assert ratios.mean() == pytest.approx(1.0, abs=bias)
    assert np.abs(ratios - 1.0).max() < most
    assert (np.ptp(data.blobs["depth"] * data.blobs["half_width"]) > 0.02) or not wide


@pytest.mark.parametrize(("wide", "least", "most"), [(False, 0.98, 1.02), (True, 1.4, 5.0)])
def test_only_wide_frames_get_added_noise(noise, wide, least, most):
    frame, recipe = frame_from_image(noise), replace(WIDE, wide=wide)
    made = [synthesize_frame(np.random.default_rng(n), frame, recipe, set(), set()) for n in range(8)]
    assert min(one.noise for one in made) > 0.97 * NOISE
    assert least * NOISE < max(one.noise for one in made) < most * NOISE
    if not wide:
        assert np.abs(made[0].steps / 16 - prepare_frame(noise).scaled).max() < 0.04  # rounded to 1/16


def test_measured_subframe_is_prepared_frame_with_measured_shapes(noise):
    known, wide = (cut(frame_from_image(noise), 64, replace(WIDE, wide=flag)) for flag in (False, True))
    expected = prepare_frame(noise).scaled
    for index in np.flatnonzero(known.labels == 0):
        row = known.subframes[index]
        x0, y0 = int(row["x0"]), int(row["y0"])
        there = orient_image(expected[y0 : y0 + 256, x0 : x0 + 256], bool(row["flipped"]), int(row["turns"]))
        # Blobs of its neighbours change the background a little.
        assert np.quantile(np.abs(known.scaled(index) - there), 0.98) < 0.1
    assert (known.blobs["collar"] == 0).all()
    assert known.blobs["edge"].min() >= 2.0
    assert known.blobs["exponent"].max() <= 1.84
    assert (wide.blobs["collar"] > 0).any()
    assert wide.blobs["exponent"].max() > 1.84


def test_own_blobs_have_snr_of_wide_frame():
    data = cut(frame_from_image(image_with_blobs([OWN]), new=[OWN]), 320, replace(WIDE, blobs=(0, 0)))
    own = data.blobs
    assert len(own) == 20
    assert (own["injected"] == 0).all()
    assert own["snr"].max() < 1.03 * blob_snr(OWN, NOISE)
    assert own["snr"].min() < 0.75 * blob_snr(OWN, NOISE)
    ratios = measured_snr(data)
    assert np.median(ratios) == pytest.approx(1.0, abs=0.15)
    assert np.quantile(np.abs(ratios - 1.0), 0.8) < 0.3


@pytest.mark.parametrize("wide", [False, True])
def test_many_blobs_keep_minimum_separation(noise, wide):
    data = cut(
        frame_from_image(image_with_blobs([OWN]), new=[OWN]), 60, Recipe((5.0, 30.0), (6, 8), 0.0, wide)
    )
    nearest = []
    for index in np.flatnonzero(data.labels):
        blobs = data.blobs_of(index)
        if len(blobs) < 2:
            continue  # its own alone
        x, y = (np.subtract.outer(blobs[name], blobs[name]) for name in ("x", "y"))
        nearest.append(np.hypot(x, y)[np.triu_indices(len(blobs), 1)].min())
    assert min(nearest) >= MIN_SEPARATION - 1e-3
    assert min(nearest) < 1.5 * MIN_SEPARATION


@pytest.mark.parametrize("wide", [False, True])
def test_margin_applies_except_at_frame_edges(noise, wide):
    data = cut(frame_from_image(noise), 160, Recipe((5.0, 30.0), (4, 6), 0.0, wide))
    inner, outer = [], []
    for axis in ("x", "y"):
        start = data.subframes[f"{axis}0"][data.blobs["subframe"]].astype(int)
        place = data.blobs[f"frame_{axis}"] - start
        inner += [place[start > 0], 255 - place[start + 256 < 1024]]
        outer += [place[start == 0], 255 - place[start + 256 == 1024]]
    assert MARGIN - 1e-3 <= min(part.min() for part in inner) < MARGIN + 3
    assert 0 <= min(part.min() for part in outer) < 3


def test_no_blob_on_pixels_masked_by_contaminant(noise, monkeypatch):
    unknown = np.random.default_rng(3).uniform(size=(256, 256)) < 0.15

    asked = []

    def dead(rng, cut, noise, wide):
        asked.append(wide)
        cut[unknown] = np.nan
        return "dead areas"

    recipe = Recipe((20.0, 20.0), (4, 4), 1.0)
    monkeypatch.setattr(subframes, "add_contaminants", dead)
    data = cut(frame_from_image(noise), 64, recipe)
    assert 0.75 < len(data.blobs) / (32 * 4) < 0.95
    for blob in data.blobs:
        x, y = (round(float(blob[f"frame_{axis}"])) % 256 for axis in "xy")
        assert not unknown[y, x]
    np.testing.assert_array_equal(data.labels, np.bincount(data.blobs["subframe"], minlength=64) > 0)
    cut(frame_from_image(noise), 2, replace(recipe, wide=True))
    assert asked == [False] * 64 + [True] * 2


def test_subframes_with_faint_blobs_are_excluded(noise):
    faint = replace(OWN, x=500.0, y=500.0)
    faint = replace(faint, depth=depth_at_snr(faint, FAINT - 1.0, NOISE))
    frame = create_frame(difference_of(noise), [faint, OWN])
    assert (frame.faint, frame.new) == ([faint], [OWN])
    for row in cut(frame, 100).subframes:
        assert not contains(tile_of(row), faint, EDGE)


@pytest.mark.parametrize(
    ("place", "expected"),
    [((-0.5, 0.0), True), ((-0.6, 0.0), False), ((255.4, 255.4), True), ((255.5, 3.0), False)],
)
def test_contains_uses_pixel_borders(place, expected):
    assert contains(tiles()[0], Blob(*place, 5.0, 0.1)) is expected


def test_no_blob_on_dead_pixels(noise):
    image = noise.copy()
    image[:, :512] = np.nan
    data = cut(frame_from_image(image), 32, ONE)
    assert data.blobs["frame_x"].min() > 511
    dead = data.subframes["x0"] < 512
    assert data.labels[dead].sum() == 0
    assert data.labels[~dead].sum() > 4
    for index in np.flatnonzero(dead):
        assert np.abs(data.scaled(index)).mean() < 0.1


def test_frame_without_unambiguous_subframe_raises_error(noise):
    crowd = [Blob(tile.x0 + 5.0, tile.y0 + 5.0, 5.0, 0.1) for tile in tiles()]
    with pytest.raises(BlobwatchError, match="izzz0000q: all subframes are ambiguous"):
        cut(frame_from_image(noise, new=crowd), 2)


def test_light_is_exposure_and_one_where_nan(noise):
    image = noise.copy()
    image[5, 6] = np.nan
    stack = 0.9 + image_with_blobs([], seed=5, noise=0.002)
    frame = create_frame(difference_of(image, stack), [])
    np.testing.assert_array_equal(frame.light[10:], (stack - image)[10:])
    assert frame.light[5, 6] == 1.0
    assert frame.noise == pytest.approx(NOISE, abs=1e-4)
    alone = create_frame(difference_of(noise), [])
    np.testing.assert_allclose(alone.light, 1.0 - noise, rtol=1e-6)


def test_subframes_depend_on_seed(noise):
    frame = frame_from_image(noise)
    one, two, other = cut(frame, 8), cut(frame, 8), cut(frame, 8, seed=2)
    for name in ("images", "subframes", "blobs", "rootnames"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert one.images.tobytes() != other.images.tobytes()
    np.testing.assert_array_equal(frame.image, image_with_blobs([]))


def test_whole_frame_subframes():
    edge = Blob(x=511.7, y=100.0, half_width=6.0, depth=0.05)  # its centre lies in the third column
    image = image_with_blobs([OWN, edge])
    data = cut_whole_frame(create_frame(difference_of(image), [OWN, edge]))
    assert len(data) == 16
    assert list(np.flatnonzero(data.labels)) == [2, 9]
    first, second = data.blobs
    assert (first["subframe"], second["subframe"]) == (2, 9)
    assert (second["x"], second["y"]) == pytest.approx((OWN.x - 256, OWN.y - 512))
    assert (data.subframes["x0"][9], data.subframes["y0"][9]) == (256, 512)
    scaled = prepare_frame(image).scaled
    assert np.abs(data.scaled(9) - scaled[512:768, 256:512]).max() < 0.04  # rounded to 1/16


def test_label_matches_blobs(noise):
    data = cut(frame_from_image(image_with_blobs([OWN]), new=[OWN]), 80)
    held = np.bincount(data.blobs["subframe"], minlength=len(data))
    np.testing.assert_array_equal(data.labels, held > 0)
    assert (np.diff(data.blobs["subframe"]) >= 0).all()
    for name in ("x", "y"):
        assert (data.blobs[name] >= -0.5).all()
        assert (data.blobs[name] < 255.5).all()


def test_contaminated_share_and_names(noise):
    data = cut(frame_from_image(noise), 200, Recipe((5.0, 30.0), (1, 5), 0.5))
    named = data.subframes["contaminant"] != ""
    assert 0.38 < named.mean() < 0.62
    assert 0.3 < named[data.labels == 1].mean() < 0.7  # as often with blobs as without
    assert 0.3 < named[data.labels == 0].mean() < 0.7
