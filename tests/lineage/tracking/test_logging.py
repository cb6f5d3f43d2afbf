import pytest
from lineage.project import MLFLOW_WARNING

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.fingerprint import take_fingerprint
from blobwatch.lineage.tracking.headlines import metric_values
from blobwatch.lineage.tracking.logging import RECORDED, record_evaluation
from blobwatch.lineage.tracking.runs import training
from blobwatch.lineage.tracking.store import open_store

pytestmark = pytest.mark.filterwarnings(MLFLOW_WARNING)


def artifacts(client, run_id: str, folder: str | None = None) -> set[str]:
    found = client.list_artifacts(run_id, folder)
    names = {one.path for one in found if not one.is_dir}
    return names.union(*(artifacts(client, run_id, one.path) for one in found if one.is_dir))


def test_evaluation_is_logged_to_training_run(project):
    with training(project.root, take_fingerprint(project.root, "train")) as run:
        pass
    run_id, logged = record_evaluation(project.root, project.candidate, project.reports)
    assert (run_id, logged) == (run.run_id, True)
    metrics = run.store.client.get_run(run_id).data.metrics
    assert metrics["subframes.auc"] == 0.98
    assert metrics["subframes.auc_low"] == pytest.approx(0.88)
    assert metrics["baselines.matched_filter.auc_high"] == 0.9
    assert metrics["model.val_auc"] == 0.97
    names = artifacts(run.store.client, run_id)
    assert {"evaluate/metrics.json", "evaluate/slices.csv", "figures/roc.png"} <= names
    assert {name.rsplit("/", 1)[1] for name in names if name.startswith("models/")} == {
        "model.onnx",
        "model.safetensors",
        "manifest.json",
    }


def test_second_call_logs_nothing(project):
    first, _ = record_evaluation(project.root, project.candidate, project.reports)
    assert record_evaluation(project.root, project.candidate, project.reports) == (first, False)
    history = open_store(project.root).client.get_metric_history(first, "subframes.auc")
    assert len(history) == 1


def test_changed_or_incomplete_files_are_logged_again(project):
    run_id, _ = record_evaluation(project.root, project.candidate, project.reports)
    (project.reports / "figures/roc.png").write_bytes(b"other")
    assert record_evaluation(project.root, project.candidate, project.reports) == (run_id, True)
    open_store(project.root).client.delete_tag(run_id, RECORDED)
    assert record_evaluation(project.root, project.candidate, project.reports) == (run_id, True)


def test_missing_run_is_rebuilt_from_files(project):
    history = project.root / "reports/train/history.csv"
    run_id, _ = record_evaluation(project.root, project.candidate, project.reports, history)
    client = open_store(project.root).client
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["blobwatch.rebuilt"] == "true"
    assert run.data.tags["blobwatch.dirty"] == "false"
    assert run.data.params["train.epochs"] == "3"
    assert run.inputs.dataset_inputs[0].dataset.digest.endswith(".dir")
    losses = client.get_metric_history(run_id, "train_loss")
    assert [(one.step, one.value) for one in losses] == [(0, 0.6), (1, 0.3)]


def test_rebuilt_run_of_other_inputs_is_dirty(project):
    (project.root / "src/pkg/loss.py").write_text("weight = 5\n")
    project.commit()
    run_id, _ = record_evaluation(project.root, project.candidate, project.reports)
    assert open_store(project.root).client.get_run(run_id).data.tags["blobwatch.dirty"] == "true"


def test_metric_values_flattens_names():
    nested = {"a": {"b": {"value": 1, "low": None, "high": 2}, "n": 3}, "low": 4, "text": "x"}
    assert metric_values(nested) == {
        "a.b": 1,
        "a.b_low": None,
        "a.b_high": 2,
        "a.n": 3,
        "low": 4,
        "text": "x",
    }


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda project: (project.reports / "metrics.json").unlink(), r"contains no metrics\.json"),
        (lambda project: (project.reports / "metrics.json").write_text("{"), "is not valid JSON"),
        (lambda project: (project.candidate / "model.onnx").write_text("other"), "sha256 differs"),
        (lambda project: (project.candidate / "model.safetensors").unlink(), "is missing"),
    ],
)
def test_damaged_files_are_not_logged(project, break_it, sentence):
    break_it(project)
    with pytest.raises(BlobwatchError, match=sentence):
        record_evaluation(project.root, project.candidate, project.reports)
