"""Promotion and rollback: through the gates, or past them with a reason that is kept."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from blobwatch.artefact import ONNX, Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage import git
from blobwatch.lineage.origin import DIRTY, commit_of, fingerprint_of
from blobwatch.lineage.promotion import promotion_log
from blobwatch.lineage.promotion.criteria import FLOORS, Check
from blobwatch.lineage.promotion.deployment import deploy, lock_deployment, restored, settle
from blobwatch.lineage.promotion.gate import judge
from blobwatch.lineage.promotion.promotion_log import FORCED, LOG
from blobwatch.lineage.restore import CANDIDATE
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.logging import INTERVAL, metric_values, read_metrics
from blobwatch.lineage.tracking.store import Store, open_store
from blobwatch.params import Params
from blobwatch.progress import console

EVALUATION = Path("reports/evaluate")


def promote(root: Path, version: int, reason: str, params: Params, force: bool = False) -> dict:
    """Make a version of the registry the champion if it passes every gate; return its record.

    Parameters
    ----------
    root : Path
        The project's folder.
    version : int
    reason : str
        Kept in the log.
    params : Params
    force : bool
        Promote it all the same; the gates that it did not pass are kept in the log.

    Raises
    ------
    BlobwatchError
        If it does not pass; if there is no reason or no such version, it is the champion already, or its
        files are not what was registered; if another promotion is going on, or this is a side checkout.
    """
    refuse_without_reason(reason)
    refuse_aside(root)
    root, store = Path(root), open_store(root)
    with lock_deployment(root, wait=0):
        champion = settle(root, store)
        chosen = registry.get_version(store, version)
        with tempfile.TemporaryDirectory() as copies:
            model = registry.fetch(store, chosen, Path(copies))
            refuse_second_model(promotion_log.read(root / LOG), version, model.files)
            metrics = metrics_of(root, store, chosen, model)
            checks = judge(root, model, metrics, champion[0] if champion else None, params)
            tell("promote", checks)
            failed = [check.sentence for check in checks if not check.passed]
            if failed and not force:
                raise BlobwatchError(
                    f"version {version} fails {len(failed)} of {len(checks)} gates: {'; '.join(failed)}. "
                    "Mend that, or promote it all the same with --force, which the log will say"
                )
            return deploy(root, store, model, record_of(root, chosen, model, metrics, reason, failed))


def rollback(root: Path, reason: str) -> dict:
    """Deploy what was deployed before, by a new line in the log; return its record.

    Raises
    ------
    BlobwatchError
        If there is no reason, nothing to go back to, or its files are lost; or this is a side checkout.
    """
    refuse_without_reason(reason)
    refuse_aside(root)
    root, store = Path(root), open_store(root)
    with lock_deployment(root, wait=0):
        settle(root, store)
        before = promotion_log.deployed_before(promotion_log.read(root / LOG))
        if before is None:
            raise BlobwatchError(
                f"{LOG} knows of nothing that was deployed before; there is nothing to go back to"
            )
        with restored(root, before, store) as model:
            return deploy(root, store, model, before | signed(root, "rollback", reason))


def refuse_without_reason(reason: str) -> None:
    """Refuse a deployment that nobody could explain later."""
    if not reason.strip():
        raise BlobwatchError("a promotion needs a reason; say why with --reason")


def refuse_aside(root: Path) -> None:
    """Refuse to deploy from a worktree or the folder of a queued DVC experiment."""
    if git.is_aside(root):
        raise BlobwatchError(f"{root} is a side checkout; promote in {git.main_checkout(root)}")


def refuse_second_model(records: list[dict], version: int, files: dict[str, str]) -> None:
    """Refuse what is deployed already, and a number that the log gave to another model."""
    if records and records[-1]["files"] == files:
        raise BlobwatchError(f"version {version} is the champion already; nothing is to be done")
    if any(one["version"] == version and one["files"][ONNX] != files[ONNX] for one in records):
        raise BlobwatchError(
            f"version {version} is another model in {LOG}, promoted from elsewhere; delete version {version} "
            "in `mlflow ui` and run `dvc repro -f -s register` for a new number"
        )


def record_of(root: Path, version, model: Model, metrics: dict, reason: str, forced: list[str]) -> dict:
    """Return the record of a promotion, without the hash of the line before."""
    fingerprint = fingerprint_of(model)
    commit = version.tags[registry.COMMIT]
    if commit.endswith(DIRTY):
        commit = commit_of(root, fingerprint)  # it may have been committed since
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
    return about | signed(root, "promote", reason) | ({FORCED: forced} if forced else {})


def signed(root: Path, action: str, reason: str) -> dict:
    """Return what a record says of the act itself."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return {"action": action, "who": git.author(root), "when": when, "reason": reason.strip()}


def metrics_of(root: Path, store: Store, version, model: Model) -> dict:
    """Return the metrics of a version: the report that is here if it is of it, else what its run has."""
    try:
        if Model.load(root / CANDIDATE).files == model.files:
            return read_metrics(root / EVALUATION)
    except BlobwatchError:
        pass  # there is no candidate, or no report: the run has the numbers
    measured = store.client.get_run(version.run_id).data.metrics
    metrics: dict = {}
    for name, (section, *_) in FLOORS.items():
        stem = f"{section}.{name}"
        ends = {end: stem if end == "value" else f"{stem}_{end}" for end in INTERVAL}
        metrics.setdefault(section, {})[name] = {end: measured.get(key) for end, key in ends.items()}
    return metrics


def tell(verb: str, checks: list[Check]) -> None:
    """Print what each gate says."""
    for check in checks:
        line = f"{verb}: {'ok' if check.passed else 'FAILED'}: {check.sentence}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
