"""Tests of the metrics, their intervals and extreme cases."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from synthetic import detect_stronger_half, easy_subframes

from blobwatch.dataset.subframes import Recipe
from blobwatch.detector.calibration import calibration_error
from blobwatch.detector.evaluation import (
    Bootstrap,
    detector_metrics,
    final_metrics,
    finite_median,
    is_compared,
)
from blobwatch.detector.metrics import Matches, snr_at_half
from blobwatch.detector.scoring import ScoringResult

DRAW = Bootstrap(resamples=100, confidence=0.95, seed=1)


@pytest.fixture(scope="module")
def data():
    return easy_subframes(64, seed=7, recipe=Recipe((4.0, 30.0), (1, 4), 0.5))


@pytest.fixture(scope="module")
def scored(data) -> ScoringResult:
    """Return the result of a detector that finds the brighter half, with three false blobs."""
    rng = np.random.default_rng(2)
    hit, error = detect_stronger_half(data, rng)
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


def test_finite_median_ignores_nan():
    assert finite_median(np.array([np.nan, 1.0, 3.0])) == 2.0
    assert np.isnan(finite_median(np.array([np.nan])))
