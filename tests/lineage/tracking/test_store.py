import os
import sqlite3
import subprocess
import sys

import pytest
from lineage.project import MLFLOW_WARNING, make_project

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.tracking.store import EXPERIMENT, open_store, tracking_uri

pytestmark = pytest.mark.filterwarnings(MLFLOW_WARNING)


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return make_project(tmp_path / "project")


def test_default_address_is_in_main_checkout(made, monkeypatch, tmp_path):
    home = f"sqlite:///{made.root}/mlflow.db"
    made.git("worktree", "add", "--quiet", str(tmp_path / "side"), "-b", "side")
    queued = made.root / ".dvc/tmp/exps/tmpabc"
    queued.mkdir(parents=True)
    monkeypatch.chdir(queued)
    assert {tracking_uri(root) for root in (made.root, tmp_path / "side", queued)} == {home}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://server:5000", "http://server:5000"),
        ("sqlite:////team/mlflow.db", "sqlite:////team/mlflow.db"),
        ("sqlite:///team.db", "sqlite:///{root}/team.db"),
    ],
)
def test_address_from_the_environment(made, monkeypatch, given, expected):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_uri(made.root) == expected.format(root=made.root)


def test_two_processes_open_fresh_store_concurrently(made):
    script = "import sys; from pathlib import Path; from blobwatch.lineage.tracking.store import open_store\n"
    script += "print(open_store(Path(sys.argv[1])).experiment_id)"
    command = [sys.executable, "-W", "ignore", "-c", script, str(made.root)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=dict(os.environ, OMP_NUM_THREADS="1"), **pipes) for _ in "12"]
    outputs = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]


def test_artifact_location_is_independent_of_working_directory(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store(project.root)
    place = store.client.get_experiment_by_name(EXPERIMENT).artifact_location
    assert place == (project.root / "mlartifacts").as_uri()
    assert open_store(project.root).experiment_id == store.experiment_id


def test_experiment_has_kind_and_description(project):
    store = open_store(project.root)
    store.client.delete_experiment_tag(store.experiment_id, "mlflow.experimentKind")
    tags = open_store(project.root).client.get_experiment(store.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert "**Compare**" in tags["mlflow.note.content"]


@pytest.mark.parametrize("revision", ["older", "newer"])
def test_database_of_another_mlflow_version_is_rejected(project, revision):
    with sqlite3.connect(project.root / "mlflow.db") as database:
        known = "SELECT version_num FROM alembic_version"
        assert database.execute(known).fetchone()
        number = "0a8213491aaa" if revision == "older" else "ffffffffffff"
        database.execute("UPDATE alembic_version SET version_num = ?", [number])
    database.close()
    with pytest.raises(BlobwatchError, match=r"another version of MLflow wrote .* `mlflow db upgrade`"):
        open_store(project.root)


def test_copied_store_is_rejected(project, tmp_path):
    open_store(project.root)
    copied = make_project(tmp_path / "copied")
    (copied.root / "mlflow.db").write_bytes((project.root / "mlflow.db").read_bytes())
    with pytest.raises(BlobwatchError, match="came from another folder"):
        open_store(copied.root)
