"""Chain of outputs behind a model: from the model through ``dvc.lock`` to the raw exposures."""

from dataclasses import dataclass
from functools import cache
from hashlib import md5
from pathlib import Path

from blobwatch.files import listing_hash
from blobwatch.lineage import git
from blobwatch.lineage.fingerprint import (
    USER_FILES,
    Fingerprint,
    is_data,
    join_names,
    read_receipt,
    receipt_path,
)
from blobwatch.lineage.model_version import ModelVersion
from blobwatch.lineage.origin import DIRTY
from blobwatch.lineage.restore import CANDIDATE, Snapshot, find_contradiction, parse_pin

LINK_OF_STAGE = {"subframes": "subframes", "difference": "difference images"}
ORDER = ["dvc.lock", *LINK_OF_STAGE.values(), "raw exposures"]


@dataclass(frozen=True)
class Step:
    """One output in the chain behind a model: its path, expected hash and stage."""

    link: str
    path: str
    expected: str
    stage: str | None  # None if no stage makes it
    problem: str = ""
    forged: bool = False  # the problem cannot be explained by an unfinished later run


def choose_snapshot(subject: ModelVersion, found: list[Snapshot]) -> tuple[Snapshot | None, list[Step]]:
    """Return the ``dvc.lock`` that contains the whole chain behind a model, and its steps.

    A lock committed between two runs may combine the model with newer data; then an older lock is used.
    A lock that contradicts the fingerprint of a stage is never skipped.
    """
    traced = [(snapshot, trace_steps(subject, snapshot)) for snapshot in found]
    for snapshot, chain in traced:
        if any(step.forged for step in chain) or not any(step.problem for step in chain):
            return snapshot, chain
    return traced[0] if traced else (None, trace_steps(subject, None))


def trace_steps(subject: ModelVersion, snapshot: Snapshot | None) -> list[Step]:
    """Return the steps from the model to the raw exposures.

    Without a lock, the steps end at the subframes.
    """
    trained = subject.fingerprint
    if trained is None:
        return []
    chain = [training_step(subject, trained, snapshot)] if snapshot else []
    queue = list(trained.parts["data"].items())
    raw_folders = {str(Path(row["path"]).parent) for row in subject.exposures}
    while queue:
        path, expected = queue.pop(0)
        if path in [step.path for step in chain]:
            continue
        chain.append(data_step(subject, path, expected, snapshot, path in raw_folders))
        stage = chain[-1].stage
        deps = snapshot.locked[stage].deps if snapshot and stage else {}
        queue += [(dep, deps[dep]) for dep in deps if is_data(dep)]
    return sorted(chain, key=lambda step: ORDER.index(step.link))


def training_step(subject: ModelVersion, trained: Fingerprint, snapshot: Snapshot) -> Step:
    """Return the step from the model to its training."""
    entry, receipt = snapshot.locked.get("train"), read_receipt(snapshot.read(receipt_path("train")))
    if entry is None or entry.outs.get(CANDIDATE) != subject.folder_hash:
        problem = f"in the dvc.lock {snapshot.place}, stage 'train' does not make this model"
    elif changed := trained.differences_from_lock(entry):
        problem = f"the dvc.lock {snapshot.place} records different training inputs: {join_names(changed)}"
    elif receipt and receipt[0] != trained:
        problem = f"{receipt_path('train')} {snapshot.place} belongs to a different training"
    else:
        problem = find_contradiction(snapshot, "train")
    return Step("dvc.lock", CANDIDATE, subject.folder_hash, "train", problem, forged=bool(problem))


def data_step(
    subject: ModelVersion, path: str, expected: str, snapshot: Snapshot | None, is_raw: bool
) -> Step:
    """Return the step to a data folder; only raw exposures need no stage."""
    locked = snapshot.locked if snapshot else {}
    stage = next((name for name, entry in locked.items() if path in entry.outs), None)
    link = LINK_OF_STAGE.get(stage or path.rpartition("/")[2], "raw exposures")
    problem, forged = "", False
    if snapshot is None:
        pass  # the folder can still be hashed
    elif stage is None and is_raw:
        problem = find_pin_problem(subject, snapshot, path, expected)
    elif stage is None:
        problem = f"no stage of the dvc.lock {snapshot.place} makes {path}"
    elif problem := find_contradiction(snapshot, stage):
        forged = True
    elif locked[stage].outs[path] != expected:
        problem = f"the dvc.lock {snapshot.place} has a different hash of {path}"
    else:
        problem = find_code_problem(subject, snapshot, stage)
    return Step(link, path, expected, stage, problem, forged)


def find_pin_problem(subject: ModelVersion, snapshot: Snapshot, path: str, expected: str) -> str:
    """Return the problem if a ``.dvc`` file of raw exposures has a different hash."""
    of_commit = Snapshot(subject.root, subject.commit.removesuffix(DIRTY), {})
    for one in (snapshot, of_commit):
        pinned = parse_pin(one.read(f"{path}.dvc"))
        if pinned and pinned != [expected]:
            return f"{path}.dvc {one.place} has the hash {join_names(pinned)}"
    return ""


def find_code_problem(subject: ModelVersion, snapshot: Snapshot, stage: str) -> str:
    """Return the problem if a stage ran other code than the version's commit has."""
    content = files_of_commit(subject.root, subject.commit)
    if not content:
        return ""
    deps = snapshot.locked[stage].deps
    changed = [path for path in deps if not is_data(path) and hash_in_commit(content, path) != deps[path]]
    if not changed:
        return ""
    commit = subject.commit[:12]
    return f"stage {stage!r} ran with code that differs from commit {commit}: {join_names(changed)}"


@cache
def files_of_commit(root: Path, commit: str) -> dict[str, bytes]:
    """Return the code, environment, parameters and user-provided files of a commit."""
    return git.files_at(root, commit, ["src", "requirements.lock", "params.yaml", *USER_FILES])


def hash_in_commit(content: dict[str, bytes], path: str) -> str:
    """Return the DVC hash of a file or folder in a commit."""
    if path in content:
        return md5(content[path]).hexdigest()
    inside = {name: data for name, data in content.items() if Path(name).is_relative_to(path)}
    return listing_hash({str(Path(n).relative_to(path)): md5(c).hexdigest() for n, c in inside.items()})
