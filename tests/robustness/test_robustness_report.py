"""Tests of the detectors on the robustness sets and of the report."""

import numpy as np
import pytest
from synthetic import random_network, write_model

from blobwatch.detector.baselines import find_by_filter, score_from_snr
from blobwatch.detector.metrics import Bootstrap
from blobwatch.images.peaks import Peaks
from blobwatch.images.preparation import prepare_frame
from blobwatch.images.tiling import tiles
from blobwatch.predict import Predictor
from blobwatch.robustness import frames, search
from blobwatch.robustness.detectors import Finder, FinderResult, filter_finder, model_finder
from blobwatch.robustness.frames import BLOB, draw_frame
from blobwatch.robustness.report import LIMIT, WORST, report_set, report_sets, to_rows, worst_set
from blobwatch.robustness.search import SearchedFrame, join_frames, search_sets

DRAW = Bootstrap(50, 0.95, 1)
SNR = np.array([4.0, 6.0, 8.0, 12.0, 20.0, 30.0])


def found_at(x, y, probability: float = 0.9) -> FinderResult:
    """Return the result of a detector with detections at these positions."""
    x, y = np.atleast_1d(np.asarray(x, dtype=float)), np.atleast_1d(np.asarray(y, dtype=float))
    scores = [float(any(tile.contains(*place) for place in zip(x, y, strict=True))) for tile in tiles()]
    return FinderResult(Peaks(x, y, np.full(len(x), probability)), probability * np.array(scores))


def frame_with(found: FinderResult | None, blobs: bool = True) -> SearchedFrame:
    """Return a frame with a blob of each SNR, 150 px apart, or an empty one."""
    table = np.zeros(len(SNR) if blobs else 0, dtype=BLOB)
    if blobs:
        table["x"], table["y"], table["snr"] = 100 + 150 * np.arange(6), 500, SNR
    limit = 1 / (1 + np.exp(-3 * (table["snr"] - 5.0)))
    return SearchedFrame(table, limit, {"cnn": found} if found else {})


def figures(*searched: SearchedFrame, threshold: float = 0.5) -> dict:
    return report_set({"cnn": (threshold, True)}, 6.0, DRAW, join_frames(list(searched)))


NOTHING = found_at([], [])
STRONG = found_at(100 + 150 * np.arange(2, 6) + 1.5, np.full(4, 500.0))  # from SNR 8, 1.5 px off


def test_report_set_contains_recall_position_error_and_ratio():
    report = figures(*[frame_with(STRONG)] * 4, *[frame_with(NOTHING, blobs=False)] * 4)
    mine = report["cnn"]
    assert [mine[f"recall_{part}"]["value"] for part in
            ("3_to_5", "5_to_7", "7_to_10", "10_to_15", "above_15")] == [0, 0, 1, 1, 1]  # fmt: skip
    assert 6.0 < mine["snr_at_half"]["value"] < 8.0
    assert 4.0 < report[LIMIT]["snr_at_half"]["value"] < 6.0
    expected = mine["snr_at_half"]["value"] / report[LIMIT]["snr_at_half"]["value"]
    assert mine["ratio_to_limit"]["value"] == pytest.approx(expected)
    assert mine["position_error"]["value"] == pytest.approx(1.5)
    assert mine["false_per_100"]["value"] == 0
    assert 0.5 < mine["auc_5_to_30"]["value"] < 1.0
    for value in (*mine.values(), *report[LIMIT].values()):
        assert set(value) == {"value", "low", "high"}


def test_detections_below_threshold_are_ignored():
    mine = figures(*[frame_with(STRONG)] * 2, frame_with(found_at(5, 5), blobs=False), threshold=0.95)["cnn"]
    assert mine["recall_above_15"]["value"] == 0
    assert mine["false_per_100"]["value"] == 0
    assert mine["false_subframes_per_100"]["value"] == 0


def test_false_and_displaced_blobs_are_counted_separately():
    far, beside = found_at(400, 900), found_at(100 + 10, 500)
    mine = figures(frame_with(far), frame_with(beside), *[frame_with(far, blobs=False)] * 2)["cnn"]
    assert mine["false_per_100"]["value"] == pytest.approx(75.0)
    assert mine["displaced_per_100_blobs"]["value"] == pytest.approx(100 / 12)
    assert mine["false_subframes_per_100"]["value"] == pytest.approx(100.0)


