"""Comparison of a rebuilt version: outputs per stage, then metrics by interval."""

import pytest
from lineage.project import Project

from blobwatch.lineage.pipeline import LockedStage
from blobwatch.lineage.rebuild import (
    EQUAL,
    Verification,
    compare_environment,
    compare_stages,
    find_disagreements,
)


def locked(project: Project, **outs: dict[str, str]) -> dict[str, LockedStage]:
    names = {"subframes": "data/subframes", "train": "models/candidate"}
    return {stage: LockedStage("", {}, {}, outs.get(stage, {names[stage]: stage})) for stage in names}


@pytest.fixture
def lock(project, monkeypatch):
    """Make the clone's lock record each stage's name as the hash of its output."""
    monkeypatch.setattr("blobwatch.lineage.rebuild.parse_lock", lambda text: locked(project))
    return project


def test_stages_up_to_train_are_compared_in_order(lock):
    assert compare_stages(locked(lock), lock.root) == {"subframes": EQUAL, "train": EQUAL}
    other = compare_stages(locked(lock, train={"models/candidate": "x"}), lock.root)
    assert other == {"subframes": EQUAL, "train": "models/candidate"}
    receipt = {"data/subframes": "subframes", "reports/subframes/fingerprint.json": "of then"}
    assert compare_stages(locked(lock, subframes=receipt), lock.root)["subframes"] == EQUAL
    assert compare_stages({}, lock.root)["train"] == "not in the committed dvc.lock"


def test_first_differing_stage_is_reported():
    stages = {"simulate": EQUAL, "difference": "data/difference", "train": "models/candidate"}
    found = Verification(3, "differs", stages, [], [])
    assert found.first == "difference"
    assert found.as_json()["first"] == "difference"
    assert Verification(3, "equal", {"train": EQUAL}, [], []).first is None


def test_packages_that_differ_from_requirements_lock_are_listed(tmp_path):
    (tmp_path / "requirements.lock").write_text("# made by hand\nnumpy==0.1\nnosuchthing==1.0\n")
    first, second = compare_environment(tmp_path)
    assert first.startswith("numpy ")
    assert first.endswith(", pinned 0.1")
    assert second == "nosuchthing not installed, pinned 1.0"


def interval(value, low, high) -> dict:
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("committed", "found", "agree"),
    [
        (interval(0.9, 0.8, 1.0), interval(0.85, 0.7, 0.95), True),
        (interval(0.9, 0.8, 1.0), interval(0.5, 0.4, 0.6), False),
        (interval(1.0, 1.0, 1.0), interval(0.99, 0.98, 1.0), True),  # all blobs found
        (interval(None, None, None), interval(None, None, None), True),
        (interval(None, None, None), interval(0.5, 0.4, 0.6), False),
    ],
)
def test_metrics_agree_if_one_is_in_the_others_interval(committed, found, agree):
    lines = find_disagreements({"blobs": {"recall": committed}}, {"blobs": {"recall": found}})
    assert (lines == []) is agree
    assert all(line.startswith("blobs.recall: ") for line in lines)


def test_missing_metric_is_reported():
    assert find_disagreements({"auc": interval(1, 1, 1)}, {}) == [".auc: missing from the new metrics"]
