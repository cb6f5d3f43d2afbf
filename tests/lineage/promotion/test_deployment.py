"""Deployment to log, folder and registry, and recovery of interrupted deployments."""

import json
import shutil

import pytest
from lineage.project import (
    MLFLOW_WARNING,
    Project,
    alias,
    champion,
    fresh_clone,
    make_project,
    promote,
    register,
)

from blobwatch.artefact import STAGING, Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage.origin import fingerprint_of
from blobwatch.lineage.promotion import deployment
from blobwatch.lineage.promotion.commands import rollback
from blobwatch.lineage.promotion.deployment import ensure_champion, lock_deployment, recover
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.snapshot import read_registry
from blobwatch.lineage.tracking.store import open_store

pytestmark = [pytest.mark.filterwarnings(MLFLOW_WARNING), pytest.mark.usefixtures("ungated")]


def interrupt_promotion(project, monkeypatch, version, where):
    """Promote, and raise KeyboardInterrupt in a step of the deployment."""
    original = getattr(*where)

    def die(*arguments):
        if (project.root / STAGING).exists():
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(*where, die)
        with pytest.raises(KeyboardInterrupt):
            promote(project.root, version, "good")


def test_promote_writes_champion_log_and_alias(project):
    promote(project.root, register(project), "the first")
    assert champion(project) == "onnx one"
    (line,) = project.lines()
    deployed = json.loads((project.root / "models/champion/deployed.json").read_text())
    known = {"name": "blobwatch", "version": 1, "run_id": line["run_id"]}
    known |= {"promotion": project.line_hashes()[0], "manifest_sha256": line["files"]["manifest.json"]}
    assert deployed == known
    assert line["files"] == Model.load(project.root / "models/champion").files
    assert line["commit"] == project.git("rev-parse", "HEAD")
    assert line["metrics"]["subframes.auc"] == 0.98
    assert line["metrics"]["subframes.auc_low"] == pytest.approx(0.88)
    assert line["data"] == Model.load(project.candidate).manifest["data"]
    assert (line["action"], line["reason"], line["previous"]) == ("promote", "the first", "")
    assert "forced" not in line
    assert alias(project) == 1
    tags = registry.get_version(open_store(project.root), 1).tags
    assert (tags["promotion"], tags["promoted_by"]) == (known["promotion"], line["who"])
    assert not (project.root / STAGING).exists()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("where", "deployed"),
    [
        ((registry, "write_deployable"), False),
        ((deployment.promotion_log, "append"), False),
        ((deployment, "install_champion"), True),
        ((deployment, "update_registry"), True),
        ((registry, "set_champion"), True),
    ],
)
def test_interrupted_promotion_is_completed_or_removed(project, monkeypatch, where, deployed, first):
    version = register(project)
    if not first:
        promote(project.root, version, "the first")
        version = register(project, "two")
    interrupt_promotion(project, monkeypatch, version, where)
    assert (project.root / STAGING).exists()
    recover(project.root)
    assert not (project.root / STAGING).exists()
    expected = version if deployed else version - 1
    assert len(project.lines()) == expected
    if expected:
        assert expected == alias(project)
        assert champion(project) == ("onnx one" if expected == 1 else "onnx two")
    else:
        assert not (project.root / "models/champion").exists()
    assert "blobwatch-promotion" not in registered_models(project)


def registered_models(project) -> list[str]:
    return [model.name for model in open_store(project.root).client.search_registered_models()]


def test_removed_champion_is_restored(project):
    promote(project.root, register(project), "the first")
    promote(project.root, register(project, "two"), "better")
    project.commit()
    shutil.rmtree(project.root / "models/champion")
    project.train("three")  # git still has the champion
    ensure_champion(project.root, open_store(project.root))
    assert champion(project) == "onnx two"


def test_fresh_clone_registers_champion_with_its_number(project, tmp_path, blank_database):
    register(project)
    promote(project.root, register(project, "two"), "good")
    trained = project.lines()[-1]["commit"]
    clone = fresh_clone(project, tmp_path / "clone", blank_database)
    store = open_store(clone.root)
    for _ in "12":
        model, number = ensure_champion(clone.root, store)
        assert number == 2 == alias(clone)
        assert [int(one.version) for one in registry.versions(store)] == [2]
    version = registry.get_version(store, 2)
    run = store.client.get_run(version.run_id)
    assert version.tags["commit"] == trained == run.data.tags["mlflow.source.git.commit"]
    assert run.data.tags["blobwatch.rebuilt"] == "rebuilt from git"
    assert run.data.tags["blobwatch.fingerprint"] == fingerprint_of(model).sha256
    assert deployment.next_number(clone.root) == 3


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda folder: (folder / "model.onnx").write_text("evil"), "not the file that manifest.json names"),
        (lambda folder: (folder.parent / "promotions.jsonl").unlink(), "contains no promotion"),
        (lambda folder: (folder.parent / "promotions.jsonl").write_text("{}\n"), "line 1 lacks"),
    ],
)
def test_champion_that_differs_from_log_is_rejected(project, break_it, sentence):
    promote(project.root, register(project), "good")
    break_it(project.root / "models/champion")
    with pytest.raises(BlobwatchError, match=sentence):
        ensure_champion(project.root, open_store(project.root))


