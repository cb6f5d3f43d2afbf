"""Tests of the metrics of a detector and of its tables."""

import numpy as np
import pytest
import sklearn.metrics
from sklearn.metrics import average_precision_score, roc_auc_score
from synthetic import easy_subframes

from blobwatch.dataset.subframes import Recipe
from blobwatch.detector.breakdowns import (
    completeness_table,
    confusion_matrix,
    list_slices,
    roc_curve,
    slice_table,
)
from blobwatch.detector.calibration import calibration_error
from blobwatch.detector.evaluation import detector_metrics, final_metrics, is_compared
from blobwatch.detector.metrics import Bootstrap, Matches, snr_at_half
from blobwatch.detector.scoring import ScoringResult

DRAW = Bootstrap(resamples=100, confidence=0.95, seed=1)


@pytest.fixture(scope="module")
def data():
    return easy_subframes(64, seed=7, recipe=Recipe((4.0, 30.0), (1, 4), 0.5))


@pytest.fixture(scope="module")
def scored(data) -> ScoringResult:
    """Return the result of a detector that finds the brighter half, with three false blobs."""
    rng = np.random.default_rng(2)
    found = data.blobs["snr"] > 12
    hit = np.where(found, rng.uniform(0.6, 1.0, len(found)), 0.0)
    error = np.where(found, 1.0, np.nan)
    false, where = np.array([0.9, 0.7, 0.1]), np.array([1, 1, 3])
    scores = np.clip(rng.normal(0.2 + 0.5 * data.labels, 0.15), 0.01, 0.99)
    return ScoringResult(scores, [], Matches(hit, error, false, where))


def test_metrics_match_definitions(data, scored):
    found = detector_metrics(data, scored, 0.5, DRAW)
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
    assert blobs["position_error"]["value"] == blobs["position_error_above_10"]["value"] == 1.0
    assert found["threshold"] == 0.5


def test_comparison_metrics_match_definitions(data, scored):
    found = detector_metrics(data, scored, 0.5, DRAW)
    snr, labels = data.blobs["snr"], data.labels
    sought = is_compared(data)
    assert found["subframes"]["auc_5_to_30"]["value"] == pytest.approx(
        roc_auc_score(labels[sought], scored.scores[sought])
    )
    middle = snr[(snr > 10) & (snr <= 15)]
    assert found["blobs"]["recall_10_to_15"]["value"] == pytest.approx((middle > 12).mean())
    assert found["blobs"]["snr_at_half"]["value"] == snr_at_half(snr, snr > 12)
    error = found["subframes"]["calibration_error"]
    assert error["value"] == calibration_error(labels, scored.scores)


def test_is_compared_uses_the_strongest_blob(data):
    sought = is_compared(data)
    assert sought[data.labels == 0].all()
    for index in np.flatnonzero(data.labels):
        assert sought[index] == (5 <= data.blobs_of(index)["snr"].max() <= 30)
    faint = easy_subframes(8, recipe=Recipe((4.0, 4.9), (1, 3), 0.0))
    assert is_compared(faint).sum() == 4


def test_metrics_of_detectors_without_positions_or_calibration(data, scored):
    whole = detector_metrics(data, scored, 0.5, DRAW)
    less = detector_metrics(data, scored, 0.5, DRAW, has_positions=False, calibrated=False)
    assert whole["blobs"].keys() - less["blobs"].keys() == {
        "snr_at_half",
        "position_error",
        "position_error_above_10",
    }
    assert whole["subframes"].keys() - less["subframes"].keys() == {"calibration_error"}
    assert less["blobs"].items() <= whole["blobs"].items()


def test_intervals_contain_values_and_are_reproducible(data, scored):
    found = detector_metrics(data, scored, 0.5, DRAW)
    for name, value in (found["subframes"] | found["blobs"]).items():
        assert value["low"] <= value["value"] <= value["high"], name
    assert found == detector_metrics(data, scored, 0.5, DRAW)
    assert found["subframes"]["auc"]["high"] - found["subframes"]["auc"]["low"] < 0.3