def test_unsearched_frames_are_ignored():
    far = found_at(400, 900)
    some = [frame_with(STRONG), frame_with(far, blobs=False), frame_with(None, blobs=False)]
    mine = figures(*some)["cnn"]
    assert mine["false_per_100"]["value"] == pytest.approx(50.0)
    assert mine["false_subframes_per_100"]["value"] == pytest.approx(100.0)
    assert np.isfinite(mine["auc_5_to_30"]["value"])


def test_worst_set_includes_nan():
    def of(snr: float, recall: float) -> dict:
        return {"cnn": {"snr_at_half": {"value": snr}, "recall_above_15": {"value": recall}}}

    sets = {"one": of(6.0, 0.9), "two": of(7.0, 0.95)}
    assert worst_set(sets, "cnn", "snr_at_half") == "two"
    assert worst_set(sets, "cnn", "recall_above_15") == "one"
    assert worst_set(sets | {"three": of(float("nan"), 1.0)}, "cnn", "snr_at_half") == "three"


@pytest.fixture
def two_sets(monkeypatch):
    """Use only two sets to save time."""
    few = {name: frames.SETS[name] for name in ("white_noise", "bad_pixels")}
    monkeypatch.setattr(frames, "SETS", few)
    monkeypatch.setattr(search, "SETS", few)


def test_report_of_all_detectors_on_drawn_frames(two_sets, tmp_path):
    model = write_model(tmp_path / "model")
    old = write_model(tmp_path / "old", random_network("predecessor"), name="predecessor")
    finders = {"cnn": model_finder(model, 0.5), "matched_filter": filter_finder(float(score_from_snr(6.0)))}
    finders["predecessor"] = model_finder(old, 0.5)
    searched = search_sets(finders, 2, 5.0, seed=1)
    assert len(searched["white_noise"].truth) == 8
    report = report_sets(searched, finders, "cnn", 6.0, DRAW)
    assert set(report["sets"]) == {"white_noise", "bad_pixels"}
    assert set(report["worst_sets"]) == set(WORST)
    for name, worst in report["worst_sets"].items():
        assert report[f"worst_{name}"] == report["sets"][worst]["cnn"][name]
    white = report["sets"]["white_noise"]
    assert white["matched_filter"]["recall_above_15"]["value"] > 0.8  # it finds the rims of large rings
    assert white["matched_filter"]["false_per_100"]["value"] == 0
    assert 4.3 < white[LIMIT]["snr_at_half"]["value"] < 5.5
    assert set(white["predecessor"]) == {"auc_5_to_30", "false_subframes_per_100"}
    rows = to_rows(report, {key: key for key in (*finders, LIMIT)})
    assert {row["detector"] for row in rows} == {*finders, LIMIT}
    assert set(rows[0]) == {"set", "detector", "figure", "value", "low", "high"}


def test_model_finder_agrees_with_predictor(tmp_path):
    folder = write_model(tmp_path / "model")
    image = draw_frame("all_together", np.random.default_rng(2), 24).image
    served = Predictor.load(folder)(image)
    finder = model_finder(folder, served.threshold)
    found = finder.find(image)
    above = found.peaks.probability >= finder.threshold
    assert above.sum() == len(served.blobs) > 0
    np.testing.assert_allclose(found.peaks.x[above], [blob.x for blob in served.blobs], atol=2.0)  # fitted
    np.testing.assert_allclose(found.scores, served.probabilities, atol=0.03)


def test_filter_finder_agrees_with_find_by_filter():
    image = draw_frame("white_noise", np.random.default_rng(2), 24).image
    found = filter_finder(0.3).find(image)
    peaks, score = find_by_filter(prepare_frame(image).scaled)
    np.testing.assert_array_equal(found.peaks.x, peaks.x)
    assert found.scores.max() == pytest.approx(score)


def test_slow_finders_search_fewer_empty_frames(two_sets):
    calls = {"quick": 0, "slow": 0}

    def counting(name: str):
        def find(image: np.ndarray) -> FinderResult:
            calls[name] += 1
            return NOTHING

        return find

    finders = {"quick": Finder(counting("quick"), 0.5), "slow": Finder(counting("slow"), 0.5, every=3)}
    search_sets(finders, 1, 5.0, seed=1)
    assert calls == {"quick": 2 * 4, "slow": 2 * 2}
