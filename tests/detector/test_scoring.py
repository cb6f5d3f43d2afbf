"""Tests of the scoring of data sets."""

import numpy as np
import pytest
from synthetic import easy_subframes

from blobwatch.artefact import Model
from blobwatch.detector.baselines import find_by_filter
from blobwatch.detector.scoring import match_detections, score_classical, score_model
from blobwatch.images.peaks import Peaks


@pytest.fixture(scope="module")
def data():
    return easy_subframes(24, seed=3)


@pytest.fixture(scope="module")
def scored(data, box_model):
    return score_model(Model.load(box_model), data, 6.0)


def test_bright_blobs_are_found_at_their_positions(data, scored):
    bright = data.blobs["snr"] > 20
    assert bright.sum() > 5
    assert (scored.matches.hit[bright] > 0.5).mean() > 0.9
    assert np.nanmedian(scored.matches.error) < 2.5
    assert (scored.scores[data.labels == 0] < 0.5).all()
    assert (data.labels[scored.matches.false_subframe] == 1).all()  # shoulders of large blobs


def test_score_is_the_probability_of_the_best_peak(scored):
    for score, peaks in zip(scored.scores, scored.found, strict=True):
        best = peaks.probability[0] if len(peaks) else 0.0
        assert score == pytest.approx(best, abs=0.02)


def test_scores_do_not_depend_on_batch_size(data, scored, box_model):
    again = score_model(Model.load(box_model), data, 6.0, batch=5)
    np.testing.assert_allclose(again.scores, scored.scores, atol=1e-6)


def test_scores_do_not_depend_on_number_of_processes(data, scored):
    one, two = (score_classical(find_by_filter, data, 6.0, "matched filters", n) for n in (1, 2))
    np.testing.assert_array_equal(one.scores, two.scores)
    np.testing.assert_array_equal(one.matches.hit, two.matches.hit)


def test_match_without_positions_requires_only_the_subframe(data):
    found = [
        Peaks(np.array([127.5]), np.array([127.5]), np.array([0.9])) if label else Peaks(*np.empty((3, 0)))
        for label in data.labels
    ]
    assert len(match_detections(data, found, 6.0, stride=256).false) == 0
    assert len(match_detections(data, found, 6.0, stride=4).false) > 5
