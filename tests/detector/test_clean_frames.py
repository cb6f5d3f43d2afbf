"""Tests of the clean frames and of thresholds at a given rate."""

import numpy as np
import pytest

from blobwatch.artefact import Model
from blobwatch.detector.baselines import snr_from_score
from blobwatch.detector.clean_frames import (
    AWAY,
    NOISE_AREA,
    draw_clean_frame,
    draw_clean_set,
    evaluate_clean_frames,
    filter_threshold,
    network_threshold,
    noise_probabilities,
    strength_threshold,
)
from blobwatch.detector.metrics import Bootstrap
from blobwatch.detector.scoring import MIN_PROBABILITY
from blobwatch.images.peaks import Peaks
from blobwatch.images.scaling import level_and_noise
from blobwatch.instrument.blobs import blob_snr

DRAW = Bootstrap(resamples=100, confidence=0.95, seed=1)


@pytest.fixture(scope="module")
def data():
    return draw_clean_set(np.random.default_rng(3), 2)


def test_clean_frame_has_unit_noise_and_separate_blobs():
    image, blobs = draw_clean_frame(np.random.default_rng(3))
    assert len(blobs) == 64
    assert level_and_noise(image) == pytest.approx((0.0, 1.0), abs=0.02)
    snr = np.array([blob_snr(blob, 1.0) for blob in blobs])
    assert snr.min() > 3.0
    assert snr.max() < 12.0
    assert np.std(snr) > 2.0
    places = np.array([(blob.x, blob.y) for blob in blobs])
    apart = np.hypot(*(places[:, None] - places[None]).T) + 1e9 * np.eye(64)
    assert apart.min() >= 2 * AWAY - 1
    empty, none = draw_clean_frame(np.random.default_rng(3), blobs=False)
    assert none == []
    changed = np.abs(image - empty) > 1e-6
    assert 0.005 < changed.mean() < 0.2
    for blob in blobs[::9]:
        assert image[round(blob.y), round(blob.x)] > empty[round(blob.y), round(blob.x)]


def test_clean_set_is_reproducible_with_distinct_frames(data):
    again = draw_clean_set(np.random.default_rng(3), 2)
    np.testing.assert_array_equal(again.images, data.images)
    np.testing.assert_array_equal(again.blobs, data.blobs)
    assert not np.array_equal(data.images[0], data.images[1])
    assert data.blobs["subframe"].tolist() == [0] * 64 + [1] * 64
    assert len(set(data.rootnames)) == 2
    assert (data.blobs_of(1)["x"] > 256).any()


def test_noise_probabilities_exclude_peaks_near_blobs(data):
    x, y = data.blobs_of(0)["x"][0], data.blobs_of(0)["y"][0]
    near = Peaks(np.array([x, x + AWAY - 1]), np.array([y, y]), np.array([0.9, 0.8]))
    far = Peaks(np.array([2.0, 1021.0]), np.array([2.0, 1021.0]), np.array([0.5, 0.4]))
    assert noise_probabilities(data, [near, far]).tolist() == [0.5, 0.4]


def test_noise_area_fraction_matches_drawn_discs(data):
    y, x = np.mgrid[:1024, :1024]
    free = np.ones((1024, 1024), dtype=bool)
    for blob in data.blobs_of(0):
        free &= np.hypot(x - blob["x"], y - blob["y"]) > AWAY
    assert pytest.approx(free.mean(), abs=0.003) == NOISE_AREA


@pytest.mark.parametrize("rate", [1.0, 5.0, 100.0])
def test_strength_threshold_extrapolates_the_tail(rate):
    """Use a tail of 2,000 exp(-s) peaks above s per frame, in 20 frames."""
    rng = np.random.default_rng(5)
    measured = [strength_threshold(rng.exponential(size=rng.poisson(40_000)), 20, rate) for _ in range(60)]
    assert np.median(measured) == pytest.approx(np.log(2000 / (rate / 100)), abs=0.3)


def test_threshold_without_noise_peaks():
    assert strength_threshold(np.full(9, 0.3), 20, 5.0) == -np.inf
    assert network_threshold(np.empty(0), 100, 5.0) == MIN_PROBABILITY


def test_network_threshold_gives_the_rate():
    logit = np.random.default_rng(8).exponential(0.5, 5000) - 4.0
    noise = 1 / (1 + np.exp(-logit))
    strict, lenient = network_threshold(noise, 100, 1.0), network_threshold(noise, 100, 50.0)
    assert MIN_PROBABILITY < lenient < strict < 1.0
    assert 35 <= (noise > lenient).sum() <= 65  # of 100 frames
    assert (noise > strict).sum() <= 4


def test_ideal_observer_threshold_matches_known_value(data):
    """Compare with the known threshold of about 5.5 sigma."""
    from blobwatch.detector.ideal_observer import find_by_ideal_observer
    from blobwatch.detector.scoring import run_classical

    found = [peaks for peaks, _ in run_classical(find_by_ideal_observer, data, "ideal observer")]
    assert snr_from_score(filter_threshold(data, found, 5.0)) == pytest.approx(5.5, abs=0.4)
    assert filter_threshold(data, found, 1.0) > filter_threshold(data, found, 5.0)


@pytest.fixture(scope="module")
def judged(box_model):
    return evaluate_clean_frames(Model.load(box_model), np.random.default_rng(2), 2, 4, 6.0, 5.0, DRAW)


def test_all_detectors_are_evaluated_on_the_same_blobs(judged):
    report, rows = judged
    assert (report["exposures"], report["blobs"]) == (2, 128)
    assert set(report["same_rate"]) == {"cnn", "matched_filters", "ideal_observer"}
    assert set(rows) == {"CNN", "CNN, same rate", "matched filters", "ideal observer"}
    for some in rows.values():
        assert sum(row["blobs"] for row in some) == 128
    assert report["false_per_100"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_snr_at_half_of_detectors(judged):
    report, rows = judged
    half = {key: one["snr_at_half"]["value"] for key, one in report["same_rate"].items()}
    assert half["ideal_observer"] == pytest.approx(5.2, abs=0.6)
    assert half["ideal_observer"] < half["matched_filters"] + 0.2
    # The threshold of the box detector is designed for blobs of SNR 20.
    assert report["snr_at_half"]["value"] > half["ideal_observer"] + 2
    assert rows["ideal observer"][-1]["recall"] == 1.0
    for own, same in zip(rows["CNN"], rows["CNN, same rate"], strict=True):
        assert own["recall"] <= same["recall"]
