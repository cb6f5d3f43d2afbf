"""What is in the files put into a run: the evaluation of a model, or a whole run that DVC never ran here."""

import hashlib
import json
from pathlib import Path

from blobwatch.artefact import MANIFEST, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import folder_hash, read_table
from blobwatch.lineage.origin import DIRTY, commit_of, fingerprint_of
from blobwatch.lineage.tracking.runs import COMMIT, IS_DIRTY, REBUILT, create_run, find_run, flat, log_metrics
from blobwatch.lineage.tracking.store import Store, open_store

RECORDED = "blobwatch.recorded"  # hash of what was logged last, written when all of it is there
INTERVAL = ("value", "low", "high")


def record_evaluation(
    root: Path, folder: Path, reports: Path, history: Path | None = None
) -> tuple[str, bool]:
    """Log the evaluation of a model, its figures and its files to the run that trained it.

    Parameters
    ----------
    root : Path
        The project's folder.
    folder : Path
        Of the model; its manifest holds the fingerprint by which the run is found, or else rebuilt.
    reports : Path
        The folder with ``metrics.json``, tables and ``figures/``.
    history : Path, optional
        The table of epochs, for a run that has to be rebuilt.

    Returns
    -------
    run_id : str
    logged : bool
        False if the run had all of it already, and nothing was logged.
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
    """Return the run that trained a model; where this store never saw it, rebuild it from the files.

    A run that is rebuilt has the tag ``blobwatch.rebuilt`` and no system metrics. Its commit is the one
    given, else the one found here, with the dirty flag unless its inputs are those of that commit.
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
    if history is not None and history.is_file():
        for row in read_history(history):
            log_metrics(store, run_id, row, int(row.pop("epoch")))
    store.client.set_terminated(run_id, "FINISHED")
    return run_id


def log_model(store: Store, run_id: str, model: Model) -> str:
    """Log the three files of a model as artifacts and return the address of their folder.

    The folder is named by content, since the same training on another processor may give other last bits.
    """
    folder = f"models/{model.files[MANIFEST][:12]}"
    for name in model.files:
        store.client.log_artifact(run_id, str(model.folder / name), folder)
    return f"{store.client.get_run(run_id).info.artifact_uri}/{folder}"


def manifest_metrics(model: Model) -> dict[str, float]:
    """Return the metrics that the manifest holds, under names of their own."""
    return flat({"model": model.manifest.get("metrics", {})})


def read_metrics(reports: Path) -> dict:
    """Return the content of ``metrics.json``."""
    try:
        return json.loads((reports / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BlobwatchError(f"{reports} holds no metrics.json; run `dvc repro evaluate`") from None
    except ValueError as error:
        raise BlobwatchError(
            f"{reports / 'metrics.json'} is no JSON: {error}; run `dvc repro evaluate`"
        ) from None


def metric_values(metrics: dict) -> dict[str, float]:
    """Return flat names: ``subframes.auc`` for the value, ``…_low`` and ``…_high`` for its interval."""
    values = {}
    for name, value in flat(metrics).items():
        stem, _, last = name.rpartition(".")
        if last in INTERVAL and stem:
            name = stem if last == "value" else f"{stem}_{last}"
        values[name] = value
    return values


def logged_values(metrics: dict) -> dict[str, float]:
    """Return the values for a run; those of the baselines on the robustness sets are in its table only."""
    values = metric_values(metrics)
    return {
        name: value
        for name, value in values.items()
        if not name.startswith("robustness.sets.") or ".cnn." in name
    }


def read_history(path: Path) -> list[dict[str, float]]:
    """Return the rows of the table of epochs; an empty cell is left out."""
    return [{key: float(value) for key, value in row.items() if value} for row in read_table(path)]
