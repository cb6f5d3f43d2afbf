"""The fingerprint of a stage: what its output was really made from, taken before and after the work.

DVC hashes dependencies after the command ends, so a file edited during a run is locked to an output it
did not make. A fingerprint is taken when the stage starts and again when it ends. It travels with the
artefact, and each stage leaves one beside its report, with the hashes of what it made.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash, folder_hash, read_table, write_json
from blobwatch.lineage.pipeline import Locked, look_up, read_stages, read_yaml

EXPOSURES = "exposures.csv"  # in data/subframes: the raw exposures behind it, with their hashes
DATA = "data/"  # below it lies what was measured, and what is made of it
GIVEN = (
    "data/labels",
    "data/overrules",
    "data/templates",
)  # but for what people give: that lies in git, as code does
RECEIPT = "fingerprint.json"  # in reports/<stage>


@dataclass(frozen=True)
class Fingerprint:
    """The inputs of a stage and one hash over them.

    ``parts`` has ``code`` and ``data`` (path to md5, as in ``dvc.lock``), ``params`` (name to value) and
    ``command``; behind subframes also ``exposures`` (rootname to md5).
    """

    parts: dict

    @property
    def sha256(self) -> str:
        """The hash of the canonical JSON of the parts."""
        canonical = json.dumps(self.parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def as_json(self) -> dict:
        """Return hash and parts as plain data."""
        return {"sha256": self.sha256, "parts": self.parts}

    def differences(self, other: "Fingerprint") -> list[str]:
        """Return the paths, parameters and exposures in which another fingerprint differs from this one."""
        names = []
        for part in sorted(self.parts.keys() | other.parts.keys()):
            mine, theirs = self.parts.get(part, {}), other.parts.get(part, {})
            if isinstance(mine, dict) and isinstance(theirs, dict):
                names += differing(mine, theirs)
            elif mine != theirs:
                names.append(part)
        return names

    def against_lock(self, locked: Locked) -> list[str]:
        """Return the paths and parameters in which a stage of ``dvc.lock`` differs from this fingerprint."""
        names = differing(self.parts["code"] | self.parts["data"], locked.deps)
        names += differing(self.parts["params"], locked.params)
        return names + (["command"] if self.parts["command"] != locked.command else [])


def differing(one: dict, other: dict) -> list[str]:
    """Return the keys under which two mappings do not hold the same."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def some(names: list[str]) -> str:
    """Return the first few of some names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def dependency_hash(path: Path) -> str:
    """Return the hash that DVC gives a file, or a folder without its caches."""
    if path.is_file():
        return file_hash(path, "md5")
    if not path.is_dir():
        raise BlobwatchError(f"{path} does not exist; run `dvc repro` or `dvc pull` to get it")
    return folder_hash(path)


def is_data(path: str) -> bool:
    """Tell whether a dependency is data, which DVC keeps, rather than something that lies in git."""
    return path.startswith(DATA) and path not in GIVEN


def take(root: Path, stage: str, hash_of: Callable[[Path], str] = dependency_hash) -> Fingerprint:
    """Take the fingerprint of a stage of ``dvc.yaml`` from the files as they are now.

    Parameters
    ----------
    root : Path
        The project's folder.
    stage : str
    hash_of : callable, optional
        Gives the hash of a path; one that remembers spares reading what several stages share.

    Raises
    ------
    BlobwatchError
        If the stage, a dependency or a parameter that it names does not exist.
    """
    root = Path(root)
    stages, params = read_stages(root), read_yaml(root / "params.yaml")
    if stage not in stages:
        raise BlobwatchError(f"dvc.yaml has no stage {stage!r}; restore it with `git checkout dvc.yaml`")
    entry, made = stages[stage], [out for one in stages.values() for out in one.outs]
    parts = {"code": {}, "data": {}, "params": {}, "command": entry.command}
    for path in entry.deps:
        data = is_data(path) or any(Path(path).is_relative_to(out) for out in made)
        parts["data" if data else "code"][path] = hash_of(root / path)
        if data and (root / path / EXPOSURES).is_file():
            rows = read_table(root / path / EXPOSURES)
            parts["exposures"] = {row["rootname"]: row["md5"] for row in rows}
    parts["params"] = {name: look_up(params, name) for name in entry.params}
    return Fingerprint(parts)


def refuse_change(root: Path, stage: str, before: Fingerprint) -> None:
    """Raise an error that names the inputs of a stage that are not what they were ``before``."""
    changed = before.differences(take(root, stage))
    if changed:
        raise BlobwatchError(
            f"{', '.join(changed)} changed while stage {stage!r} ran, so its output belongs to neither; "
            f"run `dvc repro {stage}` again and leave its inputs alone meanwhile"
        )


@contextmanager
def witnessed(root: Path, stage: str, *places: Path) -> Iterator[None]:
    """Run a stage between two fingerprints, and leave ``reports/<stage>/fingerprint.json`` when it ends well.

    That file names the inputs, and the hash of each output. It lies in git, so an output that was replaced
    and committed to DVC by hand contradicts it, and so does an edited ``dvc.lock``. Where ``places`` are not
    those of the stage in ``dvc.yaml``, it is no run of the pipeline, and nothing is left.

    Raises
    ------
    BlobwatchError
        If an input changed meanwhile.
    """
    entry = read_stages(root).get(stage) if (Path(root) / "dvc.yaml").is_file() else None
    if entry is None or entry.command.split()[2:] != [str(place) for place in places]:
        yield
        return
    before = take(root, stage)
    yield
    refuse_change(root, stage, before)
    receipt = receipt_path(stage)
    made = {out: dependency_hash(root / out) for out in entry.outs if out != receipt}
    write_json(root / receipt, {"fingerprint": before.as_json(), "made": made})


def receipt_path(stage: str) -> str:
    """Return where a stage leaves its fingerprint, from the project's folder."""
    return f"reports/{stage}/{RECEIPT}"


def read_receipt(content: bytes | None) -> tuple[Fingerprint, dict[str, str]] | None:
    """Return the fingerprint and the hashes that a stage left; None if it left none that is whole."""
    try:
        receipt = json.loads(content or b"")
        fingerprint = Fingerprint(receipt["fingerprint"]["parts"])
        whole = receipt["fingerprint"]["sha256"] == fingerprint.sha256
        return (fingerprint, receipt["made"]) if whole else None
    except (ValueError, KeyError, TypeError):
        return None
