"""What a rebuilt version is compared by: outputs stage by stage, then metrics by their intervals."""

import pytest
from lineage.project import Project

from blobwatch.lineage.pipeline import Locked
from blobwatch.lineage.rebuild import EQUAL, Verification, compare_stages, environment, outside


def locked(project: Project, **outs: dict[str, str]) -> dict[str, Locked]:
    names = {"subframes": "data/subframes", "train": "models/candidate"}
    return {stage: Locked("", {}, {}, outs.get(stage, {names[stage]: stage})) for stage in names}


@pytest.fixture
def lock(project, monkeypatch):
    """The clone's lock is as if each output had its stage's name for a hash."""
    monkeypatch.setattr("blobwatch.lineage.rebuild.parse_lock", lambda text: locked(project))
    return project


def test_each_stage_up_to_the_training_is_compared_in_order(lock):
    assert compare_stages(locked(lock), lock.root) == {"subframes": EQUAL, "train": EQUAL}
    other = compare_stages(locked(lock, train={"models/candidate": "x"}), lock.root)
    assert other == {"subframes": EQUAL, "train": "models/candidate"}
    receipt = {"data/subframes": "subframes", "reports/subframes/fingerprint.json": "of then"}
    assert compare_stages(locked(lock, subframes=receipt), lock.root)["subframes"] == EQUAL
    assert compare_stages({}, lock.root)["train"] == "not in the committed dvc.lock"


def test_the_first_stage_that_differs_is_named():
    stages = {"simulate": EQUAL, "difference": "data/difference", "train": "models/candidate"}
    found = Verification(3, "differs", stages, [], [])
    assert found.first == "difference"
    assert found.as_json()["first"] == "difference"
    assert Verification(3, "equal", {"train": EQUAL}, [], []).first is None


def test_packages_that_are_not_those_of_the_commit_are_named(tmp_path):
    (tmp_path / "requirements.lock").write_text("# made by hand\nnumpy==0.1\nnosuchthing==1.0\n")
    first, second = environment(tmp_path)
    assert first.startswith("numpy ")
    assert first.endswith(", then 0.1")
    assert second == "nosuchthing absent, then 1.0"


def interval(value, low, high) -> dict:
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("committed", "found", "agree"),
    [
        (interval(0.9, 0.8, 1.0), interval(0.85, 0.7, 0.95), True),
        (interval(0.9, 0.8, 1.0), interval(0.5, 0.4, 0.6), False),
        (
            interval(1.0, 1.0, 1.0),
            interval(0.99, 0.98, 1.0),
            True,
        ),  # all found
        (interval(None, None, None), interval(None, None, None), True),
        (interval(None, None, None), interval(0.5, 0.4, 0.6), False),
    ],
)
def test_metrics_agree_where_one_lies_in_the_others_interval(committed, found, agree):
    said = outside({"blobs": {"recall": committed}}, {"blobs": {"recall": found}})
    assert (said == []) is agree
    assert all(line.startswith("blobs.recall: ") for line in said)


def test_a_metric_that_is_gone_does_not_agree():
    assert outside({"auc": interval(1, 1, 1)}, {}) == [".auc: is not in the new metrics"]
