"""Stage ``train`` on a small set: model folder, threshold, history and MLflow run."""

import csv
import shutil
from dataclasses import asdict

import pytest
import torch
from conftest import ROOT
from lineage.project import EXPOSED, MLFLOW_WARNING, make_project
from synthetic import easy_subframes

from blobwatch.artefact import Model
from blobwatch.dataset.shards import read_split, write_shard
from blobwatch.dataset.subframes import Recipe
from blobwatch.detector.export import load_network
from blobwatch.detector.metrics import false_per_100
from blobwatch.detector.network import build_network, count_parameters
from blobwatch.detector.scoring import score_model
from blobwatch.errors import BlobwatchError
from blobwatch.files import folder_hash
from blobwatch.lineage.fingerprint import take_fingerprint
from blobwatch.lineage.origin import fingerprint_of
from blobwatch.lineage.tracking.runs import find_run
from blobwatch.lineage.tracking.store import open_store
from blobwatch.params import load_params
from blobwatch.stages import train as stage
from blobwatch.stages.train import UNFINISHED, create_plan, get_architecture, train

pytestmark = pytest.mark.filterwarnings(MLFLOW_WARNING)
HARD = Recipe((5.0, 30.0), (1, 3), 0.5)


def small_params():
    params = load_params(ROOT / "params.yaml")
    own = {"width": 8, "clip": 6.0, "epochs": 2, "batch": 8, "learning_rate": 0.03}
    return params.model_copy(update={"threads": 1, "train": params.train.model_copy(update=own)})


def new_project(root, database):
    made = make_project(root)
    shutil.copyfile(database, root / "mlflow.db")
    for number, (split, count) in enumerate({"train": 24, "val": 8}.items()):
        write_shard(root / "data/subframes" / split / "izzz0000q.npz", easy_subframes(count, number, HARD))
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory, blank_database):
    """Return a project with a trained candidate."""
    patch = pytest.MonkeyPatch()
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = new_project(tmp_path_factory.mktemp("train") / "project", blank_database)
    threads, filling = torch.get_num_threads(), torch.utils.deterministic.fill_uninitialized_memory
    run_train(made)
    yield made
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filling
    patch.undo()


def run_train(made):
    train(made.root, made.subframes, made.candidate, made.root / "reports/train", small_params())