def test_unmeasurable_metrics_are_nan_without_warning(data, scored):
    nothing = ScoringResult(scored.scores, [], Matches(0 * scored.matches.hit, scored.matches.error, *EMPTY))
    found = detector_metrics(data, nothing, 0.5, DRAW)["blobs"]
    assert np.isnan(found["position_error"]["value"])
    assert found["false_per_100"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    faint = easy_subframes(8, recipe=Recipe((4.0, 9.0), (1, 1), 0.0))
    few = ScoringResult(np.linspace(0, 1, 8), [], Matches(np.ones(4), np.ones(4), *EMPTY))
    assert np.isnan(detector_metrics(faint, few, 0.5, DRAW)["blobs"]["recall_above_15"]["value"])


EMPTY = (np.empty(0), np.empty(0, dtype=int))


def test_final_metrics_are_counts(data, scored):
    found = final_metrics(data, scored, 0.5)
    assert found["exposures"] == 4
    assert found["appearances"] == len(data.blobs)
    assert found["found"] == (data.blobs["snr"] > 12).sum()
    assert found["found_above_15"] == found["appearances_above_15"] == (data.blobs["snr"] > 15).sum()
    assert (found["false_blobs"], found["false_per_100"]) == (2, 50.0)


# Tables


def test_slices_cover_all_blobs(data):
    counted = {}
    for name, part, members in list_slices(data):
        counted.setdefault(name, {})[part] = int(members.sum())
    assert sum(counted["snr"].values()) == len(data.blobs)
    assert sum(counted["contaminant"].values()) == len(data.blobs)
    quarters = [n for part, n in counted["region"].items() if "edge" not in part]
    assert sum(quarters) == len(data.blobs)
    assert "none added" in counted["contaminant"]
    lower_left = {part: members for _, part, members in list_slices(data)}["lower left"]
    assert (data.blobs[["frame_x", "frame_y"]][lower_left].tolist() < np.array([512, 512])).all()


def test_slice_table_contains_counts_recall_and_position_error(data, scored):
    rows = slice_table(data, scored, 0.5, DRAW)
    by_part = {(row["slice"], row["part"]): row for row in rows}
    assert by_part["snr", "20-30"]["recall"] == 1.0
    assert by_part["snr", "20-30"]["position_error"] == 1.0
    assert by_part["snr", "8-10"]["recall"] == 0.0
    assert by_part["snr", "8-10"]["position_error"] == ""
    assert by_part["snr", "20-30"]["blobs"] == ((data.blobs["snr"] >= 20) & (data.blobs["snr"] < 30)).sum()
    for row in rows:
        assert row["blobs"] > 0
        assert row["low"] <= row["recall"] <= row["high"]


def test_confusion_matrix_rows_are_true_labels():
    labels, scores = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.9, 0.5, 0.2, 0.8])
    assert confusion_matrix(labels, scores, 0.5).tolist() == [[1, 2], [1, 1]]


def test_roc_curve_matches_sklearn():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 300)
    scores = np.round(rng.normal(labels, 1.0), 1)
    points = roc_curve(labels, scores)
    false, recall, thresholds = sklearn.metrics.roc_curve(labels, scores, drop_intermediate=False)
    for key, expected in (("threshold", thresholds), ("false_positive_rate", false), ("recall", recall)):
        assert [point[key] for point in points] == pytest.approx(expected[1:], abs=1e-6)
    assert points[-1]["precision"] == pytest.approx(labels.mean(), abs=1e-6)


def test_completeness_table_contains_recall_per_snr_bin(data):
    snr = data.blobs["snr"]
    rows = completeness_table(data, snr > 12, (4, 10, 14, 31, 99), DRAW)
    assert [(row["snr_low"], row["snr_high"]) for row in rows] == [(4, 10), (10, 14), (14, 31)]
    assert [row["blobs"] for row in rows] == [
        ((snr >= low) & (snr < high)).sum() for low, high in ((4, 10), (10, 14), (14, 31))
    ]
    assert (rows[0]["recall"], rows[2]["recall"]) == (0.0, 1.0)
    assert 0 <= rows[1]["low"] <= rows[1]["recall"] <= rows[1]["high"] <= 1
    middle = snr[(snr >= 10) & (snr < 14)]
    assert rows[1]["recall"] == pytest.approx((middle > 12).mean(), abs=1e-6)
