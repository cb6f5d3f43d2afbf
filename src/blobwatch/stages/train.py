"""Stage ``train``: the network, its threshold, its artefact, and its MLflow run."""

import csv
from pathlib import Path

import torch
from rich.progress import TextColumn

from blobwatch import __version__
from blobwatch.artefact import MANIFEST, Model
from blobwatch.dataset.shards import Shard, read_split
from blobwatch.detector import calibration
from blobwatch.detector.export import write_artefact
from blobwatch.detector.metrics import threshold_for
from blobwatch.detector.network import build
from blobwatch.detector.scoring import score_model
from blobwatch.detector.training import Plan, Progress, best_logits
from blobwatch.detector.training import train as fit
from blobwatch.files import whole_file, whole_folder, write_json
from blobwatch.lineage import tracking
from blobwatch.lineage.fingerprint import take
from blobwatch.params import Params
from blobwatch.progress import bar, console

UNFINISHED = Path(".dvc/tmp/blobwatch")  # checkpoints of trainings that were killed


def train(root: Path, subframes: Path, candidate: Path, reports: Path, params: Params) -> None:
    """Train on the train subframes; stop early, calibrate and set the threshold on val; write the artefact.

    Parameters
    ----------
    root : Path
        Of the project: ``dvc.yaml`` lies there.
    subframes : Path
        What the ``subframes`` stage wrote.
    candidate, reports : Path
        Folders that are written.
    params : Params
    """
    torch.set_num_threads(params.threads)
    torch.use_deterministic_algorithms(True)
    # The filling only serves code that reads what it never wrote, and it costs a quarter of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False
    fingerprint = take(root, "train")
    train_set, val_set = read_split(subframes, "train"), read_split(subframes, "val")
    # The run ends with an error if an input changed meanwhile, and then nothing is written.
    with tracking.training(root, fingerprint) as run:
        torch.manual_seed(params.seed)
        network = build(**architecture_of(params))
        network = network.to(memory_format=torch.channels_last)
        checkpoint = root / UNFINISHED / f"{fingerprint.sha256}.safetensors"
        progress = fit_with_bar(network, train_set, val_set, plan_of(params), checkpoint, run)
        network.calibrate(*calibration.fit(val_set.labels, best_logits(network, val_set)))
    about = {
        "version": __version__,
        "fingerprint": {"sha256": fingerprint.sha256, "parts": fingerprint.parts},
        "data": fingerprint.parts["data"],
        "metrics": {k: round(v, 6) for k, v in progress.history[progress.best_epoch].items()},
    }
    with whole_folder(candidate) as folder:
        manifest = write_artefact(folder, network, architecture_of(params), about | {"threshold": 0.5})
        manifest["threshold"] = choose_threshold(folder, val_set, params)
        write_json(folder / MANIFEST, manifest)
    with whole_folder(reports) as folder:
        write_history(folder / "history.csv", progress)
    checkpoint.unlink(missing_ok=True)
    console.print(
        f"train: best epoch {progress.best_epoch + 1} of {progress.epoch}, "
        f"val AUC {about['metrics']['val_auc']:.4f}, threshold {manifest['threshold']:.3f}, "
        f"{manifest['parameters']:,} parameters"
    )


def architecture_of(params: Params) -> dict:
    """Return what the network is built from."""
    return {"name": params.train.architecture, "width": params.train.width, "clip": params.train.clip}


def plan_of(params: Params) -> Plan:
    """Return the training plan out of ``params.yaml``."""
    return Plan(**params.train.model_dump(exclude={"architecture", "width", "clip"}), seed=params.seed)


def fit_with_bar(
    network: torch.nn.Module,
    train_set: Shard,
    val_set: Shard,
    plan: Plan,
    checkpoint: Path,
    run: tracking.Run,
) -> Progress:
    """Train, and show epoch, loss and rate while it goes on."""
    steps = -(-len(train_set) // plan.batch)
    columns = (TextColumn("loss {task.fields[loss]:.4f}"), TextColumn("rate {task.fields[rate]:.2g}"))
    with bar(*columns) as progress:
        task = progress.add_task("train", total=plan.epochs * steps, loss=float("nan"), rate=0.0)
        done = {"steps": 0}

        def on_batch(epoch: int, value: float, rate: float) -> None:
            done["steps"] = max(done["steps"] + 1, epoch * steps + 1)
            progress.update(task, completed=done["steps"], loss=value, rate=rate)

        def on_epoch(row: dict) -> None:
            run.log_epoch(row, row["epoch"])
            progress.console.print(
                f"epoch {row['epoch'] + 1}: loss {row['train_loss']:.4f}, "
                f"val loss {row['val_loss']:.4f}, val AUC {row['val_auc']:.4f}"
            )

        return fit(network, train_set, val_set, plan, checkpoint, on_batch, on_epoch)


def choose_threshold(folder: Path, val_set: Shard, params: Params) -> float:
    """Return the threshold that gives the wanted rate of false blobs on val, through the serving model."""
    scored = score_model(Model.load(folder), val_set, params.evaluate.match_radius)
    threshold = threshold_for(scored.matches, len(val_set), params.evaluate.false_per_100)
    return min(round(threshold, 6), 0.999999)  # rounded to 1, it would find nothing


def write_history(path: Path, progress: Progress) -> None:
    """Write the row of each epoch as CSV."""
    with whole_file(path) as partial, partial.open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(progress.history[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(
            {key: value if key == "epoch" else f"{value:.8g}" for key, value in row.items()}
            for row in progress.history
        )
