from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from lineage.project import MLFLOW_WARNING, register

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.fingerprint import take_fingerprint
from blobwatch.lineage.tracking.headlines import NAMES, metric_values, read_headlines
from blobwatch.lineage.tracking.logging import RECORDED, record_evaluation
from blobwatch.lineage.tracking.registry import get_version
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
    assert metrics.keys() <= {f"{section}.{name}" for section in NAMES for name in NAMES[section]}
    assert read_headlines(run.store.client.get_run(run_id))["subframes.auc_low"] == pytest.approx(0.88)
    names = artifacts(run.store.client, run_id)
    assert {"evaluate/metrics.json", "evaluate/slices.csv", "figures/roc.png"} <= names
    (output,) = run.store.client.get_run(run_id).outputs.model_outputs
    logged = run.store.client.get_logged_model(output.model_id)
    assert logged.status == "READY"
    files = {"model.onnx", "model.safetensors", "manifest.json", "MLmodel", "input_example.json"}
    folder = Path(unquote(urlsplit(logged.artifact_location).path))
    assert {path.name for path in folder.iterdir()} == files


def test_baseline_is_run_with_metrics_of_same_names(project):
    run_id, _ = record_evaluation(project.root, project.candidate, project.reports)
    (project.reports / "slices.csv").write_text("snr,auc\n5,0.8\n")  # the same metrics are not logged twice
    record_evaluation(project.root, project.candidate, project.reports)
    store = open_store(project.root)
    (baseline,) = store.client.search_runs([store.experiment_id], "tags.kind = 'baseline'")
    assert baseline.data.metrics == {"subframes.auc": 0.8}
    assert baseline.data.metrics.keys() <= store.client.get_run(run_id).data.metrics.keys()
    assert read_headlines(baseline)["subframes.auc_high"] == 0.9
    assert baseline.info.run_name == "baseline-matched-filter"
    assert baseline.info.status == "FINISHED"


def test_tables_are_read_by_mlflow(project, monkeypatch):
    import mlflow

    run_id, _ = record_evaluation(project.root, project.candidate, project.reports)
    store = open_store(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", store.experiment_id)
    slices = mlflow.load_table("tables/slices.json", run_ids=[run_id])
    assert slices.to_dict("records") == [{"snr": 5.0, "auc": 0.9}]
    metrics = mlflow.load_table("tables/metrics.json", run_ids=[run_id]).set_index("metric")
    assert metrics.loc["subframes.auc", "value"] == 0.98
    assert metrics.loc["baselines.matched_filter.subframes.auc", "high"] == 0.9


def test_card_describes_run_and_registered_version(project):
    card = "# Card\n\n" + "A paragraph about the model.\n\n" * 400
    (project.reports / "model_card.md").write_text(card)
    register(project)
    store = open_store(project.root)
    version = get_version(store, 1)
    assert version.description.startswith("# Card\n\nA paragraph")
    assert version.description.endswith("contains the complete card.")
    assert len(version.description) <= 5000
    assert store.client.get_run(version.run_id).data.tags["mlflow.note.content"] == version.description


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
    assert run.data.tags["blobwatch.rebuilt"] == "rebuilt from files"
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
        (lambda project: (project.candidate / "model.onnx").write_text("other"), "by its sha256"),
        (lambda project: (project.candidate / "model.safetensors").unlink(), "is missing"),
    ],
)
def test_damaged_files_are_not_logged(project, break_it, sentence):
    break_it(project)
    with pytest.raises(BlobwatchError, match=sentence):
        record_evaluation(project.root, project.candidate, project.reports)
