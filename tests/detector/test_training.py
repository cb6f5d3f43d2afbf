"""Tests of the training loop: reproducibility, resuming, batches and errors."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from synthetic import easy_subframes

from blobwatch.dataset.shards import BLOB, SUBFRAME, Shard, orient_image
from blobwatch.detector import training
from blobwatch.detector.network import build_network
from blobwatch.detector.training import MARGIN, Plan, draw_crop_origin, iterate_batches, learning_rate, train
from blobwatch.errors import BlobwatchError

PLAN = Plan(
    epochs=3,
    batch=8,
    learning_rate=0.03,
    weight_decay=1e-4,
    position_weight=1.0,
    seed=5,
    crop=128,
    crops=2,
)


@pytest.fixture(scope="module")
def train_set():
    return easy_subframes(24, seed=1)


@pytest.fixture(scope="module")
def val_set():
    return easy_subframes(8, seed=2)


@pytest.fixture(scope="module", autouse=True)
def deterministic():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def new_network(name: str = "compact") -> torch.nn.Module:
    torch.manual_seed(PLAN.seed)
    return build_network(name, 8)


def bits(network: torch.nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="module")
def uninterrupted(train_set, val_set, tmp_path_factory):
    network = new_network()
    path = tmp_path_factory.mktemp("training") / "checkpoint.safetensors"
    progress = train(network, train_set, val_set, PLAN, path)
    return network, progress


def test_weights_depend_on_seed_only_and_finished_training_is_not_continued(
    uninterrupted, train_set, val_set, tmp_path
):
    network, progress = uninterrupted
    path, seen = tmp_path / "c.safetensors", []
    again, finished, other = (new_network() for _ in range(3))
    assert train(again, train_set, val_set, PLAN, path).history == progress.history
    train(finished, train_set, val_set, PLAN, path, on_epoch=seen.append)
    assert seen == []
    train(other, train_set, val_set, replace(PLAN, seed=6), tmp_path / "other.safetensors")
    assert bits(again) == bits(finished) == bits(network) != bits(other)


def test_training_reduces_loss_and_records_history(uninterrupted):
    _, progress = uninterrupted
    assert [row["epoch"] for row in progress.history] == [0, 1, 2]
    losses = [row["train_loss"] for row in progress.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < 0.8 * losses[0]
    names = {"epoch", "train_loss", "val_loss", "val_accuracy", "val_auc", "learning_rate"}
    assert set(progress.history[0]) == names


class Stopped(Exception):
    """Simulate the end of the process."""


def stop(row):
    raise Stopped


@pytest.mark.parametrize("name", ["compact", "predecessor"])
def test_training_resumes_between_epochs(tmp_path, name):
    # The predecessor has dropout, which is seeded in each epoch.
    small = replace(PLAN, epochs=2, batch=2, crop=256, crops=1)
    data, few = easy_subframes(2, seed=3), easy_subframes(2, seed=4)
    whole, seen, path = new_network(name), [], tmp_path / "two.safetensors"
    expected = train(whole, data, few, small, tmp_path / "one.safetensors")
    with pytest.raises(Stopped):
        train(new_network(name), data, few, small, path, on_epoch=stop)
    torch.manual_seed(99)  # a new process has another state
    resumed = build_network(name, 8)
    assert train(resumed, data, few, small, path, on_epoch=seen.append).history == expected.history
    assert [row["epoch"] for row in seen] == [1]
    assert bits(resumed) == bits(whole)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import torch
from pathlib import Path
from synthetic import easy_subframes
from test_training import PLAN, new_network
from blobwatch.detector.training import train
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
def die(epoch, value, rate):
    if epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
data, val = easy_subframes(24, seed=1), easy_subframes(8, seed=2)
train(new_network(), data, val, PLAN, Path(sys.argv[1]), on_batch=die)
"""


