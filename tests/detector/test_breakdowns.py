"""Tests of the tables: slices, completeness, confusion matrix and ROC."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from synthetic import detect_stronger_half, easy_subframes

from blobwatch.dataset.subframes import Recipe
from blobwatch.detector.breakdowns import (
    completeness_table,
    confusion_matrix,
    list_slices,
    roc_curve,
    slice_table,
)
from blobwatch.detector.evaluation import Bootstrap
from blobwatch.detector.metrics import Matches
from blobwatch.detector.scoring import ScoringResult

DRAW = Bootstrap(resamples=100, confidence=0.95, seed=1)


@pytest.fixture(scope="module")
def data():
    return easy_subframes(64, seed=7, recipe=Recipe((4.0, 30.0), (1, 4), 0.5))


@pytest.fixture(scope="module")
def scored(data) -> ScoringResult:
    """Return the result of a detector that finds the brighter half with an error of one pixel."""
    hit, error = detect_stronger_half(data, np.random.default_rng(2))
    return ScoringResult(np.zeros(len(data)), [], Matches(hit, error, np.empty(0), np.empty(0, dtype=int)))


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


def test_area_under_roc_curve_is_auc():
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
