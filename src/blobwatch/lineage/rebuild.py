"""``blobwatch verify``: rebuild a version from its commit in a clone, and compare the outputs."""

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
from blobwatch.lineage.model_version import ModelVersion, VersionIndex
from blobwatch.lineage.origin import DIRTY
from blobwatch.lineage.pipeline import LockedStage, parse_lock, read_stages, upstream
from blobwatch.lineage.restore import CANDIDATE
from blobwatch.progress import console

EQUAL, WITHIN, DIFFERS = "equal", "within the interval", "differs"


@dataclass(frozen=True)
class Verification:
    """Result of rebuilding a version.

    Attributes
    ----------
    version : int
    verdict : str
        ``equal`` (identical bytes), ``within the interval`` (different bytes, for example on another
        processor, but metrics agree), or ``differs``.
    stages : dict of str to str
        For each stage, in order, ``equal`` or the outputs that differ.
    against : list of str
        Metrics that do not agree.
    environment : list of str
        Packages whose version differs from the commit's ``requirements.lock``.
    """

    version: int
    verdict: str
    stages: dict[str, str]
    against: list[str]
    environment: list[str]

    @property
    def first(self) -> str | None:
        """Return the first stage whose outputs differ."""
        return next((stage for stage, status in self.stages.items() if status != EQUAL), None)

    def as_json(self) -> dict:
        """Convert to a dict for JSON."""
        return {**vars(self), "first": self.first}


def verify(root: Path, name: str = "champion") -> Verification:
    """Rebuild a version from its commit in a temporary clone.

    The workspace is not changed. The stages run the code of the commit in the installed environment.

    Parameters
    ----------
    root : Path
        The project's folder.
    name : str
        ``champion``, or the number of a version.

    Raises
    ------
    BlobwatchError
        If its commit or its ``dvc.lock`` is not found, or a stage fails.
    """
    root = Path(root).resolve()
    subject = ModelVersion.from_name(root, VersionIndex.of(root), name)
    if subject.commit.endswith(DIRTY):
        raise BlobwatchError(f"version {subject.version} cannot be rebuilt: its inputs were not committed")
    snapshot, steps = choose_snapshot(subject, subject.snapshots())
    if snapshot is None:
        raise BlobwatchError(f"version {subject.version} cannot be compared: its dvc.lock is not found")
    forged = next((step.problem for step in steps if step.forged), "")
    if forged:
        raise BlobwatchError(f"{forged}. Run `blobwatch audit {subject.version}` for details")
    with TemporaryDirectory() as folder:
        clone = clone_at(root, Path(folder) / "clone", subject.commit)
        packages = compare_environment(clone)
        reproduce(clone, root, "train")
        stages = compare_stages(snapshot.locked, clone)
        rebuilt = {file: file_hash(clone / CANDIDATE / file) for file in subject.expected_files}
        if rebuilt == subject.expected_files:
            return Verification(subject.version, EQUAL, stages, [], packages)
        reproduce(clone, root, "evaluate")
        committed = json.loads(snapshot.read(METRICS) or b"{}")
        against = find_disagreements(committed, json.loads((clone / METRICS).read_bytes()))
    inputs_equal = all(status == EQUAL for stage, status in stages.items() if stage != "train")
    agrees = bool(committed) and not against and inputs_equal
    return Verification(subject.version, WITHIN if agrees else DIFFERS, stages, against, packages)


def clone_at(root: Path, clone: Path, commit: str) -> Path:
    """Clone a project at a commit, and pull pinned inputs from its cache."""
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
    """Run the pipeline in the clone up to a stage."""
    console.print(f"verify: running the pipeline of {root.name} up to stage {stage!r}", highlight=False)
    run([*DVC, "repro", stage], clone)


STDERR = 2  # stdout is reserved for results
DVC = [sys.executable, "-m", "dvc"]


def run(command: list[str], folder: Path) -> None:
    """Run a command with the clone's code and MLflow store; print to stderr."""
    own = {"PYTHONPATH": str(folder / "src"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    own["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    own |= {"DVC_NO_ANALYTICS": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, cwd=folder, env=os.environ | own, stdout=STDERR, check=False)
    if done.returncode:
        raise BlobwatchError(f"`{' '.join(command)}` failed in the clone. See its output above")


def compare_stages(committed: dict[str, LockedStage], clone: Path) -> dict[str, str]:
    """Compare the outputs of each stage up to ``train`` with the committed hashes."""
    found, stages = parse_lock((clone / "dvc.lock").read_text()), read_stages(clone)
    result = {}
    for name in upstream(stages, "train"):
        outs = dict(committed[name].outs) if name in committed else {}
        outs.pop(receipt_path(name), None)  # it differs if any input differs; comparing outputs suffices
        changed = sorted(path for path, md5 in outs.items() if found[name].outs.get(path) != md5)
        result[name] = (
            EQUAL if outs and not changed else ", ".join(changed) or "not in the committed dvc.lock"
        )
    return result


def compare_environment(clone: Path) -> list[str]:
    """Return installed packages that differ from the commit's ``requirements.lock``."""
    packages = []
    for line in (clone / "requirements.lock").read_text().splitlines():
        name, equals, pin = line.partition("==")
        if not equals or name.startswith("#"):
            continue
        try:
            found = importlib.metadata.version(name).removesuffix("+cpu")  # suffix of torch's CPU build
        except importlib.metadata.PackageNotFoundError:
            found = "not installed"
        if found != pin:
            packages.append(f"{name} {found}, pinned {pin}")
    return packages


def find_disagreements(committed: dict, found: dict, name: str = "") -> list[str]:
    """Return the metrics that disagree with the committed ones.

    Two metrics agree if either interval contains the other value: an interval can have zero width, for
    example if all blobs are found. Each interval is extended to include its own value, because the
    interval of a biased measure such as the calibration error may exclude it.
    """
    if set(committed) == {"value", "low", "high"}:
        values = [*committed.values(), *found.values()]
        if None in values:
            return [] if committed == found else [f"{name}: {found}, committed {committed}"]
        pairs = ((committed, found), (found, committed))
        agrees = any(min(a.values()) <= b["value"] <= max(a.values()) for a, b in pairs)
        return [] if agrees else [f"{name}: {found} disagrees with the committed {committed}"]
    lines = [f"{name}.{key}: missing from the new metrics" for key in committed if key not in found]
    for key, value in committed.items():
        if isinstance(value, dict) and key in found:
            lines += find_disagreements(value, found[key], f"{name}.{key}".strip("."))
    return lines
