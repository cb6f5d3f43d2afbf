"""Stage ``baseline``: the public predecessor's CNN, trained on the same subframes."""

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
    """Train the predecessor's CNN and write it as a model folder.

    Parameters
    ----------
    subframes : Path
        Output of the ``subframes`` stage.
    out, reports : Path
        Output folders: the model, and ``history.csv``.
    settings : Baseline
    seed : int
        Seed of the weights, order, flips, rotations and dropout.
    threads : int
        Threads of torch. The weights are bit-identical only for one thread count.

    Returns
    -------
    Progress
        With a row per epoch.

    Raises
    ------
    BlobwatchError
        If there are no subframes, or the loss is not finite.

    Notes
    -----
    The predecessor uses Adam with weight decay 1e-5, cross-entropy, flips and quarter turns, and five epochs
    of 1,000 subframes. Its cross-entropy of two classes equals the class loss of `detector.loss` on the
    difference of the two logits. Its standardization is omitted, since subframes are already scaled by the
    noise of the frame.
    """
    prepare_torch(threads)
    train_set, val_set = (read_split(subframes, split) for split in ("train", "val"))
    chosen = np.random.default_rng(seed).permutation(len(train_set))[: settings.subframes]
    train_set = train_set.take(np.sort(chosen))
    torch.manual_seed(seed)
    network = build_network("predecessor")
    # The training takes minutes, so the checkpoint is not kept.
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.safetensors"
        plan = create_baseline_plan(settings, seed)
        progress = train_with_bar("baseline", network, train_set, val_set, plan, checkpoint)
    last = progress.history[-1]
    console.print(f"baseline: {progress.epoch} epochs, val AUC {last['val_auc']:.4f}")
    with atomic_folder(out) as folder:
        # The evaluate stage sets the threshold of each baseline on val.
        write_artefact(folder, network, ARCHITECTURE, {"threshold": 0.5})
    with atomic_folder(reports) as folder:
        write_table(folder / "history.csv", progress.rows)
    return progress


def create_baseline_plan(settings: Baseline, seed: int) -> Plan:
    """Return the training plan, without a loss of positions."""
    return Plan(**settings.model_dump(exclude={"subframes"}), position_weight=0.0, seed=seed)
