"""Stage ``baseline``: the public predecessor's CNN, trained on the same subframes by its own recipe."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from blobwatch.dataset.shards import read_split
from blobwatch.detector.export import write_artefact
from blobwatch.detector.network import build_network
from blobwatch.detector.training import Plan, Progress, prepare_torch, train_with_bar
from blobwatch.files import atomic_folder, write_table
from blobwatch.params import Baseline
from blobwatch.progress import console

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
    The recipe is Adam with weight decay 1e-5, cross-entropy, flips and quarter turns, and five epochs of
    1,000 subframes. Its cross-entropy of two classes is that of the
    difference of the two logits, which is the class loss of `detector.loss`. Its standardising to mean 0 and
    std 1 is left out: subframes come in units of the frame's noise about its median, and a served model gets
    frames scaled like that.
    """
    prepare_torch(threads)
    train_set, val_set = (read_split(subframes, split) for split in ("train", "val"))
    chosen = np.random.default_rng(seed).permutation(len(train_set))[: settings.subframes]
    train_set = train_set.take(np.sort(chosen))
    torch.manual_seed(seed)
    network = build_network(ARCHITECTURE["name"], ARCHITECTURE["width"])
    network = network.to(memory_format=torch.channels_last)
    # Minutes are no loss worth a checkpoint that outlives them.
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.safetensors"
        plan = create_baseline_plan(settings, seed)
        progress = train_with_bar("baseline", network, train_set, val_set, plan, checkpoint)
    last = progress.history[-1]
    console.print(f"baseline: {progress.epoch} epochs, val AUC {last['val_auc']:.4f}")
    with atomic_folder(out) as folder:
        # evaluate sets the threshold on val, as it does for each baseline.
        write_artefact(folder, network, ARCHITECTURE, {"threshold": 0.5})
    with atomic_folder(reports) as folder:
        write_table(folder / "history.csv", progress.rows)
    return progress


def create_baseline_plan(settings: Baseline, seed: int) -> Plan:
    """Return the training plan: all epochs are run, and there is no position to learn."""
    return Plan(**settings.model_dump(exclude={"subframes"}), position_weight=0.0, seed=seed)
