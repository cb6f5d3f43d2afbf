"""Audit links from the commit to the raw exposures: commit, ``dvc.lock``, report and data folders."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from hashlib import md5
from pathlib import Path

import yaml

from blobwatch.errors import BlobwatchError
from blobwatch.files import listing_hash
from blobwatch.lineage import git
from blobwatch.lineage.audit.hashing import MISMATCH, MISSING, OK, FolderCheck, check_folder
from blobwatch.lineage.audit.record_checks import Link
from blobwatch.lineage.fingerprint import GIVEN, is_data, read_receipt, receipt_path, some
from blobwatch.lineage.model_version import Subject
from blobwatch.lineage.origin import DIRTY
from blobwatch.lineage.pipeline import Loader, look_up, maker, parse_lock
from blobwatch.lineage.restore import CANDIDATE, Snapshot, contradiction, pinned_in, read_file, snapshots
from blobwatch.lineage.tracking.logging import metric_values

METRICS = "reports/evaluate/metrics.json"
LINK_OF_STAGE = {"subframes": "subframes", "difference": "difference images"}
ORDER = ["dvc.lock", *LINK_OF_STAGE.values(), "raw exposures"]


def check_commit(subject: Subject) -> Link:
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
            same = look_up(params, name) == value
        except BlobwatchError:
            same = False
        changed += [] if same else [name]
    if changed:
        return Link("commit", MISMATCH, expected, expected, f"differs from the training: {some(changed)}")
    return Link("commit", OK, expected, expected, f"{len(parts['code'])} paths and the parameters agree")


def hash_in_commit(content: dict[str, bytes], path: str) -> str:
    """Return the DVC hash of a file or folder in a commit."""
    if path in content:
        return md5(content[path]).hexdigest()
    inside = {name: data for name, data in content.items() if Path(name).is_relative_to(path)}
    return listing_hash({str(Path(n).relative_to(path)): md5(c).hexdigest() for n, c in inside.items()})


@dataclass(frozen=True)
class Step:
    """One output in the chain behind a model: its path, expected hash and stage."""

    link: str
    path: str
    expected: str
    stage: str | None  # None if no stage makes it
    problem: str = ""
    forged: bool = False  # the problem cannot be explained by an unfinished later run


def choose_snapshot(subject: Subject, found: list[Snapshot]) -> tuple[Snapshot | None, list[Step]]:
    """Return the ``dvc.lock`` that contains the whole chain behind a model, and its steps.

    A lock committed between two runs may combine the model with newer data; then an older lock is used.
    A lock that contradicts the fingerprint of a stage is never skipped.
    """
    traced = [(snapshot, trace_steps(subject, snapshot)) for snapshot in found]
    for snapshot, chain in traced:
        if any(step.forged for step in chain) or not any(step.problem for step in chain):
            return snapshot, chain
    return traced[0] if traced else (None, trace_steps(subject, None))


def trace_steps(subject: Subject, snapshot: Snapshot | None) -> list[Step]:
    """Return the steps from the model to the raw exposures; without a lock, only to the subframes."""
    if subject.fingerprint is None:
        return []
    chain = [training_step(subject, snapshot)] if snapshot else []
    queue = list(subject.fingerprint.parts["data"].items())
    raw_folders = {str(Path(row["path"]).parent) for row in subject.exposures}
    while queue:
        path, expected = queue.pop(0)
        if path in [step.path for step in chain]:
            continue
        chain.append(data_step(subject, path, expected, snapshot, path in raw_folders))
        stage = chain[-1].stage
        deps = snapshot.locked[stage].deps if stage else {}
        queue += [(dep, deps[dep]) for dep in deps if is_data(dep)]
    return sorted(chain, key=lambda step: ORDER.index(step.link))


def training_step(subject: Subject, snapshot: Snapshot) -> Step:
    """Return the step from the model to its training."""
    entry, receipt = snapshot.locked.get("train"), read_receipt(snapshot.read(receipt_path("train")))
    if entry is None or entry.outs.get(CANDIDATE) != subject.folder_hash:
        problem = f"in the dvc.lock {snapshot.place}, stage 'train' does not make this model"
    elif changed := subject.fingerprint.against_lock(entry):
        problem = f"the dvc.lock {snapshot.place} records different training inputs: {some(changed)}"
    elif receipt and receipt[0] != subject.fingerprint:
        problem = f"{receipt_path('train')} {snapshot.place} belongs to a different training"
    else:
        problem = contradiction(snapshot, "train")
    return Step("dvc.lock", CANDIDATE, subject.folder_hash, "train", problem, forged=bool(problem))


def data_step(subject: Subject, path: str, expected: str, snapshot: Snapshot | None, is_raw: bool) -> Step:
    """Return the step to a data folder; only raw exposures need no stage."""
    stage = maker(snapshot.locked, path) if snapshot else None
    link = LINK_OF_STAGE.get(stage or path.rpartition("/")[2], "raw exposures")
    if snapshot is None:
        return Step(link, path, expected, stage)
    if stage is None and not is_raw:
        return Step(link, path, expected, stage, f"no stage of the dvc.lock {snapshot.place} makes {path}")
    if stage is None:
        return Step(link, path, expected, stage, find_pin_problem(subject, snapshot, path, expected))
    problem = contradiction(snapshot, stage)
    if problem:
        return Step(link, path, expected, stage, problem, forged=True)
    if snapshot.locked[stage].outs[path] != expected:
        problem = f"the dvc.lock {snapshot.place} has a different hash of {path}"
    return Step(link, path, expected, stage, problem or find_code_problem(subject, snapshot, stage))


def find_pin_problem(subject: Subject, snapshot: Snapshot, path: str, expected: str) -> str:
    """Return the problem if a ``.dvc`` file of raw exposures has a different hash."""
    of_commit = Snapshot(subject.root, subject.commit.removesuffix(DIRTY), {})
    for one in (snapshot, of_commit):
        pinned = pinned_in(one.read(f"{path}.dvc"))
        if pinned and pinned != [expected]:
            return f"{path}.dvc {one.place} has the hash {some(pinned)}"
    return ""


def find_code_problem(subject: Subject, snapshot: Snapshot, stage: str) -> str:
    """Return the problem if a stage ran other code than the version's commit has."""
    content = files_of_commit(subject.root, subject.commit)
    if not content:
        return ""
    deps = snapshot.locked[stage].deps
    changed = [path for path in deps if not is_data(path) and hash_in_commit(content, path) != deps[path]]
    if not changed:
        return ""
    return f"stage {stage!r} ran with code that differs from commit {subject.commit[:12]}: {some(changed)}"


