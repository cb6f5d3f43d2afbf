"""Tests of the compared detectors."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import easy_subframes, random_network, write_model

from blobwatch.artefact import Model
from blobwatch.detector.comparison import evaluate_detector, list_detectors
from blobwatch.detector.metrics import false_per_100


@pytest.fixture(scope="module")
def detectors(box_model, tmp_path_factory):
    old = write_model(
        tmp_path_factory.mktemp("old") / "model", random_network("predecessor"), name="predecessor"
    )
    listed = list_detectors(Model.load(box_model), Model.load(old), radius=6.0, workers=1)
    return {one.key: one for one in listed}


@pytest.fixture(scope="module")
def val():
    return easy_subframes(16, seed=5)


def test_list_detectors_returns_four_unique_detectors(detectors):
    assert list(detectors) == ["cnn", "matched_filter", "predecessor", "laplacian"]
    assert len({one.name for one in detectors.values()}) == 4


def test_properties_of_detectors(detectors):
    assert [key for key, one in detectors.items() if one.calibrated] == ["cnn", "predecessor"]
    assert [key for key, one in detectors.items() if not one.has_positions] == ["predecessor"]
    assert [key for key, one in detectors.items() if one.score_final] == ["cnn", "matched_filter"]


def test_network_keeps_its_deployed_threshold(detectors, val):
    judged = evaluate_detector(detectors["cnn"], val, val, val, rate=5.0)
    assert judged.threshold == 0.5
    assert judged.final is not None


@pytest.mark.parametrize("key", ["matched_filter", "predecessor", "laplacian"])
def test_baseline_thresholds_are_chosen_on_val(detectors, val, key):
    one, test = replace(detectors[key], score_final=None), easy_subframes(2, seed=6)
    on_val = one.score(val)
    one = replace(one, score=lambda data: on_val if data is val else detectors[key].score(data))
    strict, lenient = (evaluate_detector(one, val, test, val, rate) for rate in (5.0, 2000.0))
    assert false_per_100(on_val.matches, strict.threshold, len(val)) <= 5.0
    assert false_per_100(on_val.matches, lenient.threshold, len(val)) <= 2000.0
    assert strict.threshold >= lenient.threshold
    assert len(strict.test.scores) == 2
    assert strict.final is None


def test_bright_blobs_are_found_by_all_detectors_with_positions(detectors, val):
    bright = val.blobs["snr"] > 22
    for key in ("cnn", "matched_filter", "laplacian"):
        matches = detectors[key].score(val).matches
        assert (matches.hit[bright] > 0).mean() > 0.9, key
        assert np.nanmedian(matches.error) < 2.5, key
