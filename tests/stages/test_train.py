"""Stages ``train`` and ``evaluate`` on a small set: artefact, reports, run."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from conftest import ROOT
from lineage.project import MLFLOW_WARNING, make_project
from made import easy_set

from blobwatch.artefact import Model
from blobwatch.dataset.shards import read_split, write_shard
from blobwatch.dataset.subframes import Recipe
from blobwatch.detector.metrics import false_per_100
from blobwatch.detector.scoring import score_model
from blobwatch.errors import BlobwatchError
from blobwatch.files import folder_hash
from blobwatch.lineage.fingerprint import take
from blobwatch.lineage.store import open_store
from blobwatch.lineage.tracking import find_run
from blobwatch.params import load_params
from blobwatch.stages import train as stage
from blobwatch.stages.evaluate import evaluate
from blobwatch.stages.train import UNFINISHED, train

pytestmark = pytest.mark.filterwarnings(MLFLOW_WARNING)
HARD = Recipe((5.0, 30.0), (1, 3), 0.5)


def small_params():
    params = load_params(ROOT / "params.yaml")
    own = {"width": 4, "epochs": 2, "batch": 8, "learning_rate": 0.01}
    return params.model_copy(
        update={
            "threads": 1,
            "train": params.train.model_copy(update=own),
            "evaluate": params.evaluate.model_copy(update={"bootstrap": 100}),
        }
    )


def new_project(root, database):
    made = make_project(root)
    shutil.copyfile(database, root / "mlflow.db")
    for number, (split, count) in enumerate({"train": 24, "val": 8, "test": 16, "final": 16}.items()):
        write_shard(root / "data/subframes" / split / "izzz0000q.npz", easy_set(count, number, HARD))
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory, blank_database):
    """A project whose candidate was trained and evaluated."""
    patch = pytest.MonkeyPatch()
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = new_project(tmp_path_factory.mktemp("train") / "project", blank_database)
    threads = torch.get_num_threads()
    run_train(made)
    run_evaluate(made)
    yield made
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    patch.undo()


def run_train(made):
    train(made.root, made.subframes, made.candidate, made.root / "reports/train", small_params())


def run_evaluate(made):
    params = small_params()
    reports = made.root / "reports"
    return evaluate(
        made.root, made.candidate, made.subframes, reports / "train", reports / "evaluate", params.evaluate, 1
    )


def history_of(made) -> list[dict]:
    with (made.root / "reports/train/history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_artefact_is_whole_and_says_what_it_was_made_of(trained):
    model = Model.load(trained.candidate)
    fingerprint = take(trained.root, "train")
    assert model.manifest["fingerprint"] == {"sha256": fingerprint.sha256, "parts": fingerprint.parts}
    assert model.manifest["data"] == {"data/subframes": folder_hash(trained.subframes)}
    assert model.manifest["architecture"] == {"name": "compact", "width": 4, "stride": 4}
    names = sorted(path.name for path in trained.candidate.iterdir())
    assert names == ["manifest.json", "model.onnx", "model.safetensors"]
    best = min(history_of(trained), key=lambda row: float(row["val_loss"]))
    assert model.manifest["metrics"]["val_loss"] == pytest.approx(float(best["val_loss"]), abs=1e-5)


def test_the_threshold_keeps_its_rate_on_val(trained):
    model, val = Model.load(trained.candidate), read_split(trained.subframes, "val")
    params = small_params()
    matches = score_model(model, val, params.evaluate.match_radius).matches
    assert false_per_100(matches, model.threshold, len(val)) <= params.evaluate.false_per_100


def test_the_run_in_mlflow_has_the_epochs_and_the_verdict(trained):
    store = open_store(trained.root)
    run = find_run(store, take(trained.root, "train").sha256)
    assert run.info.status == "FINISHED"
    logged = store.client.get_metric_history(run.info.run_id, "val_loss")
    assert [metric.step for metric in logged] == [0, 1]
    values = [float(row["val_loss"]) for row in history_of(trained)]
    assert [metric.value for metric in logged] == pytest.approx(values, rel=1e-6)
    metrics = json.loads((trained.reports / "metrics.json").read_text())
    assert run.data.metrics["subframes.auc"] == pytest.approx(metrics["subframes"]["auc"]["value"])


def test_a_second_training_gives_the_same_bytes(trained, tmp_path, monkeypatch):
    params = small_params()
    train(trained.root, trained.subframes, tmp_path / "again", tmp_path / "reports", params)
    assert folder_hash(tmp_path / "again") == folder_hash(trained.candidate)
    history = tmp_path / "reports/history.csv"
    assert history.read_bytes() == (trained.root / "reports/train/history.csv").read_bytes()


class Stopped(Exception):
    """Stands for a kill."""


def test_a_killed_stage_leaves_no_candidate_and_goes_on(trained, tmp_path, blank_database, monkeypatch):
    made = new_project(tmp_path / "project", blank_database)
    original = stage.tracking.Run.log_epoch
    seen = []

    def log_epoch(self, row, step):
        original(self, row, step)
        seen.append(step)
        if seen == [0]:
            raise Stopped

    monkeypatch.setattr(stage.tracking.Run, "log_epoch", log_epoch)
    with pytest.raises(Stopped):
        run_train(made)
    assert not made.candidate.exists()
    assert not (made.root / "reports/train").exists()
    (checkpoint,) = (made.root / UNFINISHED).iterdir()
    assert checkpoint.stem == take(made.root, "train").sha256
    run_train(made)
    assert seen == [0, 1]
    assert list((made.root / UNFINISHED).iterdir()) == []
    for name in ("model.onnx", "model.safetensors"):
        assert (made.candidate / name).read_bytes() == (trained.candidate / name).read_bytes()


def test_an_input_that_changes_meanwhile_fails_the_run(tmp_path, blank_database, monkeypatch):
    made = new_project(tmp_path / "project", blank_database)

    def fit(*arguments):
        (made.root / "src/pkg/loss.py").write_text("weight = 2\n")
        return original(*arguments)

    original = stage.fit_with_bar
    monkeypatch.setattr(stage, "fit_with_bar", fit)
    with pytest.raises(BlobwatchError, match="changed while stage 'train' ran"):
        run_train(made)
    assert not made.candidate.exists()


def test_without_subframes(tmp_path, blank_database):
    made = new_project(tmp_path / "project", blank_database)
    shutil.rmtree(made.subframes / "val")
    with pytest.raises(BlobwatchError, match="holds no val subframes; run `dvc repro subframes`"):
        run_train(made)


# Stage ``evaluate``


def test_every_number_stands_beside_the_baselines(trained):
    metrics = json.loads((trained.reports / "metrics.json").read_text())
    bank = metrics["baselines"]["matched_filter"]
    for section in ("subframes", "blobs"):
        assert metrics[section].keys() == bank[section].keys()
    assert metrics["final"].keys() == bank["final"].keys()
    assert metrics["threshold"] == Model.load(trained.candidate).threshold
    assert metrics["test"]["subframes"] == 16
    for section in ("subframes", "blobs"):
        for name, value in (metrics[section] | bank[section]).items():
            assert set(value) == {"value", "low", "high"}, name


def test_the_reports_are_complete(trained):
    names = {path.relative_to(trained.reports).as_posix() for path in trained.reports.rglob("*.*")}
    pictures = (
        "confusion confusion_matched_filter roc completeness slices worst_errors saliency learning_curves"
    )
    expected = {"metrics.json", "roc.csv", "slices.csv", "predictions.csv"}
    assert names == expected | {f"figures/{name}.png" for name in pictures.split()}
    for name in pictures.split():
        assert (trained.reports / f"figures/{name}.png").stat().st_size > 3000


def test_the_predictions_give_the_metrics_anew(trained):
    from sklearn.metrics import roc_auc_score

    with (trained.reports / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    metrics = json.loads((trained.reports / "metrics.json").read_text())
    labels = np.array([int(row["label"]) for row in rows])
    for column, of in (("cnn", metrics), ("matched_filter", metrics["baselines"]["matched_filter"])):
        scores = np.array([float(row[column]) for row in rows])
        assert roc_auc_score(labels, scores) == pytest.approx(of["subframes"]["auc"]["value"], abs=0.01)


def test_a_second_evaluation_gives_the_same_bytes(trained):
    before = folder_hash(trained.reports)
    run_evaluate(trained)
    assert folder_hash(trained.reports) == before
