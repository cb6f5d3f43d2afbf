"""The detectors side by side."""

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


def test_four_are_compared_and_each_is_named_once(detectors):
    assert list(detectors) == ["cnn", "matched_filter", "predecessor", "laplacian"]
    assert len({one.name for one in detectors.values()}) == 4


def test_what_each_can_say(detectors):
    assert [key for key, one in detectors.items() if one.calibrated] == ["cnn", "predecessor"]
    assert [key for key, one in detectors.items() if not one.has_positions] == ["predecessor"]
    assert [key for key, one in detectors.items() if one.score_final] == ["cnn", "matched_filter"]


def test_a_served_model_keeps_its_threshold(detectors, val):
    judged = evaluate_detector(detectors["cnn"], val, val, val, rate=5.0)
    assert judged.threshold == 0.5
    assert judged.final is not None


@pytest.mark.parametrize("key", ["matched_filter", "predecessor", "laplacian"])
def test_the_others_are_set_on_val_for_the_rate(detectors, val, key):
    one, test = replace(detectors[key], score_final=None), easy_subframes(2, seed=6)
    on_val = one.score(val)
    one = replace(one, score=lambda data: on_val if data is val else detectors[key].score(data))
    strict, lenient = (evaluate_detector(one, val, test, val, rate) for rate in (5.0, 2000.0))
    assert false_per_100(on_val.matches, strict.threshold, len(val)) <= 5.0
    assert false_per_100(on_val.matches, lenient.threshold, len(val)) <= 2000.0
    assert strict.threshold >= lenient.threshold
    assert len(strict.test.scores) == 2
    assert strict.final is None


def test_loud_blobs_are_found_by_all_that_say_where(detectors, val):
    loud = val.blobs["snr"] > 22
    for key in ("cnn", "matched_filter", "laplacian"):
        matches = detectors[key].score(val).matches
        assert (matches.hit[loud] > 0).mean() > 0.9, key
        assert np.nanmedian(matches.error) < 2.5, key
