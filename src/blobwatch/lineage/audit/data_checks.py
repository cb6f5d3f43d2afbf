"""The further links of an audit: commit, ``dvc.lock``, report, and the data back to each raw exposure."""

import json
from dataclasses import dataclass, replace
from functools import cache
from hashlib import md5
from pathlib import Path

import yaml

from blobwatch.errors import BlobwatchError
from blobwatch.files import listing_hash
from blobwatch.lineage import git
from blobwatch.lineage.audit.hashing import MISMATCH, MISSING, OK, Evidence, examine
from blobwatch.lineage.audit.record_checks import Link
from blobwatch.lineage.fingerprint import GIVEN, is_data, read_receipt, receipt_path, some
from blobwatch.lineage.model_version import Subject
from blobwatch.lineage.origin import DIRTY
from blobwatch.lineage.pipeline import Loader, look_up, maker, parse_lock
from blobwatch.lineage.restore import CANDIDATE, Snapshot, contradiction, pinned_in, read_file, snapshots
from blobwatch.lineage.tracking.logging import metric_values

METRICS = "reports/evaluate/metrics.json"
SAID = {"subframes": "subframes", "difference": "difference images"}  # of what a stage makes
ORDER = ["dvc.lock", *SAID.values(), "raw exposures"]


def commit(subject: Subject) -> Link:
    """Check that code, environment and parameters of the fingerprint are those of the commit."""
    expected, parts = subject.commit, subject.fingerprint.parts if subject.fingerprint else None
    if parts is None or expected.endswith(DIRTY):
        note = "its inputs were not committed" if parts else "the manifest is not here"
        return Link("commit", MISSING, expected, "", note)
    there = committed(subject.root, expected)
    if not there:
        return Link("commit", MISSING, expected, "", "this clone does not have it; `git fetch --unshallow`")
    odd = [path for path, md5sum in parts["code"].items() if hash_at(there, path) != md5sum]
    params = yaml.load(there.get("params.yaml", b"{}"), Loader)
    for name, value in parts["params"].items():
        try:
            same = look_up(params, name) == value
        except BlobwatchError:
            same = False
        odd += [] if same else [name]
    note = f"{some(odd)} is not what trained it" if odd else f"{len(parts['code'])} paths, and the parameters"
    return Link("commit", MISMATCH if odd else OK, expected, expected, note)


def hash_at(there: dict[str, bytes], path: str) -> str:
    """Return the hash that DVC gives a file or folder, out of the files of a commit."""
    if path in there:
        return md5(there[path]).hexdigest()
    inside = {name: content for name, content in there.items() if Path(name).is_relative_to(path)}
    return listing_hash({str(Path(n).relative_to(path)): md5(c).hexdigest() for n, c in inside.items()})


@dataclass(frozen=True)
class Step:
    """One step back along a ``dvc.lock``: what was to be made, by which stage, and what is against it."""

    link: str
    path: str
    expected: str
    stage: str | None  # None where no stage makes it
    against: str = ""
    forged: bool = False  # what is against it is no mere sign that a later run was not finished


def choose(subject: Subject, found: list[Snapshot]) -> tuple[Snapshot | None, list[Step]]:
    """Return the ``dvc.lock`` in which the whole chain behind a model stands, and its steps.

    A lock that was committed between two runs may join the model to data that were made since: then an
    older one is asked. One that contradicts what a stage left is not passed over.
    """
    walked = [(snapshot, steps(subject, snapshot)) for snapshot in found]
    for snapshot, chain in walked:
        if any(step.forged for step in chain) or not any(step.against for step in chain):
            return snapshot, chain
    return walked[0] if walked else (None, steps(subject, None))


def steps(subject: Subject, snapshot: Snapshot | None) -> list[Step]:
    """Return the steps from the model back to the raw exposures; without a lock, to the subframes."""
    if subject.fingerprint is None:
        return []
    chain = [trained(subject, snapshot)] if snapshot else []
    todo = list(subject.fingerprint.parts["data"].items())
    exposed = {str(Path(row["path"]).parent) for row in subject.exposures}
    while todo:
        path, expected = todo.pop(0)
        if path in [step.path for step in chain]:
            continue
        chain.append(step_to(subject, path, expected, snapshot, path in exposed))
        stage = chain[-1].stage
        deps = snapshot.locked[stage].deps if stage else {}
        todo += [(dep, deps[dep]) for dep in deps if is_data(dep)]
    return sorted(chain, key=lambda step: ORDER.index(step.link))


