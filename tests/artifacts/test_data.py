"""Checks of the subframes that the pipeline produced."""

import csv

import numpy as np
import pytest
from conftest import ROOT

from blobwatch.dataset.shards import read_split

FOLDER = ROOT / "data" / "subframes"
SPLITS = ("train", "val", "test")
pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(
        not (FOLDER / "index.csv").is_file(), reason="data/subframes is not here; run make repro"
    ),
]


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    with (FOLDER / "index.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module", params=SPLITS)
def split(request):
    return request.param, read_split(FOLDER, request.param)


def test_splits_share_no_exposure(rows):
    known = {name: set() for name in SPLITS}
    for row in rows:
        name = "test" if row["split"] == "final" else row["split"]
        known[name].update([row["rootname"], *row["stack"].split()])
    assert all(known.values())
    assert not known["train"] & known["val"]
    assert not known["train"] & known["test"]
    assert not known["val"] & known["test"]


def test_counts_match_settings(split, params):
    name, data = split
    assert len(data) == getattr(params.subframes, name).count


def test_labels_are_balanced_and_match_blobs(split):
    _, data = split
    assert abs(data.labels.mean() - 0.5) <= 0.05
    held = np.bincount(data.blobs["subframe"], minlength=len(data))
    np.testing.assert_array_equal(data.labels, held > 0)


def test_images_are_in_range_and_distinct(split, params):
    name, data = split
    assert data.images.dtype == np.int8
    assert data.images.shape[1:] == (256, 256)
    assert data.images.min() >= -127
    few = data.images[:: max(1, len(data) // 200)].astype(np.float32)
    spread = np.median(np.abs(few - np.median(few, axis=(1, 2), keepdims=True)), axis=(1, 2)) * 1.4826 / 16
    # Sigma; whitened noise has the scatter of 1 that it has at the scale of a blob, also where it was
    # correlated. Heavy tails and broad drifts change that a little.
    low, high = (0.6, 1.3) if getattr(params.subframes, name).wide else (0.8, 1.2)
    assert ((spread > low) & (spread < high)).all()
    assert len({image.tobytes() for image in data.images}) > 0.998 * len(data)


def test_blobs_are_within_limits(split, params):
    split_name, data = split
    blobs = data.blobs
    for name in blobs.dtype.names:
        assert np.isfinite(blobs[name]).all(), name
    for name in ("x", "y"):
        assert blobs[name].min() >= -0.5
        assert blobs[name].max() < 255.5
    injected = blobs[blobs["injected"] == 1]
    low, high = getattr(params.subframes, split_name).snr
    assert injected["snr"].max() <= high * 1.001
    assert np.mean(injected["snr"] < low * 0.999) < 0.01


def test_blobs_are_bright_at_listed_positions(split):
    _, data = split
    loud = data.blobs[(data.blobs["snr"] > 20) & (data.blobs["half_width"] < 8)][:300]
    inner = loud[(np.abs(loud["x"] - 127.5) < 120) & (np.abs(loud["y"] - 127.5) < 120)]
    means = []
    for blob in inner:
        x, y = round(float(blob["x"])), round(float(blob["y"]))
        means.append(data.scaled(int(blob["subframe"]))[y - 3 : y + 4, x - 3 : x + 4].mean())
    assert len(means) > 20
    assert np.mean(np.array(means) > 0.8) > 0.97


def test_contaminants_are_independent_of_label(split):
    _, data = split
    shares = [np.mean(data.subframes["contaminant"][data.labels == label] != "") for label in (0, 1)]
    assert abs(shares[0] - shares[1]) < 0.1


def test_whole_frames_match_test_exposures(rows):
    final, test = read_split(FOLDER, "final"), read_split(FOLDER, "test")
    assert set(final.rootnames) == set(test.rootnames)
    assert len(final) == 16 * len(set(final.rootnames))
    assert (final.blobs["injected"] == 0).all()
