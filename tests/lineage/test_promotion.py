import json
import shutil

import pytest
from lineage.project import MLFLOW_WARNING, Project, make_project

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage import promotion, registry
from blobwatch.lineage.fingerprint import commit_of, fingerprint_of
from blobwatch.lineage.promotion import ensure_champion, promote
from blobwatch.lineage.recording import record_evaluation
from blobwatch.lineage.store import open_store

pytestmark = pytest.mark.filterwarnings(MLFLOW_WARNING)


def register(project: Project, weights: str | None = None) -> int:
    if weights:
        project.train(weights)
        project.evaluate()
    store, model = open_store(project.root), Model.load(project.candidate)
    run_id, _ = record_evaluation(project.root, project.candidate, project.reports)
    commit = commit_of(project.root, fingerprint_of(model))
    return int(registry.register(store, model, run_id, commit, promotion.next_number(project.root)).version)


def alias(project: Project) -> int | None:
    return registry.alias_of(open_store(project.root), "champion")


def champion(project: Project) -> str:
    return (project.root / "models/champion/model.onnx").read_text()


def cut_short(project, monkeypatch, version, where):
    """Promote, and die at a certain step."""

    def die(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*where, die)
        with pytest.raises(KeyboardInterrupt):
            promote(project.root, version, "good")


def fresh_clone(project: Project, to, blank_database) -> Project:
    """What git brings: sources, champion and log; no data, no candidate, no store."""
    project.commit()
    project.git("clone", "--quiet", str(project.root), str(to))
    shutil.copyfile(blank_database, to / "mlflow.db")
    return Project(to)


def test_promote_writes_champion_log_and_alias(project):
    promote(project.root, register(project), "the first")
    assert champion(project) == "onnx one"
    (line,) = project.lines()
    deployed = json.loads((project.root / "models/champion/deployed.json").read_text())
    known = {"name": "blobwatch", "version": 1, "run_id": line["run_id"]}
    assert deployed == known | {"manifest_sha256": line["files"]["manifest.json"]}
    assert line["files"] == Model.load(project.root / "models/champion").files
    assert line["commit"] == project.git("rev-parse", "HEAD")
    assert line["metrics"]["subframes.auc"] == 0.98
    assert line["data"] == Model.load(project.candidate).manifest["data"]
    assert (line["action"], line["reason"], line["previous"]) == ("promote", "the first", "")
    assert alias(project) == 1


def test_a_second_promotion_continues_the_chain(project):
    promote(project.root, register(project), "the first")
    promote(project.root, register(project, "two"), "better")
    assert [line["version"] for line in project.lines()] == [1, 2]
    assert champion(project) == "onnx two"
    assert alias(project) == 2


@pytest.mark.parametrize(
    "where", [(promotion, "write_champion"), (registry, "write_deployable"), (registry, "set_alias")]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_promotion_that_was_cut_short_is_finished(project, monkeypatch, where, first):
    version = register(project)
    if not first:
        promote(project.root, version, "the first")
        version = register(project, "two")
    cut_short(project, monkeypatch, version, where)
    model, number = ensure_champion(project.root, open_store(project.root))
    assert number == version == alias(project)
    assert champion(project) == ("onnx one" if first else "onnx two")
    assert model.files == project.lines()[-1]["files"]
    assert len(project.lines()) == version


def test_a_kill_between_the_two_folders_is_mended(project):
    promote(project.root, register(project), "the first")
    promote(project.root, register(project, "two"), "better")
    shutil.rmtree(project.root / "models/champion")
    ensure_champion(project.root, open_store(project.root))
    assert champion(project) == "onnx two"


def test_a_kill_before_the_line_changes_nothing(project, monkeypatch):
    version = register(project)
    cut_short(project, monkeypatch, version, (promotion.promotions, "write_text"))
    assert project.lines() == []
    assert ensure_champion(project.root, open_store(project.root)) is None


def test_a_fresh_clone_is_given_the_champion_under_its_number(project, tmp_path, blank_database):
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
    assert run.data.tags["blobwatch.rebuilt"] == "true"
    assert run.data.tags["blobwatch.fingerprint"] == fingerprint_of(model).sha256
    assert promotion.next_number(clone.root) == 3


def test_a_number_that_another_model_has_in_the_log_is_refused(project, tmp_path, blank_database):
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


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda folder: (folder / "model.onnx").write_text("evil"), "sha256 differs"),
        (lambda folder: (folder.parent / "promotions.jsonl").unlink(), "knows of no promotion"),
        (lambda folder: (folder.parent / "promotions.jsonl").write_text("{}\n"), "line 1 lacks"),
    ],
)
def test_a_champion_that_is_not_that_of_the_log_is_refused(project, break_it, sentence):
    promote(project.root, register(project), "good")
    break_it(project.root / "models/champion")
    with pytest.raises(BlobwatchError, match=sentence):
        ensure_champion(project.root, open_store(project.root))


def test_a_swapped_champion_is_refused(project):
    promote(project.root, register(project), "good")
    project.train("two")
    shutil.copytree(project.candidate, project.root / "models/champion", dirs_exist_ok=True)
    with pytest.raises(BlobwatchError, match="is not the one that was deployed"):
        ensure_champion(project.root, open_store(project.root))
    (project.root / "models/champion/deployed.json").unlink()
    with pytest.raises(BlobwatchError, match="is not version 1"):
        ensure_champion(project.root, open_store(project.root))
    assert champion(project) == "onnx two"


def test_an_alias_that_was_moved_by_hand_is_set_back(project):
    promote(project.root, register(project), "good")
    registry.set_alias(open_store(project.root), "champion", register(project, "two"))
    ensure_champion(project.root, open_store(project.root))
    assert alias(project) == 1


def test_a_worktree_neither_promotes_nor_moves_the_alias(project, tmp_path):
    promote(project.root, register(project), "good")
    project.commit()
    project.git("worktree", "add", "--quiet", str(tmp_path / "side"), "-b", "side")
    promote(project.root, register(project, "two"), "better")
    assert ensure_champion(tmp_path / "side", open_store(tmp_path / "side"))[1] == 1
    assert alias(project) == 2
    with pytest.raises(BlobwatchError, match="side checkout"):
        promote(tmp_path / "side", 2, "again")


def test_needs_a_reason_and_a_version_that_is_not_deployed(project):
    version = register(project)
    with pytest.raises(BlobwatchError, match="needs a reason"):
        promote(project.root, version, " ")
    promote(project.root, version, "good")
    with pytest.raises(BlobwatchError, match="champion already"):
        promote(project.root, version, "again")
    with pytest.raises(BlobwatchError, match="no version 9"):
        promote(project.root, 9, "good")
    assert len(project.lines()) == 1


def test_the_record_says_whether_the_inputs_were_committed(project):
    (project.root / "src/pkg/loss.py").write_text("weight = 9\n")
    version = register(project, "two")
    assert registry.get_version(open_store(project.root), version).tags["commit"].endswith("-dirty")
    committed = project.commit()
    promote(project.root, version, "committed since")
    assert project.lines()[-1]["commit"] == committed


def test_without_a_champion_there_is_none(tmp_path, blank_database, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = make_project(tmp_path / "project")
    shutil.copyfile(blank_database, made.root / "mlflow.db")
    assert ensure_champion(made.root, open_store(made.root)) is None
