"""Tests of the metrics against their definitions."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from synthetic import easy_subframes

from blobwatch.dataset.shards import BLOB, Shard
from blobwatch.detector.metrics import (
    Bootstrap,
    Matches,
    auc,
    false_per_100,
    finite_median,
    match_blobs,
    snr_at_half,
)
from blobwatch.detector.threshold import threshold_at_rate
from blobwatch.images.peaks import Peaks


@pytest.mark.parametrize("digits", [0, 1, 8])
@pytest.mark.parametrize("seed", range(3))
def test_auc_matches_sklearn(digits, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 200)
    scores = np.round(rng.normal(labels, 1.0), digits)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def shard_with(places: list[list[tuple[float, float]]]) -> Shard:
    """Return a set with blobs at given positions of its subframes."""
    rows = [(index, x, y, *[0] * (len(BLOB) - 3)) for index, some in enumerate(places) for x, y in some]
    base = easy_subframes(2)
    n = len(places)
    return Shard(
        np.zeros((n, 256, 256), np.int8),
        np.zeros(n, base.subframes.dtype),
        np.array(rows, dtype=BLOB),
        np.full(n, "a"),
    )


def peaks(*found: tuple[float, float, float]) -> Peaks:
    return Peaks(*(np.array(part, dtype=float) for part in zip(*found, strict=True))) if found else EMPTY


EMPTY = Peaks(*(np.empty(0) for _ in range(3)))


def test_match_blobs_prefers_probable_detections():
    data = shard_with([[(50.0, 50.0)], [], [(10.0, 20.0), (100.0, 200.0)]])
    found = [
        peaks((51.0, 50.0, 0.9), (50.0, 50.0, 0.8)),  # the second is nearer, but comes later
        peaks((5.0, 5.0, 0.7)),
        peaks((100.0, 203.0, 0.6), (10.0, 27.0, 0.5)),  # the second is 7 pixels off
    ]
    result = match_blobs(data, found, radius=6.0)
    assert result.hit.tolist() == [0.9, 0.0, 0.6]
    assert result.error.tolist()[::2] == pytest.approx([1.0, 3.0])
    assert np.isnan(result.error[1])
    assert result.false.tolist() == [0.8, 0.7, 0.5]
    assert result.false_subframe.tolist() == [0, 1, 2]


def test_match_blobs_pairs_adjacent_blobs():
    data = shard_with([[(50.0, 50.0), (54.0, 50.0)]])
    result = match_blobs(data, [peaks((52.0, 50.0, 0.9), (52.5, 50.0, 0.8))], radius=6.0)
    assert sorted(result.hit) == [0.8, 0.9]
    assert len(result.false) == 0


def test_match_radius_is_inclusive():
    data = shard_with([[(50.0, 50.0)]])
    assert match_blobs(data, [peaks((56.0, 50.0, 0.9))], 6.0).hit[0] == 0.9
    assert match_blobs(data, [peaks((56.01, 50.0, 0.9))], 6.0).hit[0] == 0.0


def false_ones(probabilities) -> Matches:
    values = np.array(probabilities, dtype=float)
    return Matches(np.empty(0), np.empty(0), values, np.zeros(len(values), dtype=int))


def test_false_per_100_counts_exposures():
    """Thirty-two subframes are two exposures."""
    assert false_per_100(false_ones([0.9, 0.5, 0.4]), 0.5, 32) == 100.0


@pytest.mark.parametrize("rate", [0.5, 5.0, 50.0, 500.0])
@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_threshold_at_rate_does_not_exceed_rate(rate, count):
    matches = false_ones(np.random.default_rng(count).uniform(0.02, 1.0, count))
    threshold = threshold_at_rate(matches, 1000, rate)
    assert 0.0 < threshold < 1.0
    assert false_per_100(matches, threshold, 1000) <= rate


def test_threshold_at_rate_is_minimal():
    matches = false_ones([0.9, 0.8, 0.7, 0.2, 0.1])
    threshold = threshold_at_rate(matches, 1600, 2.0)  # two allowed
    assert 0.7 < threshold < 0.8
    assert false_per_100(matches, threshold, 1600) == 2.0
    assert 0.9 < threshold_at_rate(matches, 1600, 0.5) < 1.0  # none allowed


@pytest.mark.parametrize("values", [[0.9, 0.9, 0.9, 0.1], [1.0, 1.0, 0.5], [1.0], [0.99999999, 0.99999998]])
@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_threshold_at_rate_with_ties_and_ones(values, rate):
    threshold = threshold_at_rate(false_ones(values), 1600, rate)
    assert false_per_100(false_ones(values), threshold, 1600) <= rate


def test_interval_contains_value_and_is_reproducible():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    one, again, other = (Bootstrap(500, 0.95, seed).mean(values, np.arange(400)) for seed in (3, 3, 4))
    assert one == again != other
    assert one["value"] == pytest.approx(values.mean())
    assert one["low"] < one["value"] < one["high"]
    assert one["high"] - one["low"] == pytest.approx(2 * 1.96 * 2.0 / 20, rel=0.2)


def test_bootstrap_resamples_whole_exposures():
    # Ten exposures with identical subframes contain no more information than ten numbers.
    values = np.repeat(np.random.default_rng(1).normal(size=10), 40)
    draw = Bootstrap(300, 0.95, 3)
    together, apart = draw.mean(values, np.repeat(np.arange(10), 40)), draw.mean(values, np.arange(400))
    assert together["value"] == apart["value"]
    assert together["high"] - together["low"] > 4 * (apart["high"] - apart["low"])


def test_interval_has_nominal_coverage():
    inside = 0
    for seed in range(100):
        values = np.random.default_rng(seed).normal(size=60)
        found = Bootstrap(200, 0.95, seed).mean(values, np.arange(60))
        inside += found["low"] <= 0.0 <= found["high"]
    assert 86 <= inside <= 100


@pytest.mark.parametrize("count", [0, 5])
def test_interval_of_nan_statistic_is_nan(count):
    found = Bootstrap(100, 0.95, 1).mean(np.full(count, np.nan), np.arange(count))
    assert np.isnan(list(found.values())).all()


def test_finite_median_ignores_nan():
    assert finite_median(np.array([np.nan, 1.0, 3.0])) == 2.0
    assert np.isnan(finite_median(np.array([np.nan])))


def found_of(seed: int, half: float, blobs: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Return blobs of SNR 3-12, found if SNR plus noise of 1 sigma exceeds a threshold."""
    rng = np.random.default_rng(seed)
    snr = rng.uniform(3.0, 12.0, blobs)
    return snr, snr + rng.normal(size=blobs) > half


