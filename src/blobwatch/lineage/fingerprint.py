"""The fingerprint of a stage: what its output was really made from, taken before and after the work.

DVC hashes dependencies after the command ends, so a file edited during a run is locked to an output it
did not make. A fingerprint is taken when the stage starts and again when it ends, and travels with the
artefact.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import yaml

from blobwatch.artefact import MANIFEST, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash, folder_hash
from blobwatch.lineage import checkout

DIRTY = "-dirty"


@dataclass(frozen=True)
class Fingerprint:
    """The inputs of a stage and one hash over them.

    ``parts`` has ``code`` and ``data`` (path to md5, as in ``dvc.lock``), ``params`` (name to value) and
    ``command``.
    """

    parts: dict

    @property
    def sha256(self) -> str:
        """The hash of the canonical JSON of the parts."""
        canonical = json.dumps(self.parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def differences(self, other: "Fingerprint") -> list[str]:
        """Return the paths and parameters in which another fingerprint differs from this one."""
        names = []
        for part in sorted(self.parts.keys() | other.parts.keys()):
            mine, theirs = self.parts.get(part, {}), other.parts.get(part, {})
            if isinstance(mine, dict) and isinstance(theirs, dict):
                names += sorted(
                    key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)
                )
            elif mine != theirs:
                names.append(part)
        return names


def take(root: Path, stage: str) -> Fingerprint:
    """Take the fingerprint of a stage of ``dvc.yaml`` from the files as they are now.

    Raises
    ------
    BlobwatchError
        If the stage, a dependency or a parameter that it names does not exist.
    """
    root = Path(root)
    pipeline, params = read_yaml(root / "dvc.yaml"), read_yaml(root / "params.yaml")
    entry = pipeline.get("stages", {}).get(stage)
    if entry is None:
        raise BlobwatchError(f"dvc.yaml has no stage {stage!r}; restore it with `git checkout dvc.yaml`")
    parts = {"code": {}, "data": {}, "params": {}, "command": resolve(str(entry["cmd"]), params)}
    made = outputs(pipeline, params)
    for dependency in sorted(resolve(path, params) for path in entry.get("deps", [])):
        is_data = (root / f"{dependency}.dvc").is_file() or any(
            Path(dependency).is_relative_to(output) for output in made
        )
        parts["data" if is_data else "code"][dependency] = dependency_hash(root / dependency)
    for name in sorted(entry.get("params", [])):
        parts["params"][name] = look_up(params, name)
    return Fingerprint(parts)


def fingerprint_of(model: Model) -> Fingerprint:
    """Return the fingerprint of the training that made a model, as its manifest records it.

    Raises
    ------
    BlobwatchError
        If the manifest does not say what the model was made from, or contradicts itself in it.
    """
    path = model.folder / MANIFEST
    try:
        fingerprint = Fingerprint(model.manifest["fingerprint"]["parts"])
        said = model.manifest["fingerprint"]["sha256"], model.manifest["data"]
        found = fingerprint.sha256, fingerprint.parts["data"]
    except (KeyError, TypeError, ValueError):
        raise BlobwatchError(
            f"{path} does not say what the model was made from; train it again with `dvc repro`"
        ) from None
    if said != found:
        raise BlobwatchError(
            f"{path} says two things of what the model was made from: its fingerprint is not that of the "
            "parts it names; train it again with `dvc repro`"
        )
    return fingerprint


def refuse_change(root: Path, stage: str, before: Fingerprint) -> None:
    """Raise an error that names the inputs of a stage that are not what they were ``before``."""
    changed = before.differences(take(root, stage))
    if changed:
        raise BlobwatchError(
            f"{', '.join(changed)} changed while stage {stage!r} ran, so its output belongs to neither; "
            f"run `dvc repro {stage}` again and leave its inputs alone meanwhile"
        )


def commit_of(root: Path, fingerprint: Fingerprint) -> str:
    """Return the commit of a training's inputs, with ``-dirty`` behind it if they are not those in it."""
    commit = checkout.commit(root)
    try:
        is_it = not checkout.uncommitted(root) and take(root, "train").sha256 == fingerprint.sha256
    except BlobwatchError:  # an input is not here, so nothing can be said
        is_it = False
    return commit if is_it else commit + DIRTY


def dependency_hash(path: Path) -> str:
    """Return the hash that DVC gives a file, or a folder without its caches."""
    if path.is_file():
        return file_hash(path, "md5")
    if not path.is_dir():
        raise BlobwatchError(f"{path} does not exist; run `dvc repro` or `dvc pull` to get it")
    return folder_hash(path)


def outputs(pipeline: dict, params: dict) -> set[str]:
    """Return the paths that stages make; an output with options is a mapping of one key."""
    listed = []
    for entry in pipeline.get("stages", {}).values():
        for kind in ("outs", "metrics", "plots"):
            listed += entry.get(kind, [])
    return {resolve(next(iter(out)) if isinstance(out, dict) else out, params) for out in listed}


def resolve(text: str, params: dict) -> str:
    """Return the text with each ``${section.key}`` replaced by its value."""
    return re.sub(r"\$\{\s*([\w.-]+)\s*\}", lambda found: str(look_up(params, found[1])), text)


def look_up(params: dict, name: str) -> object:
    """Return the value of a dotted name in ``params.yaml``."""
    try:
        return reduce(lambda section, key: section[key], name.split("."), params)
    except (KeyError, TypeError):
        raise BlobwatchError(f"params.yaml has no {name}, which dvc.yaml names; add it") from None


def read_yaml(path: Path) -> dict:
    """Return the mapping that a YAML file holds."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BlobwatchError(f"{path} does not exist; run blobwatch in the project's folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BlobwatchError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise BlobwatchError(f"{path} holds no mapping; restore it with `git checkout {path.name}`")
    return content
