import shutil

import pytest
from lineage.project import MLFLOW_WARNING, Project, fresh_clone, promote, register

from blobwatch.artefact import Model
from blobwatch.lineage.fingerprint import take_fingerprint
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.runs import find_run, training
from blobwatch.lineage.tracking.store import open_store
from blobwatch.lineage.tracking.sync import sync

pytestmark = [pytest.mark.filterwarnings(MLFLOW_WARNING), pytest.mark.usefixtures("ungated")]


def runs(project: Project) -> list:
    store = open_store(project.root)
    return store.client.search_runs([store.experiment_id], "tags.kind = 'network'")


def test_sync_rebuilds_run_once(project):
    first = sync(project.root)
    assert "rebuilt from files" in first[0]
    assert first[1:] == ["its evaluation was logged", "no champion yet"]
    (run,) = runs(project)
    assert run.data.metrics["train_loss"] == 0.3
    assert run.data.metrics["subframes.auc"] == 0.98
    second = sync(project.root)
    assert "found by its fingerprint" in second[0]
    assert second[1] == "its evaluation is already logged"
    assert len(runs(project)) == 1


def test_sync_finds_existing_run(project):
    with training(project.root, take_fingerprint(project.root, "train")) as run:
        pass
    assert sync(project.root)[0] == f"the candidate's run is {run.run_id}, found by its fingerprint"
    assert len(runs(project)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda project: project.train("two"),
        lambda project: (project.reports / "slices.csv").write_text("made up"),
        lambda project: (project.root / "dvc.lock").unlink(),
        lambda project: shutil.rmtree(project.reports),
    ],
)
def test_evaluation_of_another_candidate_is_not_logged(project, change):
    change(project)
    assert "describes another candidate" in sync(project.root)[1]
    assert "subframes.auc" not in runs(project)[0].data.metrics


def test_sync_registers_champion_in_fresh_clone(project, tmp_path, blank_database):
    sync(project.root)
    store, fingerprint = open_store(project.root), take_fingerprint(project.root, "train").sha256
    run_id = find_run(store, fingerprint).info.run_id
    registry.register(store, Model.load(project.candidate), run_id, "abc")
    promote(project.root, 1, "good")
    project.commit()
    clone = Project(tmp_path / "clone")
    project.git("clone", "--quiet", str(project.root), str(clone.root))
    shutil.copyfile(blank_database, clone.root / "mlflow.db")
    for rebuilt in (["version 1 was rebuilt from git"], []):
        nothing, *versions, known = sync(clone.root)
        assert nothing == "no model in models/candidate"
        assert versions == rebuilt
        assert known.startswith("the champion is version 1")
    (run,) = runs(clone)
    assert run.data.tags["blobwatch.fingerprint"] == fingerprint
    assert run.data.metrics["subframes.auc"] == 0.98
    assert run.data.tags["blobwatch.rebuilt"] == "rebuilt from git"


def promote_versions(project: Project, weights: list[str]) -> None:
    """Register and promote one version per weights, each with code of its own."""
    for version, name in enumerate(weights, start=1):
        (project.root / "src/pkg/network.py").write_text(f"width = {version}\n")
        project.commit()
        register(project, name)
        promote(project.root, version, "good")
        project.commit()


def test_sync_rebuilds_all_versions_with_metrics(project, tmp_path, blank_database):
    promote_versions(project, ["one", "two", "three"])
    clone = fresh_clone(project, tmp_path / "clone", blank_database)
    versions = sync(clone.root)[1:-1]
    assert versions == [f"version {number} was rebuilt from git" for number in (1, 2, 3)]
    store = open_store(clone.root)
    records = {record["version"]: record for record in project.lines()}
    for version in registry.versions(store):
        record, run = records[int(version.version)], store.client.get_run(version.run_id)
        assert version.tags["sha256.model.onnx"] == record["files"]["model.onnx"]
        assert run.data.metrics["blobs.snr_at_half"] == record["metrics"]["blobs.snr_at_half"]
        assert run.data.tags["mlflow.source.git.commit"] == record["commit"].removesuffix("-dirty")
    assert registry.get_alias(store, "champion") == 3
    assert len(runs(clone)) == 3


def test_versions_below_registered_one_are_reported(project, tmp_path, blank_database):
    promote_versions(project, ["one", "two"])
    clone = fresh_clone(project, tmp_path / "clone", blank_database)
    sync(clone.root)
    open_store(clone.root).client.delete_model_version("blobwatch", "1")
    assert "version 1 is not in MLflow, which has version 2 already" in sync(clone.root)[1]
