"""Tests of the scoring of data sets by the compared detectors."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import easy_subframes, random_network, write_model

from blobwatch.artefact import Model
from blobwatch.detector.baselines import find_by_filter
from blobwatch.detector.comparison import evaluate_detector, list_detectors
from blobwatch.detector.metrics import false_per_100
from blobwatch.detector.scoring import match_detections, score_classical, score_model
from blobwatch.images.peaks import Peaks


@pytest.fixture(scope="module")
def data():
    return easy_subframes(24, seed=3)


@pytest.fixture(scope="module")
def scored(data, box_model):
    return score_model(Model.load(box_model), data, 6.0)


@pytest.fixture(scope="module")
def detectors(box_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("old") / "model"
    old = write_model(folder, random_network("predecessor"), name="predecessor")
    listed = list_detectors(Model.load(box_model), Model.load(old), radius=6.0, workers=1)
    return {one.key: one for one in listed}


def test_score_is_the_probability_of_the_best_peak(data, scored):
    for score, peaks in zip(scored.scores, scored.found, strict=True):
        assert score == pytest.approx(peaks.probability[0] if len(peaks) else 0.0, abs=0.02)
    assert (scored.scores[data.labels == 0] < 0.5).all()
    assert (data.labels[scored.matches.false_subframe] == 1).all()  # shoulders of large blobs


def test_scores_do_not_depend_on_batches_and_processes(data, scored, box_model):
    again = score_model(Model.load(box_model), data, 6.0, batch=5)
    np.testing.assert_allclose(again.scores, scored.scores, atol=1e-6)
    one, two = (score_classical(find_by_filter, data, 6.0, "matched filters", n) for n in (1, 2))
    np.testing.assert_array_equal(one.scores, two.scores)
    np.testing.assert_array_equal(one.matches.hit, two.matches.hit)


def test_match_without_positions_requires_only_the_subframe(data):
    middle = Peaks(*np.array([[127.5], [127.5], [0.9]]))
    found = [middle if label else Peaks(*np.empty((3, 0))) for label in data.labels]
    assert len(match_detections(data, found, 6.0, stride=256).false) == 0
    assert len(match_detections(data, found, 6.0, stride=4).false) > 5


def test_properties_of_detectors(detectors):
    assert list(detectors) == ["cnn", "matched_filter", "predecessor", "laplacian"]
    assert len({one.name for one in detectors.values()}) == 4
    assert [key for key, one in detectors.items() if one.calibrated] == ["cnn", "predecessor"]
    assert [key for key, one in detectors.items() if not one.has_positions] == ["predecessor"]
    assert [key for key, one in detectors.items() if one.score_final] == ["cnn", "matched_filter"]


def test_network_keeps_its_deployed_threshold(detectors):
    few = easy_subframes(16, seed=5)
    judged = evaluate_detector(detectors["cnn"], few, few, few, rate=5.0)
    assert judged.threshold == 0.5
    assert judged.final is not None


@pytest.mark.parametrize("key", ["matched_filter", "predecessor", "laplacian"])
def test_baseline_thresholds_are_chosen_on_val(detectors, data, key):
    one, test = replace(detectors[key], score_final=None), easy_subframes(2, seed=6)
    on_val = one.score(data)
    one = replace(one, score=lambda some: on_val if some is data else detectors[key].score(some))
    strict, lenient = (evaluate_detector(one, data, test, data, rate) for rate in (5.0, 2000.0))
    assert false_per_100(on_val.matches, strict.threshold, len(data)) <= 5.0
    assert false_per_100(on_val.matches, lenient.threshold, len(data)) <= 2000.0
    assert strict.threshold >= lenient.threshold
    assert len(strict.test.scores) == 2
    assert strict.final is None


def test_bright_blobs_are_found_by_all_detectors_with_positions(detectors, data):
    bright = data.blobs["snr"] > 22
    assert bright.sum() > 5
    for key in ("cnn", "matched_filter", "laplacian"):
        matches = detectors[key].score(data).matches
        assert (matches.hit[bright] > 0).mean() > 0.9, key
        assert np.nanmedian(matches.error) < 2.5, key
