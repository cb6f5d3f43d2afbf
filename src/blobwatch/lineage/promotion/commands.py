"""Commands ``promote`` and ``rollback``."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from blobwatch.artefact import ONNX, Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage import git
from blobwatch.lineage.origin import DIRTY, commit_of, fingerprint_of
from blobwatch.lineage.promotion import promotion_log
from blobwatch.lineage.promotion.criteria import FLOORS, Check, find_interval
from blobwatch.lineage.promotion.deployment import deploy, finish_deployment, lock_deployment
from blobwatch.lineage.promotion.gate import run_gates
from blobwatch.lineage.promotion.history import restore_model
from blobwatch.lineage.promotion.promotion_log import FORCED, LOG
from blobwatch.lineage.restore import CANDIDATE
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.headlines import metric_values, read_headlines
from blobwatch.lineage.tracking.logging import read_metrics
from blobwatch.lineage.tracking.store import Store, open_store
from blobwatch.params import Params
from blobwatch.progress import console

EVALUATION = Path("reports/evaluate")


def promote(root: Path, version: int, reason: str, params: Params, force: bool = False) -> dict:
    """Promote a registered version if it passes every gate; return its record.

    Parameters
    ----------
    root : Path
        Project folder.
    version : int
    reason : str
        Stored in the log.
    params : Params
    force : bool
        Promote even if gates fail. The log stores the failed gates.

    Raises
    ------
    BlobwatchError
        If a gate fails, the reason is empty, or the version is unknown or already the champion.
        Also if its files were altered, another promotion is running, or ``root`` is a side checkout.
    """
    with begin_deployment(root, reason) as (root, store, champion):
        chosen = registry.get_version(store, version)
        with tempfile.TemporaryDirectory() as copies:
            model = registry.fetch(store, chosen, Path(copies))
            check_version(promotion_log.read(root / LOG), version, model.files)
            metrics = find_metrics(root, store, chosen, model)
            checks = run_gates(root, model, metrics, champion, params)
            print_checks("promote", checks)
            failed = [check.sentence for check in checks if not check.passed]
            if failed and not force:
                raise BlobwatchError(
                    f"version {version} fails {len(failed)} of {len(checks)} gates: {'; '.join(failed)}. "
                    "Register a better version, or pass --force (the log records this)"
                )
            return deploy(root, store, model, build_record(root, chosen, model, metrics, reason, failed))


def rollback(root: Path, reason: str) -> dict:
    """Deploy the previous champion again; return the new record of the log.

    Raises
    ------
    BlobwatchError
        If the reason is empty, no previous champion exists, or its files are lost.
        Also if ``root`` is a side checkout.
    """
    with begin_deployment(root, reason) as (root, store, _):
        before = promotion_log.deployed_before(promotion_log.read(root / LOG))
        if before is None:
            raise BlobwatchError(
                f"{LOG}: no earlier deployment, so a rollback is impossible. Promote a version"
            )
        with restore_model(root, before, store) as model:
            return deploy(root, store, model, before | describe_action(root, "rollback", reason))


@contextmanager
def begin_deployment(root: Path, reason: str) -> Iterator[tuple[Path, Store, Model | None]]:
    """Lock the project, complete an interrupted deployment, and yield folder, store and champion."""
    if not reason.strip():
        raise BlobwatchError("a promotion needs a reason. Pass it with --reason")
    if git.is_side_checkout(root):
        raise BlobwatchError(f"{root} is a side checkout. Promote in {git.main_checkout(root)}")
    root, store = Path(root), open_store(root)
    with lock_deployment(root, wait=0):
        champion = finish_deployment(root, store)
        yield root, store, champion[0] if champion else None


def check_version(records: list[dict], version: int, files: dict[str, str]) -> None:
    """Raise an error if the model is deployed, or the log has another model of this version."""
    if records and records[-1]["files"] == files:
        raise BlobwatchError(f"version {version} is already the champion. Choose another version")
    if any(one["version"] == version and one["files"][ONNX] != files[ONNX] for one in records):
        raise BlobwatchError(
            f"version {version} is another model in {LOG}, promoted from another clone. Delete version "
            f"{version} in `mlflow ui` and run `dvc repro -f -s register` for a new number"
        )


def build_record(root: Path, version, model: Model, metrics: dict, reason: str, forced: list[str]) -> dict:
    """Return the record of a promotion, without the hash of the previous line."""
    fingerprint = fingerprint_of(model)
    commit = version.tags[registry.COMMIT]
    if commit.endswith(DIRTY):
        commit = commit_of(root, fingerprint)  # the inputs may be committed by now
    judged = {f"{section}.{name}": metrics[section][name] for name, (section, *_) in FLOORS.items()}
    about = {
        "version": int(version.version),
        "run_id": version.run_id,
        "files": model.files,
        "fingerprint": fingerprint.sha256,
        "commit": commit,
        "data": fingerprint.parts["data"],
        "metrics": metric_values(judged),
    }
    return about | describe_action(root, "promote", reason) | ({FORCED: forced} if forced else {})


def describe_action(root: Path, action: str, reason: str) -> dict:
    """Return the action, author, time and reason of a record."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return {"action": action, "who": git.author(root), "when": when, "reason": reason.strip()}


def find_metrics(root: Path, store: Store, version, model: Model) -> dict:
    """Return the metrics of a version from its report, or from its run."""
    try:
        if Model.load(root / CANDIDATE).files == model.files:
            return read_metrics(root / EVALUATION)
    except BlobwatchError:
        pass  # without a candidate or report, use the metrics of the run
    measured = read_headlines(store.client.get_run(version.run_id))
    metrics: dict = {}
    for name, (section, *_) in FLOORS.items():
        metrics.setdefault(section, {})[name] = find_interval(measured, name)
    return metrics


def print_checks(verb: str, checks: list[Check]) -> None:
    """Print the result of each check."""
    for check in checks:
        line = f"{verb}: {'ok' if check.passed else 'FAILED'}: {check.sentence}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
