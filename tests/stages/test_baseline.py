"""Stage ``baseline``: model folder, history and deterministic training."""

import csv

import numpy as np
import pytest
import torch
from conftest import ROOT
from synthetic import easy_subframes

from blobwatch.artefact import Model
from blobwatch.dataset.shards import read_split, write_shard
from blobwatch.detector.export import load_network
from blobwatch.detector.network import build_network
from blobwatch.detector.training import Progress
from blobwatch.files import folder_hash
from blobwatch.params import Baseline, load_params
from blobwatch.stages import baseline as stage
from blobwatch.stages.baseline import baseline, create_baseline_plan

SMALL = Baseline(subframes=6, epochs=2, batch=4, learning_rate=0.001, weight_decay=1e-5)


@pytest.fixture(scope="module", autouse=True)
def _restore_torch_settings():
    threads, filling = torch.get_num_threads(), torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filling


@pytest.fixture(scope="module")
def subframes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subframes")
    for number, (split, count) in enumerate({"train": 8, "val": 4}.items()):
        write_shard(folder / split / "izzz0000q.npz", easy_subframes(count, number))
    return folder


def run(subframes, place, seed: int = 1):
    baseline(subframes, place / "model", place / "reports", SMALL, seed, 1)
    return place / "model", place / "reports"


@pytest.fixture(scope="module")
def trained(subframes, tmp_path_factory):
    return run(subframes, tmp_path_factory.mktemp("trained"))


def test_model_runs_like_other_models(trained, subframes):
    model = Model.load(trained[0])
    images = read_split(subframes, "val").scaled(slice(None))[:, None]
    answers = model.run(images)
    assert answers.shape == (4, 3, 1, 1)
    with torch.inference_mode():
        expected = load_network(trained[0], model.manifest)(torch.from_numpy(images)).numpy()
    assert answers == pytest.approx(expected, abs=1e-3)
    assert np.ptp(answers[:, 0]) > 0
    frame = np.zeros((1, 1, 1024, 1024), np.float32)
    assert model.run(frame).shape == (1, 3, 4, 4)


def test_manifest_describes_the_network(trained):
    manifest = Model.load(trained[0]).manifest
    assert manifest["architecture"] == {"name": "predecessor", "width": 1, "stride": 256}
    assert manifest["parameters"] == 8_392_418
    assert sorted(path.name for path in trained[0].iterdir()) == [
        "manifest.json",
        "model.onnx",
        "model.safetensors",
    ]


def test_history_has_row_per_epoch(trained):
    with (trained[1] / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for row in rows:
        assert 0 < float(row["train_loss"]) < 10
        assert 0 <= float(row["val_auc"]) <= 1


def test_weights_are_trained(trained):
    torch.manual_seed(1)
    untrained = build_network("predecessor", 1).state_dict()
    weights = load_network(trained[0], Model.load(trained[0]).manifest).state_dict()
    for name, tensor in weights.items():
        assert not torch.equal(tensor, untrained[name]), name


def test_second_run_gives_same_bytes(trained, subframes, tmp_path):
    for place, before in zip(run(subframes, tmp_path), trained, strict=True):
        assert folder_hash(place) == folder_hash(before)


def test_settings_match_predecessor():
    settings = load_params(ROOT / "params.yaml").baseline
    assert (settings.subframes, settings.epochs, settings.weight_decay) == (1000, 5, 1e-5)
    plan = create_baseline_plan(settings, 7)
    assert (plan.epochs, plan.weight_decay, plan.position_weight, plan.seed) == (5, 1e-5, 0.0, 7)
    assert (plan.crop, plan.crops) == (256, 1)


def test_interrupted_training_writes_nothing_and_depends_on_seed(subframes, tmp_path, monkeypatch):
    seen = []

    def fit(name, network, train_set, val_set, plan, checkpoint):
        seen.append((plan.seed, network.features[0].weight.sum().item(), train_set.images.tobytes()))
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "train_with_bar", fit)
    for seed in (1, 2, 1):
        with pytest.raises(KeyboardInterrupt):
            run(subframes, tmp_path, seed)
    assert list(tmp_path.iterdir()) == []
    assert seen[0] == seen[2]
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]
    assert seen[0][2] != seen[1][2]  # other subframes


def test_requested_number_of_subframes_is_drawn(subframes, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(stage, "write_artefact", lambda *arguments: None)

    def fit(name, network, train_set, val_set, plan, checkpoint):
        seen.append(train_set)
        return Progress(epoch=1, history=[{"epoch": 0, "val_auc": 0.5}])

    monkeypatch.setattr(stage, "train_with_bar", fit)
    for seed in range(12):
        run(subframes, tmp_path / str(seed), seed)
    data = read_split(subframes, "train")
    drawn = [{image.tobytes() for image in one.images} for one in seen]
    assert {len(one) for one in drawn} == {6}
    assert set.union(*drawn) == {image.tobytes() for image in data.images}
