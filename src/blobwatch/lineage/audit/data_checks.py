"""Audit links of commit, ``dvc.lock``, evaluation report and data folders."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import yaml

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.audit.chain import ORDER, Step, files_of_commit, hash_in_commit
from blobwatch.lineage.audit.hashing import MISMATCH, MISSING, OK, FolderCheck, check_folder
from blobwatch.lineage.audit.record_checks import Link
from blobwatch.lineage.fingerprint import join_names, receipt_path
from blobwatch.lineage.model_version import ModelVersion
from blobwatch.lineage.origin import DIRTY
from blobwatch.lineage.pipeline import Loader, get_param, parse_lock
from blobwatch.lineage.restore import (
    CANDIDATE,
    Snapshot,
    find_contradiction,
    find_snapshots,
    parse_pin,
    read_file,
)
from blobwatch.lineage.tracking.headlines import metric_values

METRICS = "reports/evaluate/metrics.json"


def check_commit(subject: ModelVersion) -> Link:
    """Check that the commit has the code and parameters of the fingerprint."""
    expected, parts = subject.commit, subject.fingerprint.parts if subject.fingerprint else None
    if parts is None or expected.endswith(DIRTY):
        note = "its inputs were not committed" if parts else "the manifest is missing"
        return Link("commit", MISSING, expected, "", note)
    content = files_of_commit(subject.root, expected)
    if not content:
        return Link("commit", MISSING, expected, "", "not in this clone; `git fetch --unshallow`")
    changed = [path for path, md5sum in parts["code"].items() if hash_in_commit(content, path) != md5sum]
    params = yaml.load(content.get("params.yaml", b"{}"), Loader)
    for name, value in parts["params"].items():
        try:
            same = get_param(params, name) == value
        except BlobwatchError:
            same = False
        changed += [] if same else [name]
    if changed:
        note = f"differs from the training: {join_names(changed)}"
        return Link("commit", MISMATCH, expected, expected, note)
    return Link("commit", OK, expected, expected, f"{len(parts['code'])} paths and the parameters agree")


def check_lock(subject: ModelVersion, snapshot: Snapshot | None, chain: list[Step]) -> Link:
    """Check that ``dvc.lock`` records this model as made from the inputs in the fingerprint."""
    if not subject.contents or subject.fingerprint is None:
        return Link("dvc.lock", MISSING, note="the model files are missing")
    if snapshot is not None:
        status, note = require_receipt(snapshot, "train", OK, snapshot.place)
        if chain[0].problem:
            status, note = MISMATCH, chain[0].problem
        return Link("dvc.lock", status, chain[0].expected, snapshot.outs[CANDIDATE], note)
    for other in find_snapshots(subject.root):
        if "train" in other.locked and not subject.fingerprint.differences_from_lock(other.locked["train"]):
            note = f"in the dvc.lock {other.place}, the same inputs made a different model"
            return Link("dvc.lock", MISMATCH, subject.folder_hash, other.outs[CANDIDATE], note)
    note = "no dvc.lock in this checkout or its history has this model; commit the one that does"
    return Link("dvc.lock", MISSING, subject.folder_hash, "", note)


def check_evaluation(subject: ModelVersion, found: list[Snapshot]) -> Link:
    """Check that the metrics in the log equal those in an unaltered evaluation report."""
    if subject.record is None:
        return Link("evaluation", MISSING, note="never promoted, so the log has no metrics of it")
    logged = {name: value for name, value in subject.record["metrics"].items() if value is not None}
    status, problem = MISSING, "git has no evaluation report on this model"
    for snapshot in found:
        content = snapshot.read(METRICS)
        if content is None or "evaluate" not in snapshot.locked:
            continue
        forged = find_report_problem(snapshot, content)
        if forged:
            return Link("evaluation", MISMATCH, note=forged)
        reported = metric_values(json.loads(content))
        changed = sorted(name for name, value in logged.items() if reported.get(name) != value)
        if not changed:
            status, note = require_receipt(
                snapshot, "evaluate", OK, f"{len(logged)} metrics, {snapshot.place}"
            )
            return Link("evaluation", status, md5(content).hexdigest(), md5(content).hexdigest(), note)
        status, problem = MISMATCH, f"the report has different values of {join_names(changed)}"
    return Link("evaluation", status, note=problem)


def find_report_problem(snapshot: Snapshot, content: bytes) -> str:
    """Return the problem if a report is not the one that its stage wrote."""
    if snapshot.outs.get(METRICS) != md5(content).hexdigest():
        return f"the dvc.lock {snapshot.place} has a different hash of {METRICS}"
    return find_contradiction(snapshot, "evaluate")


def check_data(
    subject: ModelVersion, snapshot: Snapshot | None, chain: list[Step]
) -> tuple[list[Link], list[dict], dict[str, FolderCheck]]:
    """Hash each data folder behind the training and compare it with its step.

    Returns
    -------
    links : list of Link
    exposures : list of dict
        The exposures of the manifest, each with its ``status``.
    checks : dict of str to FolderCheck
        The result for each folder, by path.
    """
    links, rows, checks = [], [row | {"status": MISSING} for row in subject.exposures], {}
    recorded_hash = find_recorded_hashes(subject.root)
    for step in chain:
        if step.path == CANDIDATE:
            continue
        known = {
            str(Path(row["path"]).relative_to(step.path)): row["md5"]
            for row in rows
            if Path(row["path"]).is_relative_to(step.path)
        }
        result = check_folder(subject.root, step.path, step.expected, recorded_hash(step.path), known)
        checks[step.path] = result
        links.append(data_link(step, snapshot, result))
        rows = [row | exposure_status(row, step.path, result) for row in rows]
    reached = {link.link for link in links}
    note = "no dvc.lock leads to it" if chain else "the manifest is missing"
    links += [Link(name, MISSING, note=note) for name in ORDER[1:] if name not in reached]
    return [include_exposures(link, rows) for link in links], rows, checks


def include_exposures(link: Link, rows: list[dict]) -> Link:
    """Lower the status of the raw exposures' link to the worst status of an exposure."""
    found = {row["status"] for row in rows}
    if link.link != ORDER[-1] or link.status != OK or found <= {OK}:
        return link
    status = MISMATCH if MISMATCH in found else MISSING
    names = join_names([row["rootname"] for row in rows if row["status"] != OK])
    return replace(link, status=status, note=f"missing, or different from the manifest: {names}")