def history_of(made) -> list[dict]:
    with (made.root / "reports/train/history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_manifest_contains_lineage(trained):
    model = Model.load(trained.candidate)
    fingerprint = take_fingerprint(trained.root, "train")
    assert model.manifest["fingerprint"] == {"sha256": fingerprint.sha256, "parts": fingerprint.parts}
    assert model.manifest["data"] == {"data/subframes": folder_hash(trained.subframes)}
    assert model.manifest["exposures"] == EXPOSED
    assert fingerprint_of(model) == fingerprint
    assert fingerprint.parts["exposures"] == {row["rootname"]: row["md5"] for row in EXPOSED}
    assert model.manifest["architecture"] == {
        "name": "compact",
        "width": 8,
        "clip": 6.0,
        "stride": 4,
    }
    names = sorted(path.name for path in trained.candidate.iterdir())
    assert names == ["manifest.json", "model.onnx", "model.safetensors"]
    last = history_of(trained)[-1]
    assert model.manifest["metrics"]["val_loss"] == pytest.approx(float(last["val_loss"]), abs=1e-5)


def test_every_setting_is_used(params):
    """Check that the architecture and the plan use every key of the section."""
    architecture, plan = get_architecture(params), create_plan(params)
    assert architecture == {
        "name": params.train.architecture,
        "width": params.train.width,
        "clip": params.train.clip,
    }
    rest = params.train.model_dump(exclude={"architecture", "width", "clip"})
    assert asdict(plan) == rest | {"seed": params.seed}
    other = params.train.model_copy(update={"crop": 64, "crops": 5})
    changed = create_plan(params.model_copy(update={"train": other}))
    assert (changed.crop, changed.crops) == (64, 5)


def test_network_size_is_limited(params):
    network = build_network(**get_architecture(params))
    assert count_parameters(network) <= 150_000
    assert count_parameters(build_network(**get_architecture(small_params()))) <= count_parameters(network)


def test_network_is_rebuilt_from_model_folder(trained):
    model, val = Model.load(trained.candidate), read_split(trained.subframes, "val")
    network = load_network(trained.candidate, model.manifest)
    assert network.clip == 6.0
    images = val.scaled(slice(0, 2))[:, None]
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    assert model.run(images) == pytest.approx(expected, abs=1e-3)


def test_threshold_keeps_false_rate_on_val(trained):
    model, val = Model.load(trained.candidate), read_split(trained.subframes, "val")
    params = small_params()
    matches = score_model(model, val, params.evaluate.match_radius).matches
    assert false_per_100(matches, model.threshold, len(val)) <= params.evaluate.false_per_100


def test_mlflow_run_has_epochs(trained):
    store = open_store(trained.root)
    run = find_run(store, take_fingerprint(trained.root, "train").sha256)
    assert run.info.status == "FINISHED"
    logged = store.client.get_metric_history(run.info.run_id, "val_loss")
    assert [metric.step for metric in logged] == [0, 1]
    values = [float(row["val_loss"]) for row in history_of(trained)]
    assert [metric.value for metric in logged] == pytest.approx(values, rel=1e-6)


def test_second_training_gives_same_bytes(trained, tmp_path):
    params = small_params()
    train(trained.root, trained.subframes, tmp_path / "again", tmp_path / "reports", params)
    assert folder_hash(tmp_path / "again") == folder_hash(trained.candidate)
    history = tmp_path / "reports/history.csv"
    assert history.read_bytes() == (trained.root / "reports/train/history.csv").read_bytes()


class Interrupted(Exception):
    """Simulated interruption."""


def test_interrupted_training_resumes(trained, tmp_path, blank_database, monkeypatch):
    made = new_project(tmp_path / "project", blank_database)
    original = stage.runs.Run.log_epoch
    seen = []

    def log_epoch(self, row):
        original(self, row)
        seen.append(row["epoch"])
        if seen == [0]:
            raise Interrupted

    monkeypatch.setattr(stage.runs.Run, "log_epoch", log_epoch)
    with pytest.raises(Interrupted):
        run_train(made)
    assert not made.candidate.exists()
    assert not (made.root / "reports/train").exists()
    (checkpoint,) = (made.root / UNFINISHED).iterdir()
    assert checkpoint.stem == take_fingerprint(made.root, "train").sha256
    run_train(made)
    assert seen == [0, 1]
    assert list((made.root / UNFINISHED).iterdir()) == []
    for name in ("model.onnx", "model.safetensors"):
        assert (made.candidate / name).read_bytes() == (trained.candidate / name).read_bytes()


def test_changed_input_fails_run(tmp_path, blank_database, monkeypatch):
    made = new_project(tmp_path / "project", blank_database)

    def fit(*arguments):
        (made.root / "src/pkg/loss.py").write_text("weight = 2\n")
        return original(*arguments)

    original = stage.train_with_bar
    monkeypatch.setattr(stage, "train_with_bar", fit)
    with pytest.raises(BlobwatchError, match="changed while stage 'train' ran"):
        run_train(made)
    assert not made.candidate.exists()


def test_missing_subframes(tmp_path, blank_database):
    made = new_project(tmp_path / "project", blank_database)
    shutil.rmtree(made.subframes / "val")
    with pytest.raises(BlobwatchError, match=r"no val subframes\. Run `dvc repro subframes`"):
        run_train(made)


def test_other_subframes_raise_error(trained, tmp_path):
    shutil.copytree(trained.subframes, tmp_path / "other")
    with pytest.raises(BlobwatchError, match=r"not an input of the train stage in dvc\.yaml"):
        train(trained.root, tmp_path / "other", tmp_path / "a", tmp_path / "b", small_params())


def test_subframes_without_exposures_raise_error(tmp_path, blank_database):
    made = new_project(tmp_path / "project", blank_database)
    (made.subframes / "exposures.csv").unlink()
    with pytest.raises(BlobwatchError, match="no list of exposures"):
        run_train(made)
