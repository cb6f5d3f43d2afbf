"""The training loop: the same again from the same seed, also after a kill; the best epoch; sentences."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made import easy_set
from safetensors.torch import load_file

from blobwatch.detector import training
from blobwatch.detector.network import build
from blobwatch.detector.training import Plan, batches, learning_rate, train
from blobwatch.errors import BlobwatchError

PLAN = Plan(
    epochs=3,
    patience=3,
    batch=8,
    learning_rate=0.03,
    weight_decay=1e-4,
    position_weight=1.0,
    seed=5,
    loss="focal",
    turns=True,
)


@pytest.fixture(scope="module")
def train_set():
    return easy_set(24, seed=1)


@pytest.fixture(scope="module")
def val_set():
    return easy_set(8, seed=2)


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
    return build(name, 1).to(memory_format=torch.channels_last)


def bits(network: torch.nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="module")
def uninterrupted(train_set, val_set, tmp_path_factory):
    network = new_network()
    path = tmp_path_factory.mktemp("training") / "checkpoint.safetensors"
    progress = train(network, train_set, val_set, PLAN, path)
    return network, progress


def test_the_same_seed_gives_the_same_bits(uninterrupted, train_set, val_set, tmp_path):
    network, progress = uninterrupted
    again = new_network()
    assert train(again, train_set, val_set, PLAN, tmp_path / "c.safetensors").history == progress.history
    assert bits(again) == bits(network)


def test_another_seed_does_not(uninterrupted, train_set, val_set, tmp_path):
    other = new_network()
    train(other, train_set, val_set, replace(PLAN, seed=6), tmp_path / "c.safetensors")
    assert bits(other) != bits(uninterrupted[0])


def test_it_learns_and_says_how(uninterrupted):
    _, progress = uninterrupted
    assert [row["epoch"] for row in progress.history] == [0, 1, 2]
    losses = [row["train_loss"] for row in progress.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < 0.8 * losses[0]
    names = {"epoch", "train_loss", "val_loss", "val_accuracy", "val_auc", "learning_rate"}
    assert set(progress.history[0]) == names


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("last", [0, 1])
def test_it_goes_on_after_an_end_between_epochs(uninterrupted, train_set, val_set, tmp_path, last):
    def on_epoch(row):
        if row["epoch"] == last:
            raise Stopped

    path = tmp_path / "c.safetensors"
    with pytest.raises(Stopped):
        train(new_network(), train_set, val_set, PLAN, path, on_epoch=on_epoch)
    torch.manual_seed(99)  # a new process starts anywhere
    network, seen = build("compact", 1).to(memory_format=torch.channels_last), []
    progress = train(network, train_set, val_set, PLAN, path, on_epoch=seen.append)
    assert [row["epoch"] for row in seen] == list(range(last + 1, 3))
    assert progress.history == uninterrupted[1].history
    assert bits(network) == bits(uninterrupted[0])


def test_it_goes_on_after_an_end_inside_an_epoch(uninterrupted, train_set, val_set, tmp_path):
    def on_batch(epoch, value, rate):
        if epoch == 2:
            raise Stopped

    path = tmp_path / "c.safetensors"
    with pytest.raises(Stopped):
        train(new_network(), train_set, val_set, PLAN, path, on_batch=on_batch)
    network = new_network()
    train(network, train_set, val_set, PLAN, path)
    assert bits(network) == bits(uninterrupted[0])


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import torch
from pathlib import Path
from made import easy_set
from test_training import PLAN, new_network
from blobwatch.detector.training import train
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
def die(epoch, value, rate):
    if epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
train(new_network(), easy_set(24, seed=1), easy_set(8, seed=2), PLAN, Path(sys.argv[1]), on_batch=die)
"""


def test_it_goes_on_after_a_real_kill(uninterrupted, train_set, val_set, tmp_path):
    path = tmp_path / "c.safetensors"
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": str(here)}
    command = [sys.executable, "-c", KILLED, str(path), str(here.parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
    network = new_network()
    progress = train(network, train_set, val_set, PLAN, path)
    assert progress.history == uninterrupted[1].history
    assert bits(network) == bits(uninterrupted[0])


def test_a_finished_training_is_not_trained_further(uninterrupted, train_set, val_set, tmp_path):
    path = tmp_path / "c.safetensors"
    train(new_network(), train_set, val_set, PLAN, path)
    network, seen = build("compact", 1), []
    train(network, train_set, val_set, PLAN, path, on_epoch=seen.append)
    assert seen == []
    assert bits(network) == bits(uninterrupted[0])


def with_val_losses(monkeypatch, values: list[float]) -> list[dict[str, bytes]]:
    """Let the val loss be as given, and keep the weights of each epoch."""
    weights, left = [], iter(values)

    def validate(network, data, plan):
        weights.append(bits(network))
        return {"val_loss": next(left), "val_accuracy": 0.5, "val_auc": 0.5}

    monkeypatch.setattr(training, "validate", validate)
    return weights


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "best"),
    [([3.0, 2.0, 2.5, 2.1, 1.0], 2, 4, 1), ([3.0, 3.5, 1.0], 1, 2, 0), ([3.0, 2.0, 1.0], 1, 3, 2)],
)
def test_it_stops_early_with_the_weights_of_the_best_epoch(
    monkeypatch, train_set, val_set, tmp_path, values, patience, epochs, best
):
    weights = with_val_losses(monkeypatch, values)
    plan = replace(PLAN, epochs=len(values), patience=patience)
    network = new_network()
    progress = train(network, train_set, val_set, plan, tmp_path / "c.safetensors")
    assert (progress.epoch, progress.best_epoch) == (epochs, best)
    assert bits(network) == weights[best]
    assert weights[best] not in [one for epoch, one in enumerate(weights) if epoch != best]
    assert not network.training


