"""Stage ``train``: network, threshold, model folder and MLflow run."""

from pathlib import Path

import torch

from blobwatch import __version__
from blobwatch.artefact import MANIFEST, Model
from blobwatch.dataset.shards import read_split
from blobwatch.detector import calibration
from blobwatch.detector.export import write_artefact
from blobwatch.detector.network import build_network
from blobwatch.detector.threshold import choose_threshold
from blobwatch.detector.training import Plan, prepare_torch, subframe_logits, train_with_bar
from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_folder, read_table, write_json, write_table
from blobwatch.lineage.fingerprint import EXPOSURES, Fingerprint, take_fingerprint
from blobwatch.lineage.tracking import runs
from blobwatch.params import Params
from blobwatch.progress import console

UNFINISHED = Path(".dvc/tmp/blobwatch")  # checkpoints of interrupted trainings


def train(root: Path, subframes: Path, candidate: Path, reports: Path, params: Params) -> None:
    """Train the network, calibrate it on val and write the candidate.

    Parameters
    ----------
    root : Path
        Project folder, which contains ``dvc.yaml``.
    subframes : Path
        Output of the ``subframes`` stage.
    candidate, reports : Path
        Output folders.
    params : Params
    """
    prepare_torch(params.threads)
    fingerprint = take_fingerprint(root, "train")
    check_subframes(root, fingerprint, subframes)
    train_set, val_set = read_split(subframes, "train"), read_split(subframes, "val")
    # The run fails if an input changes during the training; then nothing is written.
    with runs.training(root, fingerprint) as run:
        torch.manual_seed(params.seed)
        network = build_network(**get_architecture(params))
        checkpoint = root / UNFINISHED / f"{fingerprint.sha256}.safetensors"
        plan = create_plan(params)
        progress = train_with_bar("train", network, train_set, val_set, plan, checkpoint, run.log_epoch)
        network.calibrate(*calibration.fit_platt_scaling(val_set.labels, subframe_logits(network, val_set)))
    about = {
        "version": __version__,
        "fingerprint": fingerprint.as_json(),
        "data": fingerprint.parts["data"],
        "exposures": read_table(subframes / EXPOSURES),
        "metrics": {k: round(v, 6) for k, v in progress.history[-1].items()},
    }
    with atomic_folder(candidate) as folder:
        manifest = write_artefact(folder, network, get_architecture(params), about | {"threshold": 0.5})
        limits = params.evaluate.match_radius, params.evaluate.false_per_100
        manifest["threshold"] = choose_threshold(Model.load(folder), val_set, *limits)
        write_json(folder / MANIFEST, manifest)
    with atomic_folder(reports) as folder:
        write_table(folder / "history.csv", progress.rows)
    checkpoint.unlink(missing_ok=True)
    console.print(
        f"train: {progress.epoch} epochs, "
        f"val AUC {about['metrics']['val_auc']:.4f}, threshold {manifest['threshold']:.3f}, "
        f"{manifest['parameters']:,} parameters"
    )


def check_subframes(root: Path, fingerprint: Fingerprint, subframes: Path) -> None:
    """Raise an error if the subframes do not match the fingerprint.

    Also raise one if their exposures are not recorded.
    """
    if subframes.resolve() not in [(root / path).resolve() for path in fingerprint.parts["data"]]:
        raise BlobwatchError(
            f"{subframes}: not an input of the train stage in dvc.yaml. "
            "Train on the folder named there, or change dvc.yaml"
        )
    if not fingerprint.parts.get("exposures"):
        raise BlobwatchError(f"{subframes}: no list of exposures. Run `dvc repro subframes`")


def get_architecture(params: Params) -> dict:
    """Return the architecture of the network."""
    return {"name": params.train.architecture, "width": params.train.width, "clip": params.train.clip}


def create_plan(params: Params) -> Plan:
    """Return the training plan from the ``train`` section."""
    return Plan(**params.train.model_dump(exclude={"architecture", "width", "clip"}), seed=params.seed)
