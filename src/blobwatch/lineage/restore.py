"""Search for the files of a version by hash, and for the ``dvc.lock`` that made it."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from blobwatch.artefact import CHAMPION, MANIFEST
from blobwatch.lineage import git
from blobwatch.lineage.dvc_cache import Cache
from blobwatch.lineage.fingerprint import differing_keys, join_names, read_receipt, receipt_path
from blobwatch.lineage.pipeline import Loader, LockedStage, parse_lock

CANDIDATE = "models/candidate"
Read = Callable[[str], bytes | None]


def find_files(
    root: Path, files: dict[str, str], registered: str | None = None
) -> tuple[dict[str, bytes], str]:
    """Find the files of a version in the workspace, registry, git and cache.

    Parameters
    ----------
    root : Path
        The project's folder.
    files : dict
        Expected sha256 of each file by its name.
    registered : str, optional
        The ``source`` of the version in the registry.

    Returns
    -------
    contents : dict
        Content of each file by its name; empty if no location has all files.
    where : str
        Description of the location; empty if none.
    """
    for where, read in iterate_locations(root, files, registered):
        contents = {name: content for name in files if (content := read(name)) is not None}
        if all(has_hash(contents.get(name), sha256) for name, sha256 in files.items()):
            return contents, where
    return {}, ""


def has_hash(content: bytes | None, sha256: str) -> bool:
    """Return whether the content has a hash."""
    return content is not None and hashlib.sha256(content).hexdigest() == sha256


def read_from(folder: Path, name: str) -> bytes | None:
    """Return the content of a file in a folder; None if it is missing."""
    return read_file(folder / name)


def iterate_locations(
    root: Path, files: dict[str, str], registered: str | None
) -> Iterator[tuple[str, Read]]:
    """Yield each possible location of the files, with a function that reads a file."""
    root = Path(root)
    for place in (CHAMPION, CANDIDATE):
        yield place, partial(read_from, root / place)
    folder = local_folder(registered)
    if folder is not None:
        yield "the registry", partial(read_from, folder)
    for commit, manifest in git.versions_of(root, f"{CHAMPION}/{MANIFEST}"):
        if has_hash(manifest, files[MANIFEST]):
            committed = git.files_at(root, commit, [CHAMPION])
            read = {name: committed.get(f"{CHAMPION}/{name}") for name in files}.get
            yield f"{CHAMPION} of commit {commit[:12]}", read
    cache = Cache.of(root)
    for md5 in {snapshot.outs[CANDIDATE] for snapshot in find_snapshots(root)}:
        if listing := cache.listing(md5):
            contents = {name: read_file(cache.path(one)) for name, one in listing.items()}
            yield f"DVC's cache, {md5}", contents.get


@dataclass(frozen=True)
class Snapshot:
    """A ``dvc.lock`` with its project files, of a commit or of the workspace (``commit`` is None)."""

    root: Path
    commit: str | None
    locked: dict[str, LockedStage]

    @property
    def outs(self) -> dict[str, str]:
        """Return the hash of each output of all stages."""
        return {path: md5 for one in self.locked.values() for path, md5 in one.outs.items()}

    @property
    def place(self) -> str:
        """Return a description of the location for messages."""
        return f"of commit {self.commit[:12]}" if self.commit else "of the workspace"

    def read(self, path: str) -> bytes | None:
        """Return the content of a file stored in git, or None."""
        if self.commit is None:
            return read_file(self.root / path)
        return git.files_at(self.root, self.commit, [path]).get(path)


def find_snapshots(root: Path, made: str | None = None) -> Iterator[Snapshot]:
    """Yield each ``dvc.lock`` with a candidate, from the workspace and then the history.

    If ``made`` is given, the candidate must have this hash.
    """
    current = read_file(Path(root) / "dvc.lock")
    versions = [(None, current)] if current else []
    for commit, content in [*versions, *git.versions_of(root, "dvc.lock")]:
        locked = parse_lock(content.decode()) if (made or CANDIDATE).encode() in content else {}
        found = Snapshot(Path(root), commit, locked)
        if CANDIDATE in found.outs and made in (None, found.outs[CANDIDATE]):
            yield found


def read_snapshot(root: Path, commit: str) -> Snapshot:
    """Return the ``dvc.lock`` of a commit."""
    content = git.files_at(root, commit, ["dvc.lock"]).get("dvc.lock", b"")
    return Snapshot(Path(root), commit, parse_lock(content.decode()))


def find_contradiction(snapshot: Snapshot, stage: str) -> str:
    """Describe how ``dvc.lock`` contradicts the receipt of a stage; empty if it does not."""
    entry, where = snapshot.locked[stage], snapshot.place
    content = snapshot.read(receipt_path(stage))
    if content is None:
        return ""
    receipt = read_receipt(content)
    if receipt is None or entry.outs.get(receipt_path(stage)) not in (None, hashlib.md5(content).hexdigest()):
        return f"{receipt_path(stage)} {where} was altered"
    for path, md5sum in entry.outs.items():
        written = snapshot.read(path)  # None for data, which is not in git
        if written is not None and hashlib.md5(written).hexdigest() != md5sum:
            return f"{path} {where} does not match the dvc.lock"
    fingerprint, made = receipt
    changed = fingerprint.differences_from_lock(entry)
    if changed:
        names = join_names(changed)
        return f"the dvc.lock {where} was not written by stage {stage!r}: that ran on another {names}"
    outs = {path: md5sum for path, md5sum in entry.outs.items() if path != receipt_path(stage)}
    replaced = differing_keys(made, outs)
    if replaced:
        return f"{join_names(replaced)} is not what stage {stage!r} made: it was committed to DVC by hand"
    return ""


def parse_pin(content: bytes | None) -> list[str]:
    """Return the hashes in a ``.dvc`` file; empty if it is invalid."""
    try:
        outs = yaml.load(content or b"", Loader)["outs"]
        return [out["md5"] for out in outs if "md5" in out]
    except (yaml.YAMLError, KeyError, TypeError):
        return []


def local_folder(source: str | None) -> Path | None:
    """Return the folder of a registry URL; None if it is not local."""
    if not source:
        return None
    parts = urlsplit(source)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def read_file(path: Path) -> bytes | None:
    """Return the content of a file, or None if it does not exist."""
    return path.read_bytes() if path.is_file() else None
