"""Stage ``evaluate`` on a small set: reports, tables, figures and the MLflow run."""

import json
import shutil

import numpy as np
import pytest
from conftest import ROOT
from lineage.project import EXPOSED, MLFLOW_WARNING, make_project
from sklearn.metrics import roc_auc_score
from synthetic import easy_subframes, random_network, write_model

from blobwatch.artefact import Model
from blobwatch.dataset.shards import write_shard
from blobwatch.dataset.subframes import Recipe
from blobwatch.errors import BlobwatchError
from blobwatch.files import folder_hash, read_table, write_json
from blobwatch.lineage.fingerprint import take_fingerprint
from blobwatch.lineage.tracking.runs import find_run
from blobwatch.lineage.tracking.store import open_store
from blobwatch.params import load_params
from blobwatch.robustness import frames, search
from blobwatch.stages.evaluate import evaluate, round_floats

pytestmark = pytest.mark.filterwarnings(MLFLOW_WARNING)
HARD = Recipe((5.0, 30.0), (1, 3), 0.5)
KEYS = ("cnn", "matched_filter", "predecessor", "laplacian")
NAMES = ["CNN", "matched filters", "predecessor's CNN", "Laplacian of Gaussian"]
TABLES = ("robustness", "roc", "slices", "completeness", "reliability", "predictions")
CURVES = ("completeness", "reliability", "robustness", "roc", "confusion", "slices", "learning_curves")
PICTURES = (*CURVES, "worst_errors", "saliency")
SETS = ("white_noise", "all_together")
INDEX = """split,path,rootname,expstart,subframes,positive,blobs,difference_md5,stack
test,test/izzz0000q.npz,izzz0000q,57599.23,16,8,17,0a,izzz0001q izzz0002q izzz0003q
"""
HISTORY = "epoch,train_loss,val_loss,val_auc\n0,0.9,0.7,0.8\n1,0.5,0.5,0.9\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory, blank_database):
    """Return a project with an evaluated box detector."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        few = {name: frames.SETS[name] for name in SETS}
        patch.setattr(frames, "SETS", few)
        patch.setattr(search, "SETS", few)
        yield evaluated(tmp_path_factory.mktemp("evaluate") / "project", blank_database)


def evaluated(folder, blank_database):
    """Make the project and evaluate its candidate."""
    project = make_project(folder)
    shutil.copyfile(blank_database, project.root / "mlflow.db")
    for number, (split, count) in enumerate({"val": 8, "test": 16, "final": 16}.items()):
        write_shard(project.subframes / split / "izzz0000q.npz", easy_subframes(count, number, HARD))
    write_model(project.candidate)
    taken = take_fingerprint(project.root, "train")
    manifest = json.loads((project.candidate / "manifest.json").read_text())
    manifest |= {"fingerprint": taken.as_json(), "data": taken.parts["data"], "exposures": EXPOSED}
    write_json(project.candidate / "manifest.json", manifest)
    write_model(project.root / "models/baseline", random_network("predecessor"), name="predecessor")
    (project.root / "reports/train").mkdir(parents=True)
    (project.root / "reports/train/history.csv").write_text(HISTORY)
    (project.subframes / "index.csv").write_text(INDEX)
    run(project)
    return project


def run(project, baseline: str = "models/baseline"):
    changed = {"bootstrap": 100, "clean_frames": 1, "empty_frames": 2, "robustness_frames": 1}
    settings = load_params(ROOT / "params.yaml").evaluate.model_copy(update=changed)
    train = project.root / "reports/train"
    templates = project.root / "data/templates"
    inputs = (project.candidate, project.root / baseline, project.subframes, templates, train)
    return evaluate(project.root, *inputs, project.reports, settings, seed=1, workers=1)


def rows_of(project, name: str) -> list[dict]:
    return read_table(project.reports / f"{name}.csv")


@pytest.fixture(scope="module")
def metrics(made) -> dict:
    return json.loads((made.reports / "metrics.json").read_text())


def test_metrics_include_baselines(metrics):
    bank, old, laplacian = (metrics["baselines"][key] for key in KEYS[1:])
    assert metrics["subframes"].keys() - bank["subframes"].keys() == {"calibration_error"}
    assert metrics["blobs"].keys() == bank["blobs"].keys() == laplacian["blobs"].keys()
    assert metrics["subframes"].keys() == old["subframes"].keys()
    places = {"snr_at_half", "position_error", "position_error_above_10"}
    assert metrics["blobs"].keys() - old["blobs"].keys() == places
    assert metrics["final"].keys() == bank["final"].keys()
    assert metrics["threshold"] == 0.5
    assert metrics["test"]["subframes"] == 16


def test_metrics_have_intervals(metrics):
    for report in (metrics, *metrics["baselines"].values()):
        for section in ("subframes", "blobs"):
            for name, value in report[section].items():
                assert set(value) == {"value", "low", "high"}, name
    clean = metrics["clean"]
    assert set(clean["same_rate"]) == {"cnn", "ideal_observer", "matched_filters"}
    for value in (clean["snr_at_half"], clean["same_rate"]["ideal_observer"]["snr_at_half"]):
        assert set(value) == {"value", "low", "high"}
    assert (clean["exposures"], clean["blobs"]) == (1, 64)


def test_robustness_sets_have_all_detectors_and_limit(made, metrics):
    robustness = metrics["robustness"]
    assert set(robustness["sets"]) == set(SETS)
    for figures in robustness["sets"].values():
        assert set(figures) == {"cnn", "matched_filter", "predecessor", "limit"}
        for value in figures["cnn"].values():
            assert set(value) == {"value", "low", "high"}
    worst = robustness["worst_sets"]["false_per_100"]
    assert robustness["worst_false_per_100"] == robustness["sets"][worst]["cnn"]["false_per_100"]
    named = {(row["set"], row["detector"]) for row in rows_of(made, "robustness")}
    detectors = ("CNN", "matched filters", "predecessor's CNN", "limit")
    assert named == {(name, detector) for name in SETS for detector in detectors}


def test_reports_are_complete(made):
    names = {path.relative_to(made.reports).as_posix() for path in made.reports.rglob("*.*")}
    expected = {f"{name}.csv" for name in TABLES} | {f"figures/{name}.png" for name in PICTURES}
    assert expected | {"metrics.json", "model_card.md"} <= names
    for name in PICTURES:
        assert (made.reports / f"figures/{name}.png").stat().st_size > 3000


def test_tables_have_every_detector(made):
    for name in ("roc", "slices"):
        assert list(dict.fromkeys(row["detector"] for row in rows_of(made, name))) == NAMES
    found = {(row["detector"], row["frames"]) for row in rows_of(made, "completeness")}
    located = {(name, "contaminated") for name in NAMES if name != "predecessor's CNN"}
    clean = ("CNN", "CNN, same rate", "matched filters", "ideal observer")
    assert found == located | {(name, "clean") for name in clean}
    assert sum(int(row["subframes"]) for row in rows_of(made, "reliability")) == 16


def test_predictions_reproduce_metrics(made, metrics):
    rows = rows_of(made, "predictions")
    labels = np.array([int(row["label"]) for row in rows])
    for key in KEYS:
        report = metrics if key == "cnn" else metrics["baselines"][key]
        scores = np.array([float(row[key]) for row in rows])
        assert roc_auc_score(labels, scores) == pytest.approx(report["subframes"]["auc"]["value"], abs=0.02)


def test_mlflow_run_has_metrics(made, metrics):
    run = find_run(open_store(made.root), Model.load(made.candidate).manifest["fingerprint"]["sha256"])
    assert run.data.metrics["subframes.auc"] == pytest.approx(metrics["subframes"]["auc"]["value"])


def test_second_evaluation_gives_same_bytes(made):
    before = folder_hash(made.reports)
    run(made)
    assert folder_hash(made.reports) == before


def test_missing_baseline(made):
    with pytest.raises(BlobwatchError, match=r"none/manifest\.json does not exist"):
        run(made, baseline="none")


def test_nan_becomes_null():
    content = {"a": {"value": float("nan"), "low": 0.12345678}, "n": 3}
    assert round_floats(content) == {"a": {"value": None, "low": 0.123457}, "n": 3}
