"""Fingerprints of pipeline stages: hashes of the inputs, taken before and after the stage runs.

DVC hashes dependencies after the command ends. If a file is edited during a run, ``dvc.lock`` links the
edited file to an output made from the old one. A fingerprint is therefore taken when the stage starts and
compared when it ends. It is stored in the model's manifest, and in a receipt in the stage's report folder.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash, folder_hash, read_table, write_json
from blobwatch.lineage.pipeline import LockedStage, get_param, read_stages, read_yaml

EXPOSURES = "exposures.csv"  # in data/subframes: its raw exposures and their hashes
DATA = "data/"  # measured and derived data, stored by DVC
USER_FILES = ("data/labels", "data/overrules", "data/templates")  # stored in git, like code
RECEIPT = "fingerprint.json"  # in reports/<stage>


@dataclass(frozen=True)
class Fingerprint:
    """The inputs of a stage and one hash of all of them.

    ``parts`` has ``code`` and ``data`` (path to md5, as in ``dvc.lock``), ``params`` (name to value) and
    ``command``. If the stage reads subframes, it also has ``exposures`` (rootname to md5).
    """

    parts: dict

    @property
    def sha256(self) -> str:
        """Return the hash of the canonical JSON of the parts."""
        canonical = json.dumps(self.parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def as_json(self) -> dict:
        """Convert to a dict for JSON."""
        return {"sha256": self.sha256, "parts": self.parts}

    def differences(self, other: "Fingerprint") -> list[str]:
        """List the paths, parameters and exposures that differ from another fingerprint."""
        names = []
        for part in sorted(self.parts.keys() | other.parts.keys()):
            own, others = self.parts.get(part, {}), other.parts.get(part, {})
            if isinstance(own, dict) and isinstance(others, dict):
                names += differing_keys(own, others)
            elif own != others:
                names.append(part)
        return names

    def differences_from_lock(self, locked: LockedStage) -> list[str]:
        """List the paths and parameters that differ from a stage of ``dvc.lock``."""
        names = differing_keys(self.parts["code"] | self.parts["data"], locked.deps)
        names += differing_keys(self.parts["params"], locked.params)
        return names + (["command"] if self.parts["command"] != locked.command else [])


def differing_keys(one: dict, other: dict) -> list[str]:
    """Return the sorted keys whose values differ between two mappings."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def join_names(names: list[str]) -> str:
    """Join the first five names and count the rest."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def dependency_hash(path: Path) -> str:
    """Return the md5 as DVC computes it; ``__pycache__`` is excluded."""
    if path.is_file():
        return file_hash(path, "md5")
    if not path.is_dir():
        raise BlobwatchError(f"{path} does not exist. Run `dvc repro` or `dvc pull` to get it")
    return folder_hash(path)


def is_data(path: str) -> bool:
    """Return whether a dependency is stored by DVC and not by git."""
    return path.startswith(DATA) and path not in USER_FILES


def take_fingerprint(root: Path, stage: str, hash_of: Callable[[Path], str] = dependency_hash) -> Fingerprint:
    """Take the fingerprint of a stage from the current files.

    Parameters
    ----------
    root : Path
        The project's folder.
    stage : str
    hash_of : callable, optional
        Returns the hash of a path. Pass a caching function to read shared dependencies only once.

    Raises
    ------
    BlobwatchError
        If the stage, a dependency or a parameter does not exist.
    """
    root = Path(root)
    stages, params = read_stages(root), read_yaml(root / "params.yaml")
    if stage not in stages:
        raise BlobwatchError(f"dvc.yaml has no stage {stage!r}. Restore it with `git checkout dvc.yaml`")
    entry, outs = stages[stage], [out for other in stages.values() for out in other.outs]
    parts: dict = {"code": {}, "data": {}, "params": {}, "command": entry.command}
    for path in entry.deps:
        data = is_data(path) or any(Path(path).is_relative_to(out) for out in outs)
        parts["data" if data else "code"][path] = hash_of(root / path)
        if data and (root / path / EXPOSURES).is_file():
            rows = read_table(root / path / EXPOSURES)
            parts["exposures"] = {row["rootname"]: row["md5"] for row in rows}
    parts["params"] = {name: get_param(params, name) for name in entry.params}
    return Fingerprint(parts)


def check_unchanged(root: Path, stage: str, before: Fingerprint) -> None:
    """Raise an error if inputs of a stage changed since ``before``."""
    changed = before.differences(take_fingerprint(root, stage))
    if changed:
        raise BlobwatchError(
            f"{', '.join(changed)} changed while stage {stage!r} ran, so its output matches no single state. "
            f"Run `dvc repro {stage}` again and do not edit its inputs during the run"
        )


@contextmanager
def record_receipt(root: Path, stage: str, *places: Path) -> Iterator[None]:
    """Run a stage and write its receipt, ``reports/<stage>/fingerprint.json``.

    The receipt holds the fingerprint of the inputs and the hash of each output. It is committed to git, so
    it exposes an edited ``dvc.lock`` and an output that was replaced and committed to DVC by hand. No receipt
    is written if ``places`` differ from the stage's paths in ``dvc.yaml``: the run is then not part of the
    pipeline.

    Raises
    ------
    BlobwatchError
        If an input changed during the run.
    """
    entry = read_stages(root).get(stage) if (Path(root) / "dvc.yaml").is_file() else None
    if entry is None or entry.command.split()[2:] != [str(place) for place in places]:
        yield
        return
    before = take_fingerprint(root, stage)
    yield
    check_unchanged(root, stage, before)
    receipt = receipt_path(stage)
    made = {out: dependency_hash(root / out) for out in entry.outs if out != receipt}
    write_json(root / receipt, {"fingerprint": before.as_json(), "made": made})


def receipt_path(stage: str) -> str:
    """Return the path of a stage's receipt, relative to the project."""
    return f"reports/{stage}/{RECEIPT}"


def read_receipt(content: bytes | None) -> tuple[Fingerprint, dict[str, str]] | None:
    """Return fingerprint and output hashes; None if the receipt is missing or invalid."""
    try:
        receipt = json.loads(content or b"")
        fingerprint = Fingerprint(receipt["fingerprint"]["parts"])
        valid = receipt["fingerprint"]["sha256"] == fingerprint.sha256
        return (fingerprint, receipt["made"]) if valid else None
    except (ValueError, KeyError, TypeError):
        return None