def trained(subject: Subject, snapshot: Snapshot) -> Step:
    """Return the step from the model to its training."""
    entry, receipt = snapshot.locked.get("train"), read_receipt(snapshot.read(receipt_path("train")))
    against = ""
    if entry is None or entry.outs.get(CANDIDATE) != subject.folder_hash:
        against = f"the dvc.lock {snapshot.place} has no stage 'train' that makes it"
    elif odd := subject.fingerprint.against_lock(entry):
        against = f"the dvc.lock {snapshot.place} says that it was trained on another {some(odd)}"
    elif receipt and receipt[0] != subject.fingerprint:
        against = f"{receipt_path('train')} {snapshot.place} is of another training"
    else:
        against = contradiction(snapshot, "train")
    return Step("dvc.lock", CANDIDATE, subject.folder_hash, "train", against, forged=bool(against))


def step_to(subject: Subject, path: str, expected: str, snapshot: Snapshot | None, is_raw: bool) -> Step:
    """Return the step to a folder of data; only raw exposures may come from no stage."""
    stage = maker(snapshot.locked, path) if snapshot else None
    link = SAID.get(stage or path.rpartition("/")[2], "raw exposures")
    if snapshot is None:
        return Step(link, path, expected, stage)
    if stage is None:
        against = "" if is_raw else f"no stage of the dvc.lock {snapshot.place} makes {path}"
        return Step(
            link, path, expected, stage, against or pinned_otherwise(subject, snapshot, path, expected)
        )
    against = contradiction(snapshot, stage)
    if against:
        return Step(link, path, expected, stage, against, forged=True)
    if snapshot.locked[stage].outs[path] != expected:
        against = f"the dvc.lock {snapshot.place} names another {path}"
    return Step(link, path, expected, stage, against or other_code(subject, snapshot, stage))


def pinned_otherwise(subject: Subject, snapshot: Snapshot, path: str, expected: str) -> str:
    """Say whether the ``.dvc`` file of raw exposures, beside the lock or in the commit, names others."""
    then = Snapshot(subject.root, subject.commit.removesuffix(DIRTY), {})
    for one in (snapshot, then):
        said = pinned_in(one.read(f"{path}.dvc"))
        if said and said != [expected]:
            return f"{path}.dvc {one.place} names {some(said)}"
    return ""


def other_code(subject: Subject, snapshot: Snapshot, stage: str) -> str:
    """Say which code of a stage is not that of the version's commit; nothing where that is not here."""
    there = committed(subject.root, subject.commit)
    deps = snapshot.locked[stage].deps
    code = [path for path in deps if not is_data(path)]
    odd = [path for path in code if hash_at(there, path) != deps[path]] if there else []
    return f"stage {stage!r} ran on another {some(odd)} than commit {subject.commit[:12]} has" if odd else ""


@cache
def committed(root: Path, commit: str) -> dict[str, bytes]:
    """Return code, environment, parameters, and what people gave, of a commit."""
    return git.files_at(root, commit, ["src", "requirements.lock", "params.yaml", *GIVEN])


def lock(subject: Subject, snapshot: Snapshot | None, chain: list[Step]) -> Link:
    """Check that ``dvc.lock`` makes this model out of what the fingerprint says."""
    if not subject.contents or subject.fingerprint is None:
        return Link("dvc.lock", MISSING, note="the model's files are not here")
    if snapshot is not None:
        status, note = as_left(snapshot, "train", OK, snapshot.place)
        if chain[0].against:
            status, note = MISMATCH, chain[0].against
        return Link("dvc.lock", status, chain[0].expected, snapshot.outs[CANDIDATE], note)
    for other in snapshots(subject.root):
        if "train" in other.locked and not subject.fingerprint.against_lock(other.locked["train"]):
            note = f"the dvc.lock {other.place} says that these inputs made another model"
            return Link("dvc.lock", MISMATCH, subject.folder_hash, other.outs[CANDIDATE], note)
    note = "no dvc.lock here or in the history names it; commit the one that does"
    return Link("dvc.lock", MISSING, subject.folder_hash, "", note)


def evaluation(subject: Subject, found: list[Snapshot]) -> Link:
    """Check that the metrics of the log are those of a report on this model, as its stage left it."""
    if subject.record is None:
        return Link("evaluation", MISSING, note="it was never promoted, so no metrics were relied on")
    relied = {name: value for name, value in subject.record["metrics"].items() if value is not None}
    against = "no report on this model is in git"
    for snapshot in found:
        content = snapshot.read(METRICS)
        if content is None or "evaluate" not in snapshot.locked:
            continue
        forged = altered(snapshot, content)
        if forged:
            return Link("evaluation", MISMATCH, note=forged)
        against = differs(content, relied)
        if not against:
            status, note = as_left(snapshot, "evaluate", OK, f"{len(relied)} figures, {snapshot.place}")
            return Link("evaluation", status, md5(content).hexdigest(), md5(content).hexdigest(), note)
    return Link("evaluation", MISMATCH if found and "no report" not in against else MISSING, note=against)


