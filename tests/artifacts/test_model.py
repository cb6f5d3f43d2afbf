"""Behaviour of the trained model that is independent of its weights."""

import numpy as np
import pytest
from conftest import ROOT
from synthetic import image_with_blobs

from blobwatch.dataset.shards import orient_image, orient_position
from blobwatch.images.tiling import tiles
from blobwatch.instrument.blobs import Blob
from blobwatch.predict import Predictor

FOLDERS = [ROOT / "models" / name for name in ("candidate", "champion")]
MODEL = next((folder for folder in FOLDERS if (folder / "manifest.json").is_file()), None)
pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(MODEL is None, reason="no model is here; run make repro"),
]
EIGHT = [(flipped, turns) for flipped in (False, True) for turns in range(4)]
BLOB = Blob(x=411.0, y=130.0, half_width=6.0, depth=0.05)
PAIR = [BLOB, Blob(x=820.0, y=600.0, half_width=5.0, depth=0.05)]


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load(MODEL)


@pytest.fixture(scope="module")
def straight(predictor):
    return predictor(image_with_blobs(PAIR))


def tile_of(blob) -> int:
    return int(blob.y // 256) * 4 + int(blob.x // 256)


def test_deeper_blob_has_higher_score(predictor):
    depths = [0.0, 0.01, 0.02, 0.04, 0.08]
    scores = [
        predictor(image_with_blobs([Blob(BLOB.x, BLOB.y, 6.0, depth)])).probabilities[tile_of(BLOB)]
        for depth in depths
    ]
    assert scores[0] < 0.2
    assert scores[-1] > 0.9
    assert (np.diff(scores) > -0.02).all()


def test_blank_frames_have_few_detections(predictor):
    """Allow for the threshold's rate: about one false blob in twenty frames of white noise."""
    answers = [predictor(image_with_blobs([], seed)) for seed in range(10)]
    assert sum(len(answer.blobs) for answer in answers) <= 2
    assert np.median([answer.probabilities.max() for answer in answers]) < 0.8 * predictor.model.threshold


@pytest.mark.parametrize(("scale", "offset"), [(1000.0, 0.0), (1.0, 5.0), (0.01, -0.3)])
def test_prediction_is_independent_of_unit_and_offset(predictor, straight, scale, offset):
    same = predictor((scale * image_with_blobs(PAIR).astype(np.float64) + offset).astype(np.float32))
    np.testing.assert_allclose(same.probabilities, straight.probabilities, atol=0.01)
    assert len(same.blobs) == len(straight.blobs)
    for a, b in zip(same.blobs, straight.blobs, strict=True):
        assert (a.x, a.y) == pytest.approx((b.x, b.y), abs=0.05)
        assert a.snr == pytest.approx(b.snr, rel=0.005)


def test_excess_light_is_not_detected(predictor):
    dark = predictor(-image_with_blobs([Blob(411.0, 130.0, 6.0, 0.06)]))
    assert dark.blobs == []


def test_blobs_are_found_at_their_positions(straight):
    assert len(straight.blobs) == 2
    for true in PAIR:
        assert min(np.hypot(b.x - true.x, b.y - true.y) for b in straight.blobs) < 2.0


@pytest.mark.parametrize(("flipped", "turns"), EIGHT[1:])
def test_rotated_frame_gives_rotated_prediction(predictor, straight, flipped, turns):
    turned = predictor(orient_image(image_with_blobs(PAIR), flipped, turns).copy())
    expected = orient_image(straight.probabilities.reshape(4, 4), flipped, turns).ravel()
    assert (expected > 0.5).sum() == 2
    # Training shows every orientation, so that the answers are alike but not equal.
    np.testing.assert_allclose(turned.probabilities, expected, atol=0.15)
    assert len(turned.blobs) == len(straight.blobs)
    for blob in straight.blobs:
        x, y = orient_position(blob.x, blob.y, flipped, turns, 1024)
        assert min(np.hypot(b.x - x, b.y - y) for b in turned.blobs) < 0.1


def test_shifted_frame_gives_shifted_positions(predictor, straight):
    errors = []
    for dx, dy in ((1, 0), (0, 1), (1, 1), (-1, 0), (2, 3), (4, 0)):
        moved = predictor(np.roll(image_with_blobs(PAIR), (dy, dx), axis=(0, 1)))
        for blob in straight.blobs:
            nearest = min(moved.blobs, key=lambda b: np.hypot(b.x - blob.x, b.y - blob.y))
            errors += [abs(nearest.x - blob.x - dx), abs(nearest.y - blob.y - dy)]
    assert np.mean(errors) < 0.1
    assert max(errors) < 0.25


@pytest.mark.parametrize("seed", range(3))
def test_subframes_and_blobs_are_consistent(predictor, seed):
    rng = np.random.default_rng(seed)
    blobs = [Blob(*rng.uniform(20, 1000, 2), 6.0, float(rng.uniform(0.01, 0.06))) for _ in range(12)]
    blobs.append(Blob(511.5, 511.5, 6.0, 0.06))  # over four subframes
    answer = predictor(image_with_blobs(blobs, seed)).as_json()
    said = {one["index"] for one in answer["subframes"] if one["blob"]}
    places = [(b["x"], b["y"]) for b in answer["blobs"]]
    for x, y in places:
        assert any(tile.index in said for tile in tiles() if reaches(tile, x, y, 2))
    for tile in tiles():
        if tile.index in said:
            assert any(reaches(tile, x, y, 12) for x, y in places), tile
    assert len(places) > 5


def reaches(tile, x: float, y: float, margin: float) -> bool:
    inside_x = tile.x0 - margin <= x < tile.x0 + tile.size + margin
    return inside_x and tile.y0 - margin <= y < tile.y0 + tile.size + margin


def test_masked_pixels_are_not_detected(predictor):
    image = image_with_blobs([])
    image[:5] = np.nan
    image[400:420, 300:330] = np.nan
    assert predictor(image).blobs == []