@cache
def files_of_commit(root: Path, commit: str) -> dict[str, bytes]:
    """Return the code, environment, parameters and user-provided files of a commit."""
    return git.files_at(root, commit, ["src", "requirements.lock", "params.yaml", *GIVEN])


def check_lock(subject: Subject, snapshot: Snapshot | None, chain: list[Step]) -> Link:
    """Check that ``dvc.lock`` records this model as made from the inputs in the fingerprint."""
    if not subject.contents or subject.fingerprint is None:
        return Link("dvc.lock", MISSING, note="the model files are missing")
    if snapshot is not None:
        status, note = require_receipt(snapshot, "train", OK, snapshot.place)
        if chain[0].problem:
            status, note = MISMATCH, chain[0].problem
        return Link("dvc.lock", status, chain[0].expected, snapshot.outs[CANDIDATE], note)
    for other in snapshots(subject.root):
        if "train" in other.locked and not subject.fingerprint.against_lock(other.locked["train"]):
            note = f"in the dvc.lock {other.place}, the same inputs made a different model"
            return Link("dvc.lock", MISMATCH, subject.folder_hash, other.outs[CANDIDATE], note)
    note = "no dvc.lock in this checkout or its history has this model; commit the one that does"
    return Link("dvc.lock", MISSING, subject.folder_hash, "", note)


def check_evaluation(subject: Subject, found: list[Snapshot]) -> Link:
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
        status, problem = MISMATCH, f"the report has different values of {some(changed)}"
    return Link("evaluation", status, note=problem)


def find_report_problem(snapshot: Snapshot, content: bytes) -> str:
    """Return the problem if a report is not the one that its stage wrote."""
    if snapshot.outs.get(METRICS) != md5(content).hexdigest():
        return f"the dvc.lock {snapshot.place} has a different hash of {METRICS}"
    return contradiction(snapshot, "evaluate")


def check_data(
    subject: Subject, snapshot: Snapshot | None, chain: list[Step]
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
    names = some([row["rootname"] for row in rows if row["status"] != OK])
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
    """Return status and note, with ``ok`` lowered to ``missing`` if the stage has no fingerprint file."""
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
    return lambda path: outs.get(path) or next(iter(pinned_in(read_file(root / f"{path}.dvc"))), None)
