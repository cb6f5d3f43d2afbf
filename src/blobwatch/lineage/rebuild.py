"""``blobwatch verify``: a version rebuilt from its commit, elsewhere, and compared with what is deployed."""

import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash
from blobwatch.lineage import git
from blobwatch.lineage.audit.chain import choose_snapshot
from blobwatch.lineage.audit.data_checks import METRICS
from blobwatch.lineage.dvc_cache import Cache
from blobwatch.lineage.fingerprint import receipt_path
from blobwatch.lineage.model_version import Known, Subject
from blobwatch.lineage.origin import DIRTY
from blobwatch.lineage.pipeline import Locked, parse_lock, read_stages, upstream
from blobwatch.lineage.restore import CANDIDATE
from blobwatch.progress import console

EQUAL, WITHIN, DIFFERS = "equal", "within the interval", "differs"


@dataclass(frozen=True)
class Verification:
    """What came out again.

    Attributes
    ----------
    version : int
    verdict : str
        ``equal`` (byte for byte), ``within the interval`` (other bytes, as on another processor, and metrics
        that agree), or ``differs``.
    stages : dict of str to str
        For each stage, in order, whether its outputs are ``equal`` or which of them differ.
    against : list of str
        The metrics that do not agree.
    environment : list of str
        Packages that are not those of the commit's ``requirements.lock``.
    """

    version: int
    verdict: str
    stages: dict[str, str]
    against: list[str]
    environment: list[str]

    @property
    def first(self) -> str | None:
        """The first stage whose outputs differ."""
        return next((stage for stage, status in self.stages.items() if status != EQUAL), None)

    def as_json(self) -> dict:
        """Return the answer as plain data."""
        return {**vars(self), "first": self.first}


def verify(root: Path, name: str = "champion") -> Verification:
    """Rebuild a version from its commit in a clone that is thrown away; the workspace is not touched.

    The stages run in the environment that is installed here, on the code of the commit.

    Parameters
    ----------
    root : Path
        The project's folder.
    name : str
        ``champion``, or the number of a version.

    Raises
    ------
    BlobwatchError
        If its commit or its ``dvc.lock`` is not here, or a stage fails.
    """
    root = Path(root).resolve()
    subject = Subject.named(root, Known.of(root), name)
    if subject.commit.endswith(DIRTY):
        raise BlobwatchError(
            f"the inputs of version {subject.version} were not committed, so nobody can rebuild it"
        )
    snapshot, steps = choose_snapshot(subject, subject.snapshots())
    if snapshot is None:
        raise BlobwatchError(
            f"no dvc.lock is found that made version {subject.version}, so there is nothing to compare with"
        )
    against = next((step.problem for step in steps if step.forged), "")
    if against:
        raise BlobwatchError(f"{against}; `blobwatch audit {subject.version}` says more")
    with TemporaryDirectory() as folder:
        clone = clone_at(root, Path(folder) / "clone", subject.commit)
        differs = environment(clone)
        reproduce(clone, root, "train")
        stages = compare_stages(snapshot.locked, clone)
        same = {file: file_hash(clone / CANDIDATE / file) for file in subject.promised} == subject.promised
        if same:
            return Verification(subject.version, EQUAL, stages, [], differs)
        reproduce(clone, root, "evaluate")
        committed = json.loads(snapshot.read(METRICS) or b"{}")
        against = outside(committed, json.loads((clone / METRICS).read_bytes()))
    made = {stage: status for stage, status in stages.items() if stage != "train"}
    agrees = bool(committed) and not against and all(status == EQUAL for status in made.values())
    return Verification(subject.version, WITHIN if agrees else DIFFERS, stages, against, differs)


def clone_at(root: Path, clone: Path, commit: str) -> Path:
    """Clone a project and check a commit out; inputs that are pinned come from the project's cache."""
    top = git.git(root, "rev-parse", "--show-toplevel") or str(root)
    run(["git", "clone", "--quiet", "--no-checkout", top, str(clone)], clone.parent)
    run(["git", "checkout", "--quiet", commit], clone)
    clone = clone / (git.git(root, "rev-parse", "--show-prefix") or "")
    pinned = sorted(str(path.relative_to(clone)) for path in clone.glob("data/**/*.dvc"))
    if pinned:
        run([*DVC, "remote", "add", "--local", "--default", "origin", str(Cache.of(root).home)], clone)
        run([*DVC, "pull", *pinned], clone)
    return clone


def reproduce(clone: Path, root: Path, stage: str) -> None:
    """Run the pipeline up to a stage, and tell of it; its runs go into a store of the clone's own."""
    console.print(f"verify: running the pipeline of {root.name} anew, up to {stage!r}", highlight=False)
    run([*DVC, "repro", stage], clone)


STDERR = 2  # stdout is for the answer
DVC = [sys.executable, "-m", "dvc"]


def run(command: list[str], folder: Path) -> None:
    """Run a command in a folder, on the code that lies there; what it prints goes to stderr."""
    own = {"PYTHONPATH": str(folder / "src"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    own["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    own |= {"DVC_NO_ANALYTICS": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, cwd=folder, env=os.environ | own, stdout=STDERR, check=False)
    if done.returncode:
        raise BlobwatchError(f"`{' '.join(command)}` failed in the clone; what it printed above says why")


def compare_stages(committed: dict[str, Locked], clone: Path) -> dict[str, str]:
    """Return for each stage up to the training whether its outputs are those that are committed."""
    found, stages = parse_lock((clone / "dvc.lock").read_text()), read_stages(clone)
    result = {}
    for name in upstream(stages, "train"):
        outs = dict(committed[name].outs) if name in committed else {}
        outs.pop(receipt_path(name), None)  # it differs wherever an input does: the outputs say enough
        odd = sorted(path for path, md5 in outs.items() if found[name].outs.get(path) != md5)
        result[name] = EQUAL if outs and not odd else ", ".join(odd) or "not in the committed dvc.lock"
    return result


def environment(clone: Path) -> list[str]:
    """Return the packages that are not installed here as the commit's ``requirements.lock`` pins them."""
    odd = []
    for line in (clone / "requirements.lock").read_text().splitlines():
        name, pinned, wanted = line.partition("==")
        if not pinned or name.startswith("#"):
            continue
        try:
            found = importlib.metadata.version(name).removesuffix(
                "+cpu"
            )  # of torch, built for no accelerator
        except importlib.metadata.PackageNotFoundError:
            found = "absent"
        if found != wanted:
            odd.append(f"{name} {found}, then {wanted}")
    return odd


def outside(committed: dict, found: dict, name: str = "") -> list[str]:
    """Return the metrics that lie outside the committed intervals.

    Either range may hold the other's value: one of no width (all blobs found) would hold nothing else. A
    range has its own value in it, which the interval of a biased measure (calibration) may leave out.
    """
    if set(committed) == {"value", "low", "high"}:
        values = [*committed.values(), *found.values()]
        if None in values:
            return [] if committed == found else [f"{name}: {found}, committed {committed}"]
        pairs = ((committed, found), (found, committed))
        holds = any(min(a.values()) <= b["value"] <= max(a.values()) for a, b in pairs)
        return [] if holds else [f"{name}: {found} and the committed {committed} exclude each other"]
    lines = [f"{name}.{key}: is not in the new metrics" for key in committed if key not in found]
    for key, value in committed.items():
        if isinstance(value, dict) and key in found:
            lines += outside(value, found[key], f"{name}.{key}".strip("."))
    return lines
