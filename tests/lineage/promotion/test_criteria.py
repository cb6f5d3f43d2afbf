import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.promotion.criteria import ModelScores, check_floors, check_not_worse

FIGURES = {"auc": 0.9, "recall_above_15": 0.97, "recall_10_to_15": 0.95, "snr_at_half": 7.5}
FIGURES |= {"false_per_100": 10.0, "position_error": 2.0}
FIGURES |= {"worst_snr_at_half": 8.0, "worst_false_per_100": 5.0, "worst_recall_above_15": 0.95}
LIMITS = FIGURES | {"tolerance": 0.0}


def metrics(**changed):
    values = FIGURES | changed
    return {
        "subframes": {"auc": {"value": values["auc"]}},
        "blobs": {name: {"value": value} for name, value in values.items() if name != "auc"},
        "robustness": {name: {"value": value} for name, value in values.items() if name.startswith("worst")}
        | {"worst_sets": {"snr_at_half": "bad_pixels"}},
    }


def test_values_equal_to_limits_pass():
    assert all(check.passed for check in check_floors(metrics(), LIMITS))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auc", 0.899),
        ("recall_above_15", 0.96),
        ("recall_10_to_15", 0.94),
        ("snr_at_half", 7.51),
        ("false_per_100", 10.1),
        ("position_error", 2.01),
        ("worst_snr_at_half", 8.01),
        ("worst_false_per_100", 5.1),
        ("worst_recall_above_15", 0.94),
    ],
)
def test_each_limit_fails_separately(name, value):
    failed = [check for check in check_floors(metrics(**{name: value}), LIMITS) if not check.passed]
    assert [check.name for check in failed] == [name]
    assert f"{value:.4g}" in failed[0].sentence


def test_message_names_worst_robustness_set():
    (failed,) = [one for one in check_floors(metrics(worst_snr_at_half=9.0), LIMITS) if not one.passed]
    assert failed.sentence == "SNR at half in the worst robustness set (bad pixels) is 9; at most 8 required"


@pytest.mark.parametrize("value", [None, float("nan")])
def test_missing_value_fails(value):
    failed = [check for check in check_floors(metrics(position_error=value), LIMITS) if not check.passed]
    assert [(check.name, check.value) for check in failed] == [("position_error", None)]


def test_absent_metric_raises():
    with pytest.raises(BlobwatchError, match=r"no blobs\.recall_above_15"):
        check_floors({"subframes": {"auc": {"value": 1.0}}, "blobs": {}}, LIMITS)


def noisy_scores(noise: float, seed: int, labels: np.ndarray) -> np.ndarray:
    return labels + noise * np.random.default_rng(seed).normal(size=len(labels))


LABELS = np.arange(400) % 2
ROOTNAMES = np.array([f"izzz{index // 4:04d}q" for index in range(400)])


def make_scores(scores, rootnames=ROOTNAMES, found=np.ones(0, dtype=bool), labels=LABELS):  # noqa: B008
    return ModelScores(labels, rootnames, scores, found, rootnames[: len(found)])


def compare(champion, candidate, tolerance=0.0, rootnames=ROOTNAMES, seed=0):
    (check,) = check_not_worse(
        make_scores(champion, rootnames), make_scores(candidate, rootnames), tolerance, 0.95, 300, seed
    )
    return check


@pytest.mark.parametrize(("lost", "passed"), [(0, True), (1, True), (30, False)])
def test_recall_is_compared_separately(lost, passed):
    """Compare models of equal scores, where the candidate misses some of 200 blobs."""
    scores, all_found = noisy_scores(0.5, 1, LABELS), np.ones(200, dtype=bool)
    missing = np.arange(200) >= lost * 6
    champion, candidate = make_scores(scores, found=all_found), make_scores(scores, found=missing)
    auc, recall = check_not_worse(champion, candidate, 0.01, 0.95, 300, seed=0)
    assert (auc.passed, auc.value) == (True, 0)
    assert recall.passed is passed
    assert recall.value == pytest.approx(-lost * 6 / 200)
    assert "recall above SNR 10" in recall.sentence


@pytest.mark.parametrize(
    ("noise", "tolerance", "passed"),
    [(0.01, 0.0, True), (1.5, 0.0, False), (1.5, 0.5, True), (0.4, 0.01, False)],
)
def test_not_worse(noise, tolerance, passed):
    champion = noisy_scores(0.5, 1, LABELS)
    candidate = champion + noise * np.random.default_rng(2).normal(size=len(LABELS))
    check = compare(champion, candidate, tolerance)
    assert check.passed is passed
    expected = roc_auc_score(LABELS, candidate) - roc_auc_score(LABELS, champion)
    assert check.value == pytest.approx(expected)


def test_equal_seeds_give_equal_checks():
    scores = noisy_scores(0.5, 1, LABELS), noisy_scores(0.6, 2, LABELS)
    assert compare(*scores, seed=3) == compare(*scores, seed=3)
    assert compare(*scores, seed=3) != compare(*scores, seed=4)


def test_one_bad_exposure_is_not_significant():
    champion = noisy_scores(0.01, 1, LABELS)
    whole = np.array([f"izzz{index // 40:04d}q" for index in range(400)])
    candidate = np.where(whole == whole[0], -champion, champion)
    assert compare(champion, candidate, rootnames=whole).passed
    assert not compare(champion, candidate, rootnames=np.arange(400)).passed


def test_one_class_or_unequal_lengths_raise():
    one = make_scores(np.ones(9), ROOTNAMES[:9], labels=np.ones(9))
    with pytest.raises(BlobwatchError, match="both classes"):
        check_not_worse(one, one, 0.0, 0.95, 100, 0)
    with pytest.raises(BlobwatchError, match="different subframes"):
        check_not_worse(make_scores(np.ones(400)), one, 0.0, 0.95, 100, 0)