@pytest.mark.parametrize("half", [5.2, 6.0, 9.0])
def test_snr_at_half_is_the_threshold(half):
    measured = [snr_at_half(*found_of(seed, half)) for seed in range(20)]
    assert np.mean(measured) == pytest.approx(half, abs=0.06)
    assert np.std(measured) < 0.12  # the isotonic regression alone spreads by 0.17


def test_snr_at_half_is_robust_against_random_misses():
    measured = []
    for seed in range(20):
        snr, hit = found_of(seed, 6.0)
        measured.append(snr_at_half(snr, hit & (np.random.default_rng(seed).uniform(size=len(hit)) < 0.95)))
    # Half of all are found where 0.5 / 0.95 of the findable are, 0.07 higher.
    assert np.mean(measured) == pytest.approx(6.07, abs=0.08)


def test_snr_at_half_matches_isotonic_regression(monkeypatch):
    from sklearn.isotonic import IsotonicRegression

    from blobwatch.detector import metrics

    monkeypatch.setattr(metrics, "NEAR_HALF", 1e-6)  # no line through the neighbours
    for seed in range(5):
        snr, hit = found_of(seed, 6.0, blobs=301)
        order = np.argsort(snr)
        fitted = IsotonicRegression().fit_transform(snr[order], hit[order].astype(float))
        first, last = np.flatnonzero(fitted >= 0.5)[0], np.flatnonzero(fitted <= 0.5)[-1]
        low, high = sorted((snr[order][first], snr[order][last]))
        below = snr[order][np.flatnonzero(fitted < 0.5)[-1]]
        assert min(low, below) <= snr_at_half(snr, hit) <= high


@pytest.mark.parametrize("found", [True, False])
def test_snr_at_half_is_nan_without_crossing(found):
    assert np.isnan(snr_at_half(np.array([4.0, 6.0, 9.0]), np.full(3, found)))
    assert np.isnan(snr_at_half(np.empty(0), np.empty(0, dtype=bool)))


def test_snr_at_half_of_two_blobs():
    assert snr_at_half(np.array([8.0, 4.0]), np.array([True, False])) == 6.0
