"""Tests of the calibration error and the reliability diagram."""

import itertools

import numpy as np
import pytest

from blobwatch.detector.calibration import BINS, calibration_error, reliability_table


def calibrated(count: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    probabilities = rng.uniform(size=count)
    return (rng.uniform(size=count) < probabilities).astype(int), probabilities


def test_calibration_error_matches_definition():
    labels, probabilities = calibrated(500)
    probabilities = probabilities**2
    edges = np.linspace(0, 1, BINS + 1)
    expected = 0.0
    for low, high in itertools.pairwise(edges):
        here = (probabilities >= low) & (probabilities < high)
        if here.any():
            expected += here.mean() * abs(probabilities[here].mean() - labels[here].mean())
    assert calibration_error(labels, probabilities) == pytest.approx(expected, abs=1e-12)
    assert expected > 0.1


def test_reliability_table_has_one_row_per_nonempty_bin():
    labels = np.array([0, 0, 1, 1, 1])
    rows = reliability_table(labels, np.array([0.01, 0.05, 0.05, 0.97, 1.0]), 0.95)
    assert [row["subframes"] for row in rows] == [3, 2]
    assert (rows[0]["bin_low"], rows[1]["bin_high"]) == (0.0, 1.0)
    assert rows[0]["probability"] == pytest.approx(0.11 / 3, abs=1e-6)
    assert rows[0]["share"] == pytest.approx(1 / 3, abs=1e-6)
    assert rows[1]["share"] == 1.0


def test_reliability_interval_is_wide_for_few_subframes():
    (few,) = reliability_table(np.ones(2, dtype=int), np.full(2, 0.99), 0.95)
    (many,) = reliability_table(np.ones(500, dtype=int), np.full(500, 0.99), 0.95)
    assert few["low"] == pytest.approx(2 / (2 + 1.96**2), abs=1e-3)  # the Wilson interval
    assert 0.98 < many["low"] < many["high"] == 1.0


def test_reliability_intervals_contain_the_diagonal_if_calibrated():
    rows = reliability_table(*calibrated(), 0.99)
    assert len(rows) == BINS
    assert sum(row["low"] <= row["probability"] <= row["high"] for row in rows) >= BINS - 1
