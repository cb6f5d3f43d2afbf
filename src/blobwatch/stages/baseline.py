"""Stage ``baseline``: the public predecessor's CNN, trained on the same subframes by its own recipe."""

import tempfile
from pathlib import Path

import pandas as pd
import torch

from blobwatch.dataset.shards import Shard, read_split
from blobwatch.detector.export import write_artefact
from blobwatch.detector.network import build
from blobwatch.detector.training import Plan, Progress
from blobwatch.detector.training import train as fit
from blobwatch.files import whole_folder
from blobwatch.params import Baseline
from blobwatch.progress import bar, console

ARCHITECTURE = {"name": "predecessor", "width": 1}  # its width is fixed


def baseline(
    subframes: Path, out: Path, reports: Path, settings: Baseline, seed: int, threads: int
) -> Progress:
    """Train the predecessor's CNN and write its artefact, so that every evaluation has it beside the own.

    Parameters
    ----------
    subframes : Path
        What the ``subframes`` stage wrote.
    out, reports : Path
        Folders that are written: the artefact, and ``history.csv``.
    settings : Baseline
    seed : int
        Of weights, order, flips and turns, and dropout.
    threads : int
        Of torch; the weights are bit-identical only for one thread count.

    Returns
    -------
    Progress
        With a row per epoch.

    Raises
    ------
    BlobwatchError
        If there are no subframes, or the loss stops being a number.

    Notes
    -----
    The recipe is Adam with weight decay 1e-5, cross-entropy, flips and quarter turns. Its five epochs of
    1,000 subframes are ``epochs`` of many more here. Its cross-entropy of two classes is that of the
    difference of the two logits, which is the class loss of `detector.loss`. Its standardising to mean 0 and
    std 1 is left out: subframes come in units of the frame's noise about its median, and a served model gets
    frames scaled like that.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # The filling only serves code that reads what it never wrote, and it costs a quarter of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False
    train_set, val_set = (read_split(subframes, split) for split in ("train", "val"))
    torch.manual_seed(seed)
    network = build(ARCHITECTURE["name"], ARCHITECTURE["width"])
    network = network.to(memory_format=torch.channels_last)
    progress = fit_with_bar(network, train_set, val_set, plan_of(settings, seed))
    with whole_folder(out) as folder:
        # evaluate sets the threshold on val, as it does for each baseline.
        write_artefact(folder, network, ARCHITECTURE, {"threshold": 0.5})
    with whole_folder(reports) as folder:
        table = pd.DataFrame(progress.history)
        table.to_csv(folder / "history.csv", index=False, float_format="%.8g", lineterminator="\n")
    return progress


def plan_of(settings: Baseline, seed: int) -> Plan:
    """Return the training plan: all epochs are run, and there is no position to learn."""
    return Plan(**settings.model_dump(), patience=settings.epochs, position_weight=0.0, seed=seed)


def fit_with_bar(network: torch.nn.Module, train_set: Shard, val_set: Shard, plan: Plan) -> Progress:
    """Train, and show how far it is; two minutes are no loss worth a checkpoint that outlives them."""
    steps = plan.epochs * -(-len(train_set) // plan.batch)
    with tempfile.TemporaryDirectory() as folder, bar() as progress:
        task = progress.add_task("baseline", total=steps)
        done = fit(
            network,
            train_set,
            val_set,
            plan,
            Path(folder) / "checkpoint.safetensors",
            on_batch=lambda epoch, value, rate: progress.advance(task),
        )
    best = done.history[done.best_epoch]
    console.print(f"baseline: best epoch {best['epoch'] + 1} of {done.epoch}, val AUC {best['val_auc']:.4f}")
    return done
