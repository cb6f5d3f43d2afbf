import time

import numpy as np
import pytest
from lineage.project import MLFLOW_WARNING

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.fingerprint import take_fingerprint
from blobwatch.lineage.tracking.runs import create_run, find_run, flat, training
from blobwatch.lineage.tracking.store import open_store

pytestmark = pytest.mark.filterwarnings(MLFLOW_WARNING)
ROW = {"epoch": 0, "train_loss": np.float32(0.5), "val_auc": 0.75}


@pytest.fixture
def taken(project):
    return take_fingerprint(project.root, "train")


def interrupt(project, taken, error, steps=2):
    def stage():
        with training(project.root, taken) as run:
            for step in range(steps):
                run.log_epoch(ROW | {"epoch": step})
            raise error

    with pytest.raises(type(error)):
        stage()


def test_run_contains_lineage_and_metrics(project, taken):
    commit = project.git("rev-parse", "HEAD")
    with training(project.root, taken) as run:
        run.log_epoch(ROW)
        run.log_epoch(ROW | {"epoch": 1, "val_auc": 0.9})
    found = run.store.client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"seed": "7", "train.epochs": "3", "train.learning_rate": "0.003"}
    assert found.data.tags["blobwatch.fingerprint"] == taken.sha256
    assert found.info.run_name == "3ep-lr0.003"
    assert found.data.tags["data.data/subframes"] == taken.parts["data"]["data/subframes"]
    assert found.data.tags["mlflow.source.git.commit"] == commit
    assert found.data.tags["mlflow.source.git.branch"] == "main"
    assert found.data.tags["blobwatch.dirty"] == "false"
    dataset = found.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("data/subframes", taken.parts["data"]["data/subframes"])
    history = run.store.client.get_metric_history(run.run_id, "val_auc")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.75), (1, 0.9)]
    assert found.data.metrics["train_loss"] == 0.5
    assert "epoch" not in found.data.metrics


def test_system_metrics_are_sampled(project, taken, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with training(project.root, taken) as run:
        client, key = run.store.client, "system/cpu_utilization_percentage"
        end = time.monotonic() + 20
        while key not in client.get_run(run.run_id).data.metrics and time.monotonic() < end:
            pass
    assert key in client.get_run(run.run_id).data.metrics


def test_uncommitted_inputs_set_dirty_flag(project):
    (project.root / "src/pkg/new.py").write_text("")
    with training(project.root, take_fingerprint(project.root, "train")) as run:
        pass
    assert run.store.client.get_run(run.run_id).data.tags["blobwatch.dirty"] == "true"


@pytest.mark.parametrize(("error", "status"), [(RuntimeError(), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_interrupted_run_resumes_without_repeated_epochs(project, taken, error, status):
    interrupt(project, taken, error)
    store = open_store(project.root)
    broken = find_run(store, taken.sha256, unfinished=True)
    assert broken.info.status == status
    assert find_run(store, taken.sha256) is None
    with training(project.root, taken) as run:
        for step in range(3):
            run.log_epoch(ROW | {"epoch": step})
    assert run.run_id == broken.info.run_id
    history = store.client.get_metric_history(run.run_id, "val_auc")
    assert [metric.step for metric in history] == [0, 1, 2]
    assert find_run(store, taken.sha256).info.run_id == run.run_id


def test_repeated_training_reuses_run(project, taken):
    for _ in "12":
        with training(project.root, taken) as run:
            run.log_epoch(ROW)
    store = run.store
    assert len(store.client.search_runs([store.experiment_id])) == 1
    assert len(store.client.get_metric_history(run.run_id, "val_auc")) == 1
    assert find_run(store, taken.sha256).info.run_id == run.run_id
    assert find_run(store, "0" * 64) is None


def test_interrupted_run_is_preferred_over_finished_run(project, taken):
    with training(project.root, taken) as finished:
        pass
    store = finished.store
    interrupted = create_run(store, project.root, taken).info.run_id
    store.client.set_terminated(interrupted, "KILLED")
    with training(project.root, taken) as run:
        assert run.run_id == interrupted


def test_run_fails_if_inputs_change(project, taken):
    with pytest.raises(BlobwatchError, match=r"^src/pkg changed"), training(project.root, taken):
        (project.root / "src/pkg/loss.py").write_text("weight = 3\n")
    store = open_store(project.root)
    assert find_run(store, taken.sha256) is None
    assert find_run(store, taken.sha256, unfinished=True).info.status == "FAILED"


def test_flat():
    assert flat({"a": 1, "b": {"c": [2, 3], "d": {"e": 4}}}) == {"a": 1, "b.c": [2, 3], "b.d.e": 4}
