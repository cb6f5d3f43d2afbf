"""The training loop: seeded, deterministic, and resumed from a checkpoint."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.progress import MofNCompleteColumn, TextColumn
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from blobwatch.dataset.shards import Shard, orient_image, orient_position
from blobwatch.detector.loss import detection_loss
from blobwatch.detector.metrics import auc
from blobwatch.detector.network import Network
from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_file
from blobwatch.images.scaling import dequantize
from blobwatch.images.tiling import SUBFRAME
from blobwatch.progress import progress_bar

MARGIN = 12  # pixels from the blob of a crop to the edge of the crop


@dataclass(frozen=True)
class Plan:
    """Settings of a training, documented in ``params.yaml``."""

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    position_weight: float
    seed: int
    crop: int = SUBFRAME
    crops: int = 1

    def steps(self, subframes: int) -> int:
        """Return the number of batches per epoch."""
        return -(-subframes * self.crops // self.batch)


@dataclass
class Progress:
    """State of a training: the next epoch and the history of metrics."""

    epoch: int = 0
    history: list[dict] = field(default_factory=list)

    @property
    def rows(self) -> list[dict]:
        """Return the rows of ``history.csv``, with eight digits."""
        return [
            {key: value if key == "epoch" else f"{value:.8g}" for key, value in row.items()}
            for row in self.history
        ]


def prepare_torch(threads: int) -> None:
    """Make torch deterministic; weights are only identical for the same thread count."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling only matters for code that reads uninitialised memory, and takes a quarter of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set by torch


def train_with_bar(
    name: str,
    network: Network,
    train_set: Shard,
    val_set: Shard,
    plan: Plan,
    checkpoint: Path,
    on_epoch: Callable[[dict], None] = lambda row: None,
) -> Progress:
    """Run `train` with a progress bar that shows loss and learning rate."""
    steps = plan.steps(len(train_set))
    columns = (TextColumn("loss {task.fields[loss]:.4f}"), TextColumn("rate {task.fields[rate]:.2g}"))
    with progress_bar(MofNCompleteColumn(), *columns) as progress:
        task = progress.add_task(name, total=plan.epochs * steps, loss=float("nan"), rate=0.0)

        def on_batch(epoch: int, value: float, rate: float) -> None:
            completed = max(progress.tasks[task].completed, epoch * steps) + 1
            progress.update(task, completed=completed, loss=value, rate=rate)

        def log_epoch(row: dict) -> None:
            on_epoch(row)
            progress.console.print(
                f"epoch {row['epoch'] + 1}: loss {row['train_loss']:.4f}, "
                f"val loss {row['val_loss']:.4f}, val AUC {row['val_auc']:.4f}"
            )

        return train(network, train_set, val_set, plan, checkpoint, on_batch, log_epoch)


