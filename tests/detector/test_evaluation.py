"""The report: every number with its interval, by slice, and what becomes of extremes."""

import itertools

import numpy as np
import pytest
from made import easy_set
from sklearn.metrics import average_precision_score, roc_auc_score

from blobwatch.dataset.subframes import Recipe
from blobwatch.detector.evaluation import (
    Bootstrap,
    confusion,
    final_report,
    median_of_finite,
    parts_of,
    report,
    roc_curve,
    slices,
)
from blobwatch.detector.metrics import Matches
from blobwatch.detector.scoring import Scored

DRAW = Bootstrap(resamples=100, confidence=0.95, seed=1)


@pytest.fixture(scope="module")
def data():
    return easy_set(64, seed=7, recipe=Recipe((4.0, 30.0), (1, 4), 0.5))


@pytest.fixture(scope="module")
def scored(data) -> Scored:
    """A detector that finds the louder half, a pixel off, and calls three false ones."""
    rng = np.random.default_rng(2)
    found = data.blobs["snr"] > 12
    hit = np.where(found, rng.uniform(0.6, 1.0, len(found)), 0.0)
    error = np.where(found, 1.0, np.nan)
    false, where = np.array([0.9, 0.7, 0.1]), np.array([1, 1, 3])
    scores = np.clip(rng.normal(0.2 + 0.5 * data.labels, 0.15), 0.01, 0.99)
    return Scored(scores, [], Matches(hit, error, false, where))


def test_the_metrics_are_what_their_names_say(data, scored):
    found = report(data, scored, 0.5, DRAW)
    labels, scores = data.labels, scored.scores
    subframes, blobs = found["subframes"], found["blobs"]
    assert subframes["auc"]["value"] == pytest.approx(roc_auc_score(labels, scores))
    assert subframes["average_precision"]["value"] == pytest.approx(average_precision_score(labels, scores))
    assert subframes["accuracy"]["value"] == pytest.approx(((scores >= 0.5) == labels).mean())
    assert subframes["recall"]["value"] == pytest.approx((scores[labels == 1] >= 0.5).mean())
    assert subframes["precision"]["value"] == pytest.approx(labels[scores >= 0.5].mean())
    assert blobs["recall"]["value"] == pytest.approx((data.blobs["snr"] > 12).mean())
    assert blobs["recall_above_15"]["value"] == 1.0
    assert blobs["false_per_100"]["value"] == pytest.approx(100 * 16 * 2 / 64)
    assert blobs["position_error"]["value"] == 1.0
    assert found["threshold"] == 0.5


def test_every_number_stands_in_its_interval_and_comes_again(data, scored):
    found = report(data, scored, 0.5, DRAW)
    for name, value in (found["subframes"] | found["blobs"]).items():
        assert value["low"] <= value["value"] <= value["high"], name
    assert found == report(data, scored, 0.5, DRAW)
    assert found["subframes"]["auc"]["high"] - found["subframes"]["auc"]["low"] < 0.3


def test_what_cannot_be_measured_is_no_number_and_no_warning(data, scored):
    """Where nothing is found, there is no position error; where no blob is loud, no recall of loud ones."""
    nothing = Scored(scored.scores, [], Matches(0 * scored.matches.hit, scored.matches.error, *EMPTY))
    found = report(data, nothing, 0.5, DRAW)["blobs"]
    assert np.isnan(found["position_error"]["value"])
    assert found["false_per_100"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    faint = easy_set(8, recipe=Recipe((4.0, 9.0), (1, 1), 0.0))
    few = Scored(np.linspace(0, 1, 8), [], Matches(np.ones(4), np.ones(4), *EMPTY))
    assert np.isnan(report(faint, few, 0.5, DRAW)["blobs"]["recall_above_15"]["value"])


EMPTY = (np.empty(0), np.empty(0, dtype=int))


def test_the_slices_of_snr_and_of_regions_share_out_all_blobs(data):
    counted = {}
    for name, part, members in parts_of(data):
        counted.setdefault(name, {})[part] = int(members.sum())
    assert sum(counted["snr"].values()) == len(data.blobs)
    assert sum(counted["contaminant"].values()) == len(data.blobs)
    quarters = [n for part, n in counted["region"].items() if "edge" not in part]
    assert sum(quarters) == len(data.blobs)
    assert "none added" in counted["contaminant"]


def test_a_slice_says_how_many_and_how_well(data, scored):
    rows = slices(data, scored, 0.5, DRAW)
    by_part = {(row["slice"], row["part"]): row for row in rows}
    assert by_part["snr", "20-30"]["recall"] == 1.0
    assert by_part["snr", "20-30"]["position_error"] == 1.0
    assert by_part["snr", "8-10"]["recall"] == 0.0
    assert by_part["snr", "8-10"]["position_error"] == ""
    assert by_part["snr", "20-30"]["blobs"] == ((data.blobs["snr"] >= 20) & (data.blobs["snr"] < 30)).sum()
    for row in rows:
        assert row["blobs"] > 0
        assert row["low"] <= row["recall"] <= row["high"]


def test_regions_lie_where_their_names_say(data):
    lower_left = {part: members for _, part, members in parts_of(data)}["lower left"]
    assert (data.blobs["frame_x"][lower_left] < 512).all()
    assert (data.blobs["frame_y"][lower_left] < 512).all()


def test_rows_of_the_confusion_matrix_are_the_truth():
    labels, scores = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.9, 0.5, 0.2, 0.8])
    assert confusion(labels, scores, 0.5).tolist() == [[1, 2], [1, 1]]


def test_the_roc_curve_rises_and_its_area_is_the_auc():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 300)
    scores = np.round(rng.normal(labels, 1.0), 1)
    points = roc_curve(labels, scores)
    assert len(points) == len(set(scores))
    rates = np.array([0.0] + [p["false_positive_rate"] for p in points])
    recall = np.array([0.0] + [p["recall"] for p in points])
    assert (np.diff(rates) >= 0).all()
    assert (np.diff(recall) >= 0).all()
    area = sum(
        (b - a) * (c + d) / 2
        for (a, b), (c, d) in zip(*map(itertools.pairwise, (rates, recall)), strict=True)
    )
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-5)
    assert (rates[-1], recall[-1], points[-1]["precision"]) == pytest.approx(
        (1.0, 1.0, labels.mean()), abs=1e-5
    )


def test_the_final_report_counts(data, scored):
    found = final_report(data, scored, 0.5)
    assert found["exposures"] == 4
    assert found["appearances"] == len(data.blobs)
    assert found["found"] == (data.blobs["snr"] > 12).sum()
    assert found["found_above_15"] == found["appearances_above_15"] == (data.blobs["snr"] > 15).sum()
    assert (found["false_blobs"], found["false_per_100"]) == (2, 50.0)


def test_the_median_of_what_is_there():
    assert median_of_finite(np.array([np.nan, 1.0, 3.0])) == 2.0
    assert np.isnan(median_of_finite(np.array([np.nan])))
