"""Logging to a run from files: the evaluation of a model, or a training that DVC restored."""

import hashlib
import json
from pathlib import Path

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import folder_hash, read_table
from blobwatch.lineage import git
from blobwatch.lineage.fingerprint import Fingerprint
from blobwatch.lineage.origin import DIRTY, commit_of, fingerprint_of
from blobwatch.lineage.tracking.headlines import log_baselines, log_headlines, log_tables
from blobwatch.lineage.tracking.logged_model import CARD, NOTE, log_model, shorten_card
from blobwatch.lineage.tracking.runs import COMMIT, IS_DIRTY, REBUILT, create_run, find_run, log_metrics
from blobwatch.lineage.tracking.store import Store, open_store

RECORDED = "blobwatch.recorded"  # hash of the logged files, written last


def record_evaluation(
    root: Path, folder: Path, reports: Path, history: Path | None = None, commit: str | None = None
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
    commit : str, optional
        Commit of the inputs of a model that is restored from git.

    Returns
    -------
    run_id : str
    logged : bool
        False if the run already contains everything.
    """
    store, model = open_store(root), Model.load(folder)
    fingerprint = fingerprint_of(model)
    run_id = find_or_rebuild_run(store, root, fingerprint, history, commit)
    content = folder_hash(reports) + folder_hash(folder)
    mark = hashlib.sha256(content.encode()).hexdigest()
    if store.client.get_run(run_id).data.tags.get(RECORDED) == mark:
        return run_id, False
    card = log_reports(store, run_id, reports, fingerprint)
    log_model(store, run_id, model, card)
    store.client.set_tag(run_id, RECORDED, mark)
    return run_id, True


def log_reports(store: Store, run_id: str, reports: Path, fingerprint: Fingerprint) -> str:
    """Log the results of an evaluation; return the model card.

    Results are main metrics, tables, files and figures.
    """
    metrics = read_metrics(reports)
    log_headlines(store, run_id, metrics)
    for path in sorted(reports.iterdir()):
        if path.is_file():
            store.client.log_artifact(run_id, str(path), "evaluate")
    if (reports / "figures").is_dir():
        store.client.log_artifacts(run_id, str(reports / "figures"), "figures")
    log_tables(store, run_id, reports, metrics)
    log_baselines(store, run_id, reports, metrics, fingerprint.parts["data"])
    card = (reports / CARD).read_text(encoding="utf-8") if (reports / CARD).is_file() else ""
    if card:
        store.client.set_tag(run_id, NOTE, shorten_card(card))
    return card


def find_or_rebuild_run(
    store: Store, root: Path, fingerprint: Fingerprint, history: Path | None = None, commit: str | None = None
) -> str:
    """Return the training run with a fingerprint; rebuild it from the files if the store lacks it.

    A rebuilt run has the tag ``blobwatch.rebuilt`` and no system metrics. Its commit is ``commit``, or else
    the current one. The dirty flag is set if its inputs differ from that commit.
    """
    found = find_run(store, fingerprint.sha256)
    if found is not None:
        return found.info.run_id
    when = git.commit_time(root, commit.removesuffix(DIRTY)) if commit else None
    tags = {REBUILT: "rebuilt from git" if commit else "rebuilt from files"}
    commit = commit or commit_of(root, fingerprint)
    tags |= {COMMIT: commit.removesuffix(DIRTY), IS_DIRTY: str(commit.endswith(DIRTY)).lower()}
    run_id = create_run(store, root, fingerprint, tags, when).info.run_id
    if history and history.is_file():
        for row in read_history(history):
            log_metrics(store, run_id, row, int(row.pop("epoch")))
    store.client.set_terminated(run_id, "FINISHED", when)
    return run_id


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


def read_history(path: Path) -> list[dict[str, float]]:
    """Return the rows of the table of epochs, without empty cells."""
    return [{key: float(value) for key, value in row.items() if value} for row in read_table(path)]