def test_the_best_epoch_outlives_a_kill(monkeypatch, train_set, val_set, tmp_path):
    weights = with_val_losses(monkeypatch, [1.0, 2.0, 2.0])

    def on_epoch(row):
        if row["epoch"] == 1:
            raise Stopped

    path = tmp_path / "c.safetensors"
    with pytest.raises(Stopped):
        train(new_network(), train_set, val_set, PLAN, path, on_epoch=on_epoch)
    network = new_network()
    assert train(network, train_set, val_set, PLAN, path).best_epoch == 0
    assert bits(network) == weights[0]


def test_a_loss_that_is_no_number_is_said(monkeypatch, train_set, val_set, tmp_path):
    monkeypatch.setattr(training, "loss", lambda output, *rest: output.sum() * float("nan"))
    with pytest.raises(BlobwatchError, match=r"the loss is nan in epoch 0; lower train\.learning_rate"):
        train(new_network(), train_set, val_set, PLAN, tmp_path / "c.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_val_loss_that_is_no_number_is_said(monkeypatch, train_set, val_set, tmp_path, value):
    with_val_losses(monkeypatch, [value])
    with pytest.raises(BlobwatchError, match=r"lower train\.learning_rate"):
        train(new_network(), train_set, val_set, replace(PLAN, epochs=1), tmp_path / "c.safetensors")


def test_the_checkpoint_runs_no_code_and_holds_the_moments(train_set, val_set, tmp_path):
    path = tmp_path / "c.safetensors"
    train(new_network(), train_set, val_set, replace(PLAN, epochs=1), path)
    names = load_file(path)
    assert {name.split(".")[0] for name in names} == {"network", "best", "adam"}
    assert "adam.0.exp_avg" in names


def test_each_epoch_sees_each_subframe_once_in_its_own_order(train_set):
    for epoch in (0, 1):
        labels = torch.cat([part[1] for part in batches(train_set, PLAN, epoch)])
        assert labels.sum() == train_set.labels.sum()
    first, second = (next(batches(train_set, PLAN, epoch))[0] for epoch in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, next(batches(train_set, PLAN, 0))[0])


def test_blobs_turn_with_their_images(train_set):
    checked = 0
    for images, labels, blobs in batches(train_set, PLAN, 0):
        for image, label, places in zip(images, labels, blobs, strict=True):
            assert bool(label) == (len(places) > 0)
            for x, y in places.astype(int):
                if 6 < x < 249 and 6 < y < 249:
                    around = image[0, y - 2 : y + 4, x - 2 : x + 4].mean()
                    checked += 1
                    assert around > 0.7, (x, y)
    assert checked > 10


def test_without_turns_subframes_are_shown_as_they_are(train_set):
    plan = replace(PLAN, turns=False)
    for epoch in (0, 1):
        shown = {}
        for images, _, blobs in batches(train_set, plan, epoch):
            shown |= {image.numpy().tobytes(): places for image, places in zip(images, blobs, strict=True)}
        assert len(shown) == len(train_set)
        for index in range(len(train_set)):
            places = shown[train_set.scaled(index).tobytes()]
            own = train_set.blobs_of(index)
            np.testing.assert_array_equal(places, np.stack([own["x"], own["y"]], axis=1))
    first, second = (next(batches(train_set, plan, epoch))[0] for epoch in (0, 1))
    assert not torch.equal(first, second)  # the order is another


def test_with_turns_they_are_shown_in_all_orientations(train_set):
    own = {train_set.scaled(index).tobytes() for index in range(len(train_set))}
    images = torch.cat([part[0] for epoch in (0, 1) for part in batches(train_set, PLAN, epoch)])
    as_they_are = [image.numpy().tobytes() in own for image in images]
    assert 0 < sum(as_they_are) < len(as_they_are) / 2


def test_the_loss_is_that_of_the_plan(train_set, val_set, tmp_path):
    losses = {}
    for kind in ("logistic", "focal"):
        plan = replace(PLAN, epochs=1, loss=kind)
        progress = train(new_network(), train_set, val_set, plan, tmp_path / f"{kind}.safetensors")
        losses[kind] = progress.history[0]
    for name in ("train_loss", "val_loss"):
        assert losses["logistic"][name] != pytest.approx(losses["focal"][name], rel=0.01)


def test_the_rate_rises_briefly_and_falls():
    rates = np.array([learning_rate(PLAN, done) for done in np.linspace(0, 1, 101)])
    assert rates.argmax() == 5
    assert rates.max() == pytest.approx(PLAN.learning_rate, rel=0.01)
    assert (np.diff(rates[:6]) > 0).all()
    assert (np.diff(rates[5:]) < 0).all()
    assert 0 < rates[-1] < 0.01 * PLAN.learning_rate
    assert rates[0] > 0


def test_dropout_is_the_same_again(train_set, val_set, tmp_path):
    """The predecessor has dropout, whose stream begins anew in each epoch."""
    small = replace(PLAN, epochs=2, batch=2)
    data, few = easy_set(2, seed=3), easy_set(2, seed=4)

    def stop(row):
        raise Stopped

    whole = new_network("predecessor")
    train(whole, data, few, small, tmp_path / "one.safetensors")
    with pytest.raises(Stopped):
        train(new_network("predecessor"), data, few, small, tmp_path / "two.safetensors", on_epoch=stop)
    torch.manual_seed(3)
    resumed = build("predecessor", 1)
    train(resumed, data, few, small, tmp_path / "two.safetensors")
    assert bits(resumed) == bits(whole)