def train(
    network: Network,
    train_set: Shard,
    val_set: Shard,
    plan: Plan,
    checkpoint: Path,
    on_batch: Callable[[int, float, float], None] = lambda epoch, value, rate: None,
    on_epoch: Callable[[dict], None] = lambda row: None,
) -> Progress:
    """Train a network in place; the learning rate decreases almost to 0.

    Parameters
    ----------
    network : Module
    train_set, val_set : Shard
    plan : Plan
    checkpoint : Path
        Written after each epoch. If the file exists, the training is resumed from it.
    on_batch : callable
        Called with the epoch, the running loss and the learning rate.
    on_epoch : callable
        Called with the row of the history.

    Raises
    ------
    BlobwatchError
        If the loss is not finite.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's types
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True
    )
    progress = load_checkpoint(checkpoint, network, optimizer)
    steps = plan.steps(len(train_set))
    while progress.epoch < plan.epochs:
        epoch = progress.epoch
        network.train()
        torch.manual_seed(plan.seed * 1000 + epoch)  # seed of the dropout
        total = 0.0
        for step, (images, labels, blobs) in enumerate(iterate_batches(train_set, plan, epoch)):
            rate = learning_rate(plan, (epoch * steps + step) / (plan.epochs * steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            value = detection_loss(network(images), labels, blobs, network.stride, plan.position_weight)
            if not torch.isfinite(value):
                raise BlobwatchError(f"loss {value.item()} in epoch {epoch}. Lower train.learning_rate")
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            total += value.item()
            on_batch(epoch, total / (step + 1), rate)
        row = {"epoch": epoch, "train_loss": total / steps, **validate(network, val_set, plan)}
        if not np.isfinite(row["val_loss"]):
            raise BlobwatchError(f"val loss {row['val_loss']} in epoch {epoch}. Lower train.learning_rate")
        row["learning_rate"] = rate
        progress.history.append(row)
        progress.epoch += 1
        save_checkpoint(checkpoint, network, optimizer, progress)
        on_epoch(row)
    network.eval()
    return progress


def learning_rate(plan: Plan, done: float) -> float:
    """Return the learning rate at a fraction ``done`` of all steps: warm-up, then cosine decay."""
    warm_up = 0.05
    if done < warm_up:
        return plan.learning_rate * max(done / warm_up, 0.02)
    return float(plan.learning_rate * (0.5 * (1 + np.cos(np.pi * (done - warm_up) / (1 - warm_up))) + 0.002))


Batch = tuple[torch.Tensor, torch.Tensor, list[np.ndarray]]


def iterate_batches(data: Shard, plan: Plan, epoch: int) -> Iterator[Batch]:
    """Yield the batches of one epoch: random crops in random orientation and order."""
    rng = np.random.default_rng([plan.seed, 6, epoch])
    order = rng.permutation(np.repeat(np.arange(len(data)), plan.crops))
    for start in range(0, len(order), plan.batch):
        chosen = order[start : start + plan.batch]
        images = np.empty((len(chosen), 1, plan.crop, plan.crop), dtype=np.float32)
        blobs = []
        for row, index in enumerate(chosen):
            known = data.blobs_of(index)
            x0, y0 = draw_crop_origin(rng, known, plan.crop)
            cut = data.images[index, y0 : y0 + plan.crop, x0 : x0 + plan.crop]
            flipped, turns = bool(rng.integers(2)), int(rng.integers(4))
            images[row, 0] = orient_image(dequantize(cut), flipped, turns)
            x, y = known["x"] - x0, known["y"] - y0
            inside = (np.minimum(x, y) >= -0.5) & (np.maximum(x, y) < plan.crop - 0.5)
            blobs.append(np.stack(orient_position(x[inside], y[inside], flipped, turns, plan.crop), axis=1))
        labels = torch.tensor([float(len(centres) > 0) for centres in blobs])
        yield to_tensor(images), labels, blobs


def draw_crop_origin(rng: np.random.Generator, blobs: np.ndarray, size: int) -> tuple[int, int]:
    """Draw the lower left pixel of a crop, around a random blob if there are any."""
    last = SUBFRAME - size
    if not len(blobs):
        return int(rng.integers(last + 1)), int(rng.integers(last + 1))
    blob = blobs[rng.integers(len(blobs))]
    low, high = (min(MARGIN, size // 2), max(size - MARGIN, size // 2))  # position of the blob in the crop
    x0, y0 = (int(np.clip(round(float(blob[axis])) - rng.integers(low, high + 1), 0, last)) for axis in "xy")
    return x0, y0


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """Return images, shape (n, 1, ny, nx), as a tensor in the fastest memory layout."""
    return torch.from_numpy(images).contiguous(memory_format=torch.channels_last)


def validate(network: Network, data: Shard, plan: Plan) -> dict[str, float]:
    """Return loss, accuracy and AUC on a validation set."""
    total, best = 0.0, []
    for part, output in iterate_outputs(network, data, plan.batch):
        known = [data.blobs_of(i) for i in range(part.start, part.start + len(output))]
        blobs = [np.stack([k["x"], k["y"]], axis=1) for k in known]
        labels = torch.from_numpy(data.labels[part]).float()
        value = detection_loss(output, labels, blobs, network.stride, plan.position_weight)
        total += value.item() * len(output)
        best.append(max_logit(output))
    logits = np.concatenate(best)
    return {
        "val_loss": total / len(data),
        "val_accuracy": float(((logits > 0) == data.labels).mean()),
        "val_auc": auc(data.labels, logits),
    }


def subframe_logits(network: Network, data: Shard) -> np.ndarray:
    """Return the logit of the best cell of each subframe, shape (n,)."""
    return np.concatenate([max_logit(output) for _, output in iterate_outputs(network, data)])


def max_logit(output: torch.Tensor) -> np.ndarray:
    """Return the largest logit of each map."""
    return output[:, 0].amax(dim=(1, 2)).numpy()


def iterate_outputs(network: Network, data: Shard, batch: int = 16) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the subframes and the maps of each batch of a data set."""
    network.eval()
    for start in range(0, len(data), batch):
        part = slice(start, start + batch)
        with torch.inference_mode():
            output = network(to_tensor(data.scaled(part)[:, None]))
        yield part, output


def save_checkpoint(
    path: Path, network: Network, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write a checkpoint with the weights and the moments of Adam, without pickle."""
    tensors = {f"network.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value.contiguous() for name, value in moments.items()}
    with atomic_file(path) as partial:
        save_file(tensors, partial, metadata={"progress": json.dumps(asdict(progress))})


def load_checkpoint(path: Path, network: Network, optimizer: torch.optim.Optimizer) -> Progress:
    """Load a checkpoint if it exists; return the state of the training."""
    if not path.is_file():
        return Progress()
    parts: dict[str, dict] = {"network": {}, "adam": {}}
    with safe_open(path, framework="pt") as file:
        progress = Progress(**json.loads(file.metadata()["progress"]))
        for key in file.keys():  # noqa: SIM118 - the file handle is not iterable
            part, name = key.split(".", 1)
            parts[part][name] = file.get_tensor(key)
    network.load_state_dict(parts["network"])
    state, parameters = optimizer.state_dict(), list(network.parameters())
    for key, value in parts["adam"].items():
        index, name = key.split(".")
        if name != "step":
            # The fused step requires the same memory layout for moments and parameters.
            value = torch.empty_like(parameters[int(index)]).copy_(value)
        state["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(state)
    return progress