def test_swapped_champion_is_rejected(project):
    promote(project.root, register(project), "good")
    project.train("two")
    shutil.copytree(project.candidate, project.root / "models/champion", dirs_exist_ok=True)
    with pytest.raises(BlobwatchError, match="is not the one that was deployed"):
        ensure_champion(project.root, open_store(project.root))
    (project.root / "models/champion/deployed.json").unlink()
    with pytest.raises(BlobwatchError, match="is not version 1"):
        ensure_champion(project.root, open_store(project.root))
    assert champion(project) == "onnx two"


def test_manually_moved_alias_is_corrected(project):
    promote(project.root, register(project), "good")
    registry.set_alias(open_store(project.root), "champion", register(project, "two"))
    ensure_champion(project.root, open_store(project.root))
    assert alias(project) == 1


def test_worktree_neither_promotes_nor_moves_alias(project, tmp_path):
    promote(project.root, register(project), "good")
    project.commit()
    project.git("worktree", "add", "--quiet", str(tmp_path / "side"), "-b", "side")
    promote(project.root, register(project, "two"), "better")
    assert ensure_champion(tmp_path / "side", open_store(tmp_path / "side"))[1] == 1
    assert alias(project) == 2
    for verb in (lambda root: promote(root, 2, "again"), lambda root: rollback(root, "again")):
        with pytest.raises(BlobwatchError, match="side checkout"):
            verb(tmp_path / "side")


def test_outdated_clone_neither_promotes_nor_moves_alias(project, tmp_path, monkeypatch):
    """Two clones share one registry."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root / 'mlflow.db'}")
    promote(project.root, register(project), "the first")
    project.commit()
    project.git("clone", "--quiet", str(project.root), str(tmp_path / "clone"))
    promote(project.root, register(project, "two"), "better")
    behind = Project(tmp_path / "clone")
    ensure_champion(behind.root, open_store(behind.root))
    assert alias(project) == 2
    third = register(project, "three")
    before = (behind.root / "models/promotions.jsonl").read_bytes()
    with pytest.raises(BlobwatchError, match=r"made version 2 the champion, .* Run `git pull` and compare"):
        promote(behind.root, third, "mine")
    assert (behind.root / "models/promotions.jsonl").read_bytes() == before
    assert champion(behind) == "onnx one"
    assert alias(project) == 2
    project.commit()
    behind.git("pull", "--quiet")
    promote(behind.root, third, "mine, on top of theirs")
    assert alias(project) == 3


def test_registry_lock_of_another_checkout_blocks_promotion(project):
    version, store = register(project), open_store(project.root)
    lock = registry.claim_registry(store, "elsewhere:/home/anna/blobwatch", "Anna")
    with lock, pytest.raises(BlobwatchError, match=r"Anna promotes in elsewhere:/home/anna/blobwatch since"):
        promote(project.root, version, "mine")
    assert project.lines() == []
    promote(project.root, version, "mine")
    assert len(project.lines()) == 1


def test_concurrent_promotion_in_same_folder_fails(project):
    version = register(project)
    with (
        lock_deployment(project.root),
        pytest.raises(BlobwatchError, match="another promotion is running in this folder"),
    ):
        promote(project.root, version, "mine")
    assert project.lines() == []


def test_project_without_champion_returns_none(tmp_path, blank_database, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = make_project(tmp_path / "project")
    shutil.copyfile(blank_database, made.root / "mlflow.db")
    assert ensure_champion(made.root, open_store(made.root)) is None


def test_snapshot_equals_mlflow(project):
    promote(project.root, register(project), "good")
    registry.set_alias(open_store(project.root), "challenger", register(project, "two"))
    store, seen = open_store(project.root), read_registry(project.root)
    assert seen.aliases == {"champion": 1, "challenger": 2}
    for version in registry.versions(store):
        mirrored = seen.versions[int(version.version)]
        assert (mirrored.run_id, mirrored.source) == (version.run_id, version.source)
        assert mirrored.tags == dict(version.tags)
        run = store.client.get_run(version.run_id)
        assert seen.runs[version.run_id].fingerprint == run.data.tags["blobwatch.fingerprint"]
        assert seen.runs[version.run_id].metrics == run.data.metrics
        assert not seen.runs[version.run_id].deleted
    store.client.delete_run(version.run_id)
    store.client.delete_model_version("blobwatch", "2")
    seen = read_registry(project.root)
    assert seen.runs[version.run_id].deleted
    assert list(seen.versions) == [1]


def test_read_registry_creates_no_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = make_project(tmp_path / "project")
    with pytest.raises(BlobwatchError, match=r"MLflow store not found. Run `blobwatch sync`"):
        read_registry(made.root)
    assert not (made.root / "mlflow.db").exists()
    (made.root / "mlflow.db").write_text("no database")
    with pytest.raises(BlobwatchError, match="the MLflow store does not answer"):
        read_registry(made.root)
