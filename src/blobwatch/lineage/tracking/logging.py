"""Logging to a run from files: the evaluation of a model, or a training that DVC restored."""

import hashlib
import json
from pathlib import Path

from blobwatch.artefact import MANIFEST, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import folder_hash, read_table
from blobwatch.lineage.origin import DIRTY, commit_of, fingerprint_of
from blobwatch.lineage.tracking.runs import COMMIT, IS_DIRTY, REBUILT, create_run, find_run, flat, log_metrics
from blobwatch.lineage.tracking.store import Store, open_store

RECORDED = "blobwatch.recorded"  # hash of the logged files, written last
INTERVAL = ("value", "low", "high")


def record_evaluation(
    root: Path, folder: Path, reports: Path, history: Path | None = None
) -> tuple[str, bool]:
    """Log the evaluation and files of a model to its training run.

    Parameters
    ----------
    root : Path
        Project folder.
    folder : Path
        Model folder. The run is found by the fingerprint in its manifest, or else rebuilt.
    reports : Path
        Folder with ``metrics.json``, tables and ``figures/``.
    history : Path, optional
        Table of epochs, for a rebuilt run.

    Returns
    -------
    run_id : str
    logged : bool
        False if the run already contains everything.
    """
    store, model = open_store(root), Model.load(folder)
    run_id = find_or_rebuild_run(store, root, model, history)
    content = folder_hash(reports) + folder_hash(folder)
    mark = hashlib.sha256(content.encode()).hexdigest()
    if store.client.get_run(run_id).data.tags.get(RECORDED) == mark:
        return run_id, False
    log_metrics(store, run_id, logged_values(read_metrics(reports)) | manifest_metrics(model))
    for path in sorted(reports.iterdir()):
        if path.is_file():
            store.client.log_artifact(run_id, str(path), "evaluate")
    if (reports / "figures").is_dir():
        store.client.log_artifacts(run_id, str(reports / "figures"), "figures")
    log_model(store, run_id, model)
    store.client.set_tag(run_id, RECORDED, mark)
    return run_id, True


def find_or_rebuild_run(
    store: Store, root: Path, model: Model, history: Path | None = None, commit: str | None = None
) -> str:
    """Return the training run of a model; rebuild it from the files if the store lacks it.

    A rebuilt run has the tag ``blobwatch.rebuilt`` and no system metrics. Its commit is ``commit``, or else
    the current one. The dirty flag is set if its inputs differ from that commit.
    """
    fingerprint = fingerprint_of(model)
    found = find_run(store, fingerprint.sha256)
    if found is not None:
        return found.info.run_id
    commit = commit or commit_of(root, fingerprint)
    tags = {REBUILT: "true", COMMIT: commit.removesuffix(DIRTY)}
    tags[IS_DIRTY] = str(commit.endswith(DIRTY)).lower()
    run_id = create_run(store, root, fingerprint, tags).info.run_id
    log_metrics(store, run_id, manifest_metrics(model))
    if history and history.is_file():
        for row in read_history(history):
            log_metrics(store, run_id, row, int(row.pop("epoch")))
    store.client.set_terminated(run_id, "FINISHED")
    return run_id


def log_model(store: Store, run_id: str, model: Model) -> str:
    """Log the three files of a model as artifacts; return the URI of their folder.

    The folder name is a hash, since another processor may round the weights differently.
    """
    folder = f"models/{model.files[MANIFEST][:12]}"
    for name in model.files:
        store.client.log_artifact(run_id, str(model.folder / name), folder)
    return f"{store.client.get_run(run_id).info.artifact_uri}/{folder}"


def manifest_metrics(model: Model) -> dict[str, float]:
    """Return the metrics in the manifest, with the prefix ``model.``."""
    return flat({"model": model.manifest.get("metrics", {})})


def read_metrics(reports: Path) -> dict:
    """Return the content of ``metrics.json``."""
    try:
        return json.loads((reports / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BlobwatchError(f"{reports} contains no metrics.json. Run `dvc repro evaluate`") from None
    except ValueError as error:
        raise BlobwatchError(
            f"{reports / 'metrics.json'} is not valid JSON: {error}. Run `dvc repro evaluate`"
        ) from None


def metric_values(metrics: dict) -> dict[str, float]:
    """Return metrics by flat name: ``subframes.auc``, ``subframes.auc_low`` and ``…_high``."""
    values = {}
    for name, value in flat(metrics).items():
        stem, _, last = name.rpartition(".")
        if last in INTERVAL and stem:
            name = stem if last == "value" else f"{stem}_{last}"
        values[name] = value
    return values


def logged_values(metrics: dict) -> dict[str, float]:
    """Return the metrics for a run, without the baselines of the robustness sets."""
    return {
        name: value
        for name, value in metric_values(metrics).items()
        if not name.startswith("robustness.sets.") or ".cnn." in name
    }


def read_history(path: Path) -> list[dict[str, float]]:
    """Return the rows of the table of epochs, without empty cells."""
    return [{key: float(value) for key, value in row.items() if value} for row in read_table(path)]