def data_link(step: Step, snapshot: Snapshot | None, result: FolderCheck) -> Link:
    """Return the link of one data folder."""
    status, note = result.status, result.note
    if step.problem:
        status, note = MISMATCH, step.problem
    elif snapshot is None:
        status, note = (MISSING if status == OK else status), f"no dvc.lock records how it was made; {note}"
    elif step.stage:
        status, note = require_receipt(snapshot, step.stage, status, note)
    return Link(step.link, status, step.expected, result.found, note)


def require_receipt(snapshot: Snapshot, stage: str, status: str, note: str) -> tuple[str, str]:
    """Return status and note of a stage.

    Without a fingerprint file, ``ok`` becomes ``missing``.
    """
    if snapshot.read(receipt_path(stage)) is not None:
        return status, note
    note += f"; {receipt_path(stage)} is missing: it was removed, or the stage ran before it was introduced"
    return MISSING if status == OK else status, note


def exposure_status(row: dict, path: str, result: FolderCheck) -> dict[str, str]:
    """Return the status of one exposure if it is in this folder, else an empty dict."""
    if not Path(row["path"]).is_relative_to(path):
        return {}
    found = result.listing.get(str(Path(row["path"]).relative_to(path)))
    return {"status": MISSING if found is None else OK if found == row["md5"] else MISMATCH}


def find_recorded_hashes(root: Path) -> Callable[[str], str | None]:
    """Return a function from a path to its hash in the current ``dvc.lock`` or ``.dvc`` file."""
    current = parse_lock((read_file(root / "dvc.lock") or b"").decode())
    outs = {path: md5sum for one in current.values() for path, md5sum in one.outs.items()}
    return lambda path: outs.get(path) or next(iter(parse_pin(read_file(root / f"{path}.dvc"))), None)