def differs(content: bytes, relied: dict[str, float]) -> str:
    """Say which figures of the log are not those of a report."""
    reported = metric_values(json.loads(content))
    odd = sorted(name for name, value in relied.items() if reported.get(name) != value)
    return f"the report says otherwise of {some(odd)}" if odd else ""


def altered(snapshot: Snapshot, content: bytes) -> str:
    """Say whether a report is another than the one that its stage wrote."""
    if snapshot.outs.get(METRICS) != md5(content).hexdigest():
        return f"the dvc.lock {snapshot.place} names another {METRICS}"
    return contradiction(snapshot, "evaluate")


def data(
    subject: Subject, snapshot: Snapshot | None, chain: list[Step]
) -> tuple[list[Link], list[dict], dict[str, Evidence]]:
    """Check the data behind the training, each folder hashed anew.

    Returns
    -------
    links : list of Link
    exposures : list of dict
        Each with its status.
    seen : dict of str to Evidence
        What was found in each folder, by its path.
    """
    links, rows, seen = [], [row | {"status": MISSING} for row in subject.exposures], {}
    claims = claimed(subject.root)
    for step in chain:
        if step.path == CANDIDATE:
            continue
        known = {
            str(Path(row["path"]).relative_to(step.path)): row["md5"]
            for row in rows
            if Path(row["path"]).is_relative_to(step.path)
        }
        evidence = seen[step.path] = examine(subject.root, step.path, step.expected, claims(step.path), known)
        links.append(link_of(step, snapshot, evidence))
        rows = [row | check(row, step.path, evidence) for row in rows]
    reached = {link.link for link in links}
    nowhere = "no dvc.lock leads there" if chain else "the manifest is not here"
    links += [Link(name, MISSING, note=nowhere) for name in ORDER[1:] if name not in reached]
    return [with_exposures(link, rows) for link in links], rows, seen


def with_exposures(link: Link, rows: list[dict]) -> Link:
    """Return the link of the raw exposures, no better than each exposure is."""
    found = {row["status"] for row in rows}
    if link.link != ORDER[-1] or link.status != OK or found <= {OK}:
        return link
    status = MISMATCH if MISMATCH in found else MISSING
    odd = [row["rootname"] for row in rows if row["status"] != OK]
    return replace(link, status=status, note=f"{some(odd)} are not there as the manifest names them")


def link_of(step: Step, snapshot: Snapshot | None, evidence: Evidence) -> Link:
    """Return the link of one folder of data: what is against it, and what its bytes say."""
    status, note = evidence.status, evidence.note
    if step.against:
        status, note = MISMATCH, step.against
    elif snapshot is None:
        status, note = (MISSING if status == OK else status), f"no dvc.lock says how it was made; {note}"
    elif step.stage:
        status, note = as_left(snapshot, step.stage, status, note)
    return Link(step.link, status, step.expected, evidence.found, note)


def as_left(snapshot: Snapshot, stage: str, status: str, note: str) -> tuple[str, str]:
    """Return status and note of a link, no better than missing where its stage left no fingerprint."""
    if snapshot.read(receipt_path(stage)) is not None:
        return status, note
    left = (
        f"{note}; {receipt_path(stage)} is not there: the stage ran before stages left one, or it was removed"
    )
    return MISSING if status == OK else status, left


def check(row: dict, path: str, evidence: Evidence) -> dict[str, str]:
    """Return the status of one exposure, if it lies in this folder."""
    if not Path(row["path"]).is_relative_to(path):
        return {}
    found = evidence.listing.get(str(Path(row["path"]).relative_to(path)))
    return {"status": MISSING if found is None else OK if found == row["md5"] else MISMATCH}


def claimed(root: Path):
    """Return what gives the hash that ``dvc.lock`` or a ``.dvc`` file gives a path as it lies here."""
    here = parse_lock((read_file(root / "dvc.lock") or b"").decode())
    outs = {path: md5sum for one in here.values() for path, md5sum in one.outs.items()}
    return lambda path: outs.get(path) or next(iter(pinned_in(read_file(root / f"{path}.dvc"))), None)