def test_training_resumes_after_sigkill(uninterrupted, train_set, val_set, tmp_path):
    path = tmp_path / "c.safetensors"
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    command = [sys.executable, "-c", KILLED, str(path), str(here.parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
    network = new_network()
    progress = train(network, train_set, val_set, PLAN, path)
    assert progress.history == uninterrupted[1].history
    assert bits(network) == bits(uninterrupted[0])


def with_val_losses(monkeypatch, values: list[float]) -> list[dict[str, bytes]]:
    """Replace the val losses, and record the weights of each epoch."""
    weights, left = [], iter(values)

    def validate(network, data, plan):
        weights.append(bits(network))
        return {"val_loss": next(left), "val_accuracy": 0.5, "val_auc": 0.5}

    monkeypatch.setattr(training, "validate", validate)
    return weights


def test_training_ends_with_weights_of_last_epoch(monkeypatch, train_set, val_set, tmp_path):
    # The val loss has no influence: the learning rate is lowest in the last epoch.
    weights, network = with_val_losses(monkeypatch, [1.0, 2.0, 3.0]), new_network()
    assert train(network, train_set, val_set, PLAN, tmp_path / "c.safetensors").epoch == 3
    assert bits(network) == weights[2]
    assert weights[2] not in weights[:2]
    assert not network.training


def test_nan_loss_raises(monkeypatch, train_set, val_set, tmp_path):
    monkeypatch.setattr(training, "detection_loss", lambda output, *rest: output.sum() * float("nan"))
    with pytest.raises(BlobwatchError, match=r"loss nan in epoch 0\. Lower train\.learning_rate"):
        train(new_network(), train_set, val_set, PLAN, tmp_path / "c.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nonfinite_val_loss_raises(monkeypatch, train_set, val_set, tmp_path, value):
    with_val_losses(monkeypatch, [value])
    with pytest.raises(BlobwatchError, match=r"Lower train\.learning_rate"):
        train(new_network(), train_set, val_set, replace(PLAN, epochs=1), tmp_path / "c.safetensors")


def test_checkpoint_contains_weights_and_moments(train_set, val_set, tmp_path):
    path = tmp_path / "c.safetensors"
    train(new_network(), train_set, val_set, replace(PLAN, epochs=1), path)
    names = load_file(path)
    assert {name.split(".")[0] for name in names} == {"network", "adam"}
    assert "adam.0.exp_avg" in names


# Crops


def marked_set(count: int = 12) -> Shard:
    """Return subframes without noise: blobs are single pixels, in every second subframe."""
    rng = np.random.default_rng(8)
    images = np.zeros((count, 256, 256), dtype=np.int8)
    blobs = []
    for index in range(0, count, 2):
        number = 1 + index // 2 % 6
        places = rng.choice(256 * 256, number, replace=False)
        for value, place in enumerate(sorted(places), start=1):
            y, x = divmod(int(place), 256)
            images[index, y, x] = 16 * value
            blobs.append((index, x, y, x, y, 20.0, 1, *[0.0] * 7))
    subframes = np.zeros(count, dtype=SUBFRAME)
    subframes["label"][::2] = 1
    return Shard(images, subframes, np.array(blobs, dtype=BLOB), np.full(count, "izzz0000q"))


@pytest.mark.parametrize("crop", [64, 128, 256])
def test_crop_lists_the_blobs_it_contains(crop):
    data, plan = marked_set(), replace(PLAN, crop=crop, crops=3)
    labels = []
    for epoch in range(4):
        for images, label, blobs in iterate_batches(data, plan, epoch):
            assert tuple(images.shape[1:]) == (1, crop, crop)
            for image, places in zip(images[:, 0].numpy(), blobs, strict=True):
                shown = {(x, y) for y, x in np.argwhere(image > 0)}
                assert {tuple(place) for place in places.astype(int)} == shown
            assert label.tolist() == [float(len(places) > 0) for places in blobs]
            labels += label.tolist()
    # Each crop of a subframe with blobs shows one of them.
    assert len(labels) == 4 * plan.crops * len(data)
    assert sum(labels) == len(labels) / 2


def test_crop_is_random_or_around_a_blob():
    rng = np.random.default_rng(1)
    anywhere = np.array([draw_crop_origin(rng, np.empty(0, dtype=BLOB), 64) for _ in range(3000)])
    assert anywhere.min(axis=0).tolist() == [0, 0]
    assert anywhere.max(axis=0).tolist() == [192, 192]
    assert anywhere.mean(axis=0) == pytest.approx([96, 96], abs=4)
    blobs = np.zeros(2, dtype=BLOB)
    blobs["x"], blobs["y"] = (130.3, 2.0), (90.6, 254.0)
    places = np.array([draw_crop_origin(rng, blobs, 64) for _ in range(3000)])
    around = places[places[:, 1] < 160]
    assert 0.45 < len(around) / len(places) < 0.55
    inside = np.array([130, 91]) - around  # where the first blob is in its crop
    assert inside.min(axis=0).tolist() == [MARGIN, MARGIN]
    assert inside.max(axis=0).tolist() == [64 - MARGIN, 64 - MARGIN]
    corner = places[places[:, 1] >= 160]  # crops do not go beyond the subframe
    assert (corner == (0, 192)).all()


def test_epochs_use_all_subframes_in_different_order(train_set):
    plan = replace(PLAN, crop=256)  # a whole subframe is recognised whichever way round it is
    shown = [
        torch.cat([part[0] for part in iterate_batches(train_set, plan, epoch)]).numpy() for epoch in (0, 1)
    ]
    own = [np.sort(train_set.scaled(index), axis=None).tobytes() for index in range(len(train_set))]
    orders = [[own.index(np.sort(image, axis=None).tobytes()) for image in images] for images in shown]
    for order in orders:
        assert np.bincount(order).tolist() == [plan.crops] * len(train_set)
    assert orders[0] != orders[1]
    first, second = (next(iterate_batches(train_set, PLAN, epoch))[0] for epoch in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, next(iterate_batches(train_set, PLAN, 0))[0])


def test_number_of_batches_matches_plan(train_set):
    for plan in (PLAN, replace(PLAN, crops=3, batch=7), replace(PLAN, crops=1, batch=100)):
        assert len(list(iterate_batches(train_set, plan, 0))) == plan.steps(len(train_set))


def test_crops_have_all_eight_orientations():
    data = marked_set(2)
    own = data.scaled(0)
    looks = {orient_image(own, flipped, turns).tobytes() for flipped in (False, True) for turns in range(4)}
    plan = replace(PLAN, crop=256, crops=60)
    images = torch.cat([part[0] for part in iterate_batches(data, plan, 0)])[:, 0].numpy()
    seen = {image.tobytes() for image in images if image.any()}
    assert len(looks) == 8
    assert seen == looks


def test_learning_rate_warms_up_and_decays():
    rates = np.array([learning_rate(PLAN, done) for done in np.linspace(0, 1, 101)])
    assert rates.argmax() == 5
    assert rates.max() == pytest.approx(PLAN.learning_rate, rel=0.01)
    assert (np.diff(rates[:6]) > 0).all()
    assert (np.diff(rates[5:]) < 0).all()
    assert 0 < rates[-1] < 0.01 * PLAN.learning_rate
    assert rates[0] > 0
