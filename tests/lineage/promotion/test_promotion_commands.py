"""Commands promote and rollback."""

import shutil

import pytest
from lineage.project import MLFLOW_WARNING, alias, champion, fresh_clone, promote, register

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.promotion import commands
from blobwatch.lineage.promotion.commands import rollback
from blobwatch.lineage.promotion.criteria import Check
from blobwatch.lineage.promotion.deployment import ensure_champion
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.store import open_store

pytestmark = [pytest.mark.filterwarnings(MLFLOW_WARNING), pytest.mark.usefixtures("ungated")]


def test_number_of_another_model_in_log_is_rejected(project, tmp_path, blank_database):
    clone = fresh_clone(project, tmp_path / "clone", blank_database)
    shutil.copytree(project.root / "data", clone.root / "data", dirs_exist_ok=True)
    mine = register(clone, "mine")
    promote(project.root, register(project), "theirs")
    project.commit()
    clone.git("pull", "--quiet")
    assert mine == 1
    assert ensure_champion(clone.root, open_store(clone.root))[1] == 2
    with pytest.raises(BlobwatchError, match="version 1 is another model"):
        promote(clone.root, mine, "mine")
    assert len(clone.lines()) == 1


def test_promote_needs_reason_and_undeployed_version(project):
    version = register(project)
    with pytest.raises(BlobwatchError, match="needs a reason"):
        promote(project.root, version, " ")
    promote(project.root, version, "good")
    with pytest.raises(BlobwatchError, match="already the champion"):
        promote(project.root, version, "again")
    with pytest.raises(BlobwatchError, match="version 9 not found"):
        promote(project.root, 9, "good")
    assert len(project.lines()) == 1


def test_record_contains_commit_made_after_training(project):
    (project.root / "src/pkg/loss.py").write_text("weight = 9\n")
    version = register(project, "two")
    assert registry.get_version(open_store(project.root), version).tags["commit"].endswith("-dirty")
    committed = project.commit()
    promote(project.root, version, "committed since")
    assert project.lines()[-1]["commit"] == committed


def test_failed_gates_are_printed_and_block_promotion_without_force(project, monkeypatch, capsys):
    checks = [
        Check("auc", True, "it is good"),
        Check("files", False, "it is another"),
        Check("x", False, "bad"),
    ]
    monkeypatch.setattr(commands, "run_gates", lambda *arguments: checks)
    version = register(project)
    with pytest.raises(BlobwatchError, match=r"fails 2 of 3 gates: it is another; bad\. .*--force"):
        promote(project.root, version, "good")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "promote: ok: it is good" in printed.err
    assert "promote: FAILED: it is another" in printed.err
    assert project.lines() == []
    assert alias(project) is None
    with pytest.raises(BlobwatchError, match="needs a reason"):
        promote(project.root, version, "", force=True)
    promote(project.root, version, "we know better", force=True)
    assert project.lines()[0]["forced"] == ["it is another", "bad"]
    assert champion(project) == "onnx one"


def test_altered_file_in_registry_is_never_promoted(project):
    version = register(project)
    for path in (project.root / "mlartifacts").rglob("model.onnx"):
        path.write_text("evil")
    with pytest.raises(BlobwatchError, match="version 1 cannot be read"):
        promote(project.root, version, "good", force=True)
    assert project.lines() == []


def test_older_version_uses_metrics_of_its_run(project, monkeypatch):
    seen = []

    def run_gates(root, model, metrics, *others):
        seen.append(metrics["blobs"]["position_error"])
        return []

    monkeypatch.setattr(commands, "run_gates", run_gates)
    first = register(project)
    register(project, "two")
    promote(project.root, first, "the older one")
    assert seen == [{"value": 0.8, "low": pytest.approx(0.7), "high": pytest.approx(0.9)}]
    assert project.lines()[0]["metrics"]["blobs.position_error_high"] == pytest.approx(0.9)


def test_rollback_restores_previous_version(project):
    promote(project.root, register(project), "the first")
    promote(project.root, register(project, "two"), "better")
    promote(project.root, register(project, "three"), "better still")
    with pytest.raises(BlobwatchError, match="needs a reason"):
        rollback(project.root, "  ")
    record = rollback(project.root, "it was not")
    assert (record["action"], record["version"], record["reason"]) == ("rollback", 2, "it was not")
    assert champion(project) == "onnx two"
    assert alias(project) == 2
    _, second, _, back = project.lines()
    same = ("version", "run_id", "files", "fingerprint", "commit", "data", "metrics")
    assert {key: back[key] for key in same} == {key: second[key] for key in same}
    rollback(project.root, "nor that")
    assert (alias(project), champion(project)) == (1, "onnx one")
    with pytest.raises(BlobwatchError, match="a rollback is impossible"):
        rollback(project.root, "once more")
    assert len(project.lines()) == 5


@pytest.mark.parametrize("source", ["git", "registry", "nowhere"])
def test_rollback_finds_files_in_git_or_registry(project, tmp_path, blank_database, source):
    promote(project.root, register(project), "the first")
    if source == "git":
        project.commit()
    promote(project.root, register(project, "two"), "better")
    if source != "registry":
        shutil.rmtree(project.root / "mlartifacts")
    log = (project.root / "models/promotions.jsonl").read_bytes()
    if source == "nowhere":
        with pytest.raises(BlobwatchError, match="version 1"):
            rollback(project.root, "worse")
        assert (project.root / "models/promotions.jsonl").read_bytes() == log
        assert champion(project) == "onnx two"
    else:
        rollback(project.root, "worse")
        assert champion(project) == "onnx one"


def test_rollback_to_forced_promotion_keeps_failed_gates(project, monkeypatch):
    monkeypatch.setattr(commands, "run_gates", lambda *arguments: [Check("auc", False, "bad")])
    promote(project.root, register(project), "the first", force=True)
    promote(project.root, register(project, "two"), "the second", force=True)
    assert rollback(project.root, "worse")["forced"] == ["bad"]
