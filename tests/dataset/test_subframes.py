"""Labels, places and origins of the subframes of one difference image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import EASY, NOISE, frame_of, image_with

from blobwatch.dataset import subframes
from blobwatch.dataset.injection import SEPARATION, inject
from blobwatch.dataset.shards import turn_image
from blobwatch.dataset.subframes import (
    EDGE,
    FAINT,
    Recipe,
    cut_subframes,
    hard_places,
    inside,
    place_cut,
    prepare,
    whole_frame,
)
from blobwatch.errors import BlobwatchError
from blobwatch.images.scaling import level_and_noise
from blobwatch.instrument.blobs import Blob, depth_for, snr_of
from blobwatch.instrument.differences import Difference

ONE = Recipe(snr=(20.0, 20.0), blobs=(1, 1), contaminated=0.0)
WIDE = Recipe(snr=(12.0, 12.0), blobs=(1, 1), contaminated=0.0, wide=True)
OWN = Blob(x=400.0, y=620.0, half_width=6.0, depth=0.05)


def blob_of_snr(x: float, y: float, snr: float) -> Blob:
    blob = Blob(x=x, y=y, half_width=6.0, depth=0.01)
    return Blob(**(blob.as_dict() | {"depth": depth_for(blob, snr, NOISE)}))


def difference_of(image: np.ndarray, stack: np.ndarray | None = None) -> Difference:
    if stack is None:
        stack = 1.0 + image_with([], seed=5, noise=0.002)
    return Difference("izzz0000q", image, stack, None, {}, Path("x.fits"))


def cut(frame, count: int, recipe: Recipe = EASY, seed: int = 1):
    return cut_subframes(np.random.default_rng(seed), frame, count, recipe)


@pytest.fixture(scope="module")
def noise():
    return image_with([])


def test_the_brightest_place_is_where_the_label_says_in_all_eight_orientations():
    data = cut(frame_of(np.zeros((1024, 1024), dtype=np.float32)), 160, ONE)
    grid = np.arange(256)
    orientations = set()
    for index in np.flatnonzero(data.labels):
        (blob,) = data.blobs_of(index)
        if not (25 < blob["x"] < 230 and 25 < blob["y"] < 230):
            continue  # cut off by the border
        image = data.scaled(index).astype(float)
        x, y = (image.sum(axis=0) * grid).sum() / image.sum(), (image.sum(axis=1) * grid).sum() / image.sum()
        assert (x, y) == pytest.approx((blob["x"], blob["y"]), abs=0.25)
        if blob["hole"] == 0:
            assert image[round(float(blob["y"])), round(float(blob["x"]))] > 0.9 * image.max()
        row = data.subframes[index]
        orientations.add((int(row["flipped"]), int(row["turns"])))
    assert len(orientations) == 8


def test_label_and_blobs_say_the_same(noise):
    data = cut(frame_of(image_with([OWN]), new=[OWN]), 80)
    held = np.bincount(data.blobs["subframe"], minlength=len(data))
    np.testing.assert_array_equal(data.labels, held > 0)
    assert (np.diff(data.blobs["subframe"]) >= 0).all()
    for name in ("x", "y"):
        assert (data.blobs[name] >= -0.5).all()
        assert (data.blobs[name] < 255.5).all()


def test_half_of_them_hold_blobs_and_no_more_of_them_than_asked(noise):
    data = cut(frame_of(noise), 100, Recipe((5.0, 30.0), (2, 4), 0.5))
    assert data.labels.sum() == 50
    held = np.bincount(data.blobs["subframe"], minlength=100)[data.labels == 1]
    assert held.min() >= 1
    assert held.max() == 4
    assert data.blobs["snr"].min() >= 4.9
    assert data.blobs["snr"].max() <= 30.1


def test_own_blobs_are_labelled_where_they_are_and_never_hidden_in_a_negative():
    image = image_with([OWN])
    data = cut(frame_of(image, new=[OWN]), 200)
    own = data.blobs[data.blobs["injected"] == 0]
    assert len(own) > 3
    assert (own["frame_x"] == OWN.x).all()
    assert (own["frame_y"] == OWN.y).all()
    assert own["snr"] == pytest.approx(snr_of(OWN, NOISE), rel=1e-4)
    for blob in own:
        picture = data.scaled(int(blob["subframe"]))
        x, y = round(float(blob["x"])), round(float(blob["y"]))
        assert picture[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean() > 2.5
    for row in data.subframes[data.labels == 0]:
        assert not inside(OWN, int(row["x0"]), int(row["y0"]), EDGE)


def test_a_blob_just_outside_is_not_cut_into():
    data = cut(frame_of(image_with([OWN]), new=[OWN]), 300)
    for row in data.subframes:
        x0, y0 = int(row["x0"]), int(row["y0"])
        assert inside(OWN, x0, y0) or not inside(OWN, x0, y0, EDGE), (x0, y0)


def as_cut(data, index: int) -> np.ndarray:
    """The scaled subframe as it lay in the frame."""
    row = data.subframes[index]
    image = np.rot90(data.scaled(index), -int(row["turns"]))
    return image[:, ::-1] if row["flipped"] else image


def profile_in(data, blob) -> np.ndarray:
    """The unit-norm shape of a listed blob, where it lies in its turned subframe."""
    row = data.subframes[blob["subframe"]]
    values = {name: float(blob[name]) for name in ("half_width", "axis_ratio", "exponent", "edge")}
    values |= {name: float(blob[name]) for name in ("hole", "collar")}
    known = Blob(x=float(blob["frame_x"]), y=float(blob["frame_y"]), depth=1.0, **values)
    profile = np.zeros((256, 256))
    inject(profile, np.ones_like(profile), known, int(row["x0"]), int(row["y0"]))
    profile = turn_image(profile, bool(row["flipped"]), int(row["turns"]))
    return profile / np.sqrt((profile**2).sum())


def test_a_wide_cut_has_unit_noise_and_its_blobs_the_snr_they_are_listed_with(noise):
    """Noise was added, so both are in units of the cut's own noise, not of the frame's."""
    data = cut(frame_of(noise), 120, WIDE)
    quiet = [as_cut(data, index) for index in np.flatnonzero(data.labels == 0)]
    assert [level_and_noise(image)[1] for image in quiet] == pytest.approx([1.0] * 60, abs=0.07)
    assert np.ptp([image.std() for image in quiet]) > 0.02  # heavy tails in some
    measured = []
    for blob in data.blobs:
        if 30 < blob["x"] < 225 and 30 < blob["y"] < 225:  # whole
            image = data.scaled(int(blob["subframe"])).astype(float)
            measured.append((image * profile_in(data, blob)).sum())
    assert len(measured) > 25
    assert data.blobs["snr"] == pytest.approx(12.0, rel=0.01)
    assert np.mean(measured) == pytest.approx(12.0, abs=0.9)
    assert np.max(np.abs(np.array(measured) - 12.0)) < 6.0
    assert np.ptp(data.blobs["depth"]) > 0.01


def test_a_cut_that_is_not_wide_keeps_its_noise_and_the_known_shapes(noise):
    known, wide = (cut(frame_of(noise), 60, replace(WIDE, wide=flag)) for flag in (False, True))
    for data, varied in ((known, False), (wide, True)):
        beside = []
        for index in np.flatnonzero(data.labels == 0):
            image = data.scaled(index)
            beside.append((image[:, 1:] * image[:, :-1]).mean() / image.var())
        assert (max(beside) > 0.1) == varied
    for index in np.flatnonzero(known.labels == 0):
        row = known.subframes[index]
        x0, y0 = int(row["x0"]), int(row["y0"])
        there = noise[y0 : y0 + 256, x0 : x0 + 256] / NOISE
        there = turn_image(there, bool(row["flipped"]), int(row["turns"]))
        assert np.abs(known.scaled(index) - there).max() < 0.04  # rounded to 1/16
    assert (known.blobs["collar"] == 0).all()
    assert known.blobs["edge"].min() >= 2.0
    assert known.blobs["exponent"].max() <= 1.84
    assert (wide.blobs["collar"] > 0).any()
    assert wide.blobs["exponent"].max() > 1.84


def test_own_blobs_keep_noise_and_snr_in_a_wide_cut_too():
    image = image_with([OWN])
    data = cut(frame_of(image, new=[OWN]), 300, WIDE)
    own = data.blobs[data.blobs["injected"] == 0]
    assert len(own) > 2
    assert own["snr"] == pytest.approx(snr_of(OWN, NOISE), rel=1e-4)
    for index in own["subframe"]:
        seen = as_cut(data, int(index))
        assert level_and_noise(seen)[1] == pytest.approx(1.0, abs=0.1)
        assert abs((seen[:, 1:] * seen[:, :-1]).mean() - seen.mean() ** 2) < 0.25  # that of the blobs


@pytest.mark.parametrize("wide", [False, True])
def test_many_blobs_may_touch_but_keep_apart(noise, wide):
    data = cut(frame_of(image_with([OWN]), new=[OWN]), 60, Recipe((5.0, 30.0), (6, 8), 0.0, wide))
    nearest = []
    for index in np.flatnonzero(data.labels):
        blobs = data.blobs_of(index)
        x, y = (np.subtract.outer(blobs[name], blobs[name]) for name in ("x", "y"))
        nearest.append(np.hypot(x, y)[np.triu_indices(len(blobs), 1)].min())
    assert min(nearest) >= SEPARATION - 1e-3
    assert min(nearest) < 1.5 * SEPARATION


@pytest.mark.parametrize(("wide", "margin"), [(False, 10), (True, 0)])
def test_only_wide_cuts_and_the_frames_own_edges_cut_blobs_off(noise, wide, margin):
    data = cut(frame_of(noise), 100, Recipe((5.0, 30.0), (4, 6), 0.0, wide))
    inner = []
    for axis in ("x", "y"):
        start = data.subframes[f"{axis}0"][data.blobs["subframe"]].astype(int)
        place = data.blobs[f"frame_{axis}"] - start
        inner += [place[start > 0], 255 - place[start + 256 < 1024]]
    assert margin - 1e-3 <= min(part.min() for part in inner) < margin + 3


def test_no_blob_lies_on_a_pixel_that_a_contaminant_made_unknown(noise, monkeypatch):
    unknown = []

    def dead(rng, cut, noise, wide):
        cut[rng.uniform(size=cut.shape) < 0.7] = np.nan
        unknown.append(np.isnan(cut))
        return "dead areas"

    monkeypatch.setattr(subframes, "contaminate", dead)
    data = cut(frame_of(noise), 60, Recipe((20.0, 20.0), (1, 8), 1.0))
    assert 20 < len(data.blobs) < 100
    for blob in data.blobs:
        row = data.subframes[blob["subframe"]]
        x, y = round(float(blob["frame_x"]) - row["x0"]), round(float(blob["frame_y"]) - row["y0"])
        assert not unknown[blob["subframe"]][y, x]
        seen = data.scaled(int(blob["subframe"]))[round(float(blob["y"])), round(float(blob["x"]))]
        assert seen != 0 or blob["hole"] > 0
    np.testing.assert_array_equal(data.labels, np.bincount(data.blobs["subframe"], minlength=60) > 0)


def test_faint_ones_are_avoided(noise):
    faint = blob_of_snr(500.0, 500.0, FAINT - 1.0)
    frame = prepare(difference_of(noise), [faint, OWN])
    assert (frame.faint, frame.new) == ([faint], [OWN])
    for row in cut(frame, 100).subframes:
        assert not inside(faint, int(row["x0"]), int(row["y0"]), EDGE)


@pytest.mark.parametrize(
    ("place", "expected"),
    [((-0.5, 0.0), True), ((-0.6, 0.0), False), ((255.4, 255.4), True), ((255.5, 3.0), False)],
)
def test_inside_is_by_pixel_borders(place, expected):
    assert inside(Blob(*place, 5.0, 0.1), 0, 0) is expected


def test_no_blob_is_put_on_dead_pixels():
    dead = np.full((1024, 1024), np.nan, dtype=np.float32)
    data = cut(frame_of(dead), 10)
    assert len(data.blobs) == 0
    assert data.labels.sum() == 0


def test_a_frame_without_a_clear_place_is_refused(noise):
    crowd = [Blob(float(x), float(y), 5.0, 0.1) for x in range(0, 1024, 100) for y in range(0, 1024, 100)]
    with pytest.raises(
        BlobwatchError, match="izzz0000q has so many new blobs that no clear subframe is left"
    ):
        place_cut(np.random.default_rng(0), frame_of(noise, new=crowd), positive=False)


def test_contaminants_are_named_and_as_many_as_asked(noise):
    data = cut(frame_of(noise), 200, Recipe((5.0, 30.0), (1, 5), 0.5))
    named = data.subframes["contaminant"] != ""
    assert 0.38 < named.mean() < 0.62
    assert 0.3 < named[data.labels == 1].mean() < 0.7  # as often with blobs as without
    assert 0.3 < named[data.labels == 0].mean() < 0.7


def test_contaminants_are_wide_where_the_blobs_are(noise, monkeypatch):
    asked = []

    def contaminate(rng, cut, noise, wide):
        asked.append(wide)
        return "streaks"

    monkeypatch.setattr(subframes, "contaminate", contaminate)
    for wide in (False, True):
        cut(frame_of(noise), 2, Recipe((5.0, 30.0), (1, 1), 1.0, wide))
    assert asked == [False, False, True, True]


def test_hard_places_are_found_and_cut_around(noise):
    stack = 1.0 + image_with([], seed=5, noise=0.002)
    stack[300:312, 700:712] -= 0.3  # an old blob
    image = image_with([OWN]) - image_with([Blob(150.0, 850.0, 6.0, 0.06)], noise=0.0)
    places = hard_places(image, stack, [OWN])

    def nearest(x, y):
        return np.hypot(places[:, 0] - x, places[:, 1] - y).min()

    assert nearest(705.5, 305.5) < 6
    assert nearest(150.0, 850.0) < 6  # excess light
    assert nearest(OWN.x, OWN.y) > 25
    frame = prepare(difference_of(image, stack), [OWN])
    data = cut(frame, 200)
    assert 0.35 < (data.subframes["hard"] == 1).mean() < 0.65


def test_light_is_the_exposure_and_one_where_it_is_unknown(noise):
    image = noise.copy()
    image[5, 6] = np.nan
    stack = 0.9 + image_with([], seed=5, noise=0.002)
    frame = prepare(difference_of(image, stack), [])
    np.testing.assert_array_equal(frame.light[10:], (stack - image)[10:])
    assert frame.light[5, 6] == 1.0
    assert (frame.level, frame.noise) == pytest.approx((0.0, NOISE), abs=1e-4)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(noise):
    frame = frame_of(noise)
    one, two, other = cut(frame, 8), cut(frame, 8), cut(frame, 8, seed=2)
    for name in ("images", "subframes", "blobs", "rootnames"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert one.images.tobytes() != other.images.tobytes()


def test_a_difference_image_without_its_stack_is_taken_as_of_even_light(noise):
    frame = prepare(Difference("izzz0000q", noise, None, None, {}, Path("x.fits")), [])
    np.testing.assert_allclose(frame.light, 1.0 - noise, rtol=1e-6)
    assert len(frame.hard) > 0


def test_cutting_does_not_change_the_frame(noise):
    frame = frame_of(noise.copy())
    cut(frame, 8, Recipe((5.0, 30.0), (1, 5), 1.0, wide=True))
    np.testing.assert_array_equal(frame.image, noise)


def test_the_sixteen_of_a_whole_frame():
    edge = Blob(x=511.7, y=100.0, half_width=6.0, depth=0.05)  # its centre lies in the third column
    image = image_with([OWN, edge])
    data = whole_frame(prepare(difference_of(image), [OWN, edge]))
    assert len(data) == 16
    assert list(np.flatnonzero(data.labels)) == [2, 9]
    first, second = data.blobs
    assert (first["subframe"], second["subframe"]) == (2, 9)
    assert (second["x"], second["y"]) == pytest.approx((OWN.x - 256, OWN.y - 512))
    assert (data.subframes["x0"][9], data.subframes["y0"][9]) == (256, 512)
    level, sigma = np.median(image), 1.4826 * np.median(np.abs(image - np.median(image)))
    scaled = np.clip((image[512:768, 256:512] - level) / sigma, -7.9375, 7.9375)
    assert np.abs(data.scaled(9) - scaled).max() < 0.12  # 1/32 of rounding, 1 % of noise estimate


def test_a_whole_frame_without_blobs():
    data = whole_frame(frame_of(image_with([])))
    assert data.labels.sum() == 0
    assert len(data.blobs) == 0
    assert data.blobs.dtype.names[0] == "subframe"
