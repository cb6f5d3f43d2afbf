"""The files of a version, found again by their hashes wherever they are still kept."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from blobwatch.artefact import CHAMPION, MANIFEST
from blobwatch.lineage import git
from blobwatch.lineage.dvc_cache import Cache
from blobwatch.lineage.fingerprint import differing, read_receipt, receipt_path, some
from blobwatch.lineage.pipeline import Loader, Locked, parse_lock

CANDIDATE = "models/candidate"
Read = Callable[[str], bytes | None]


def find_files(
    root: Path, files: dict[str, str], registered: str | None = None
) -> tuple[dict[str, bytes], str]:
    """Return the content of each file of a version, and where it was found; nothing if it is nowhere.

    Parameters
    ----------
    root : Path
        The project's folder.
    files : dict
        The sha256 of each file by its name.
    registered : str, optional
        Where the registry says that they are: ``source`` of the version.

    Returns
    -------
    contents : dict
        Empty where no place has all of them.
    where : str
    """
    for where, read in places(root, files, registered):
        contents = {name: read(name) for name in files}
        if all(is_it(content, files[name]) for name, content in contents.items()):
            return contents, where
    return {}, ""


def is_it(content: bytes | None, sha256: str) -> bool:
    """Tell whether some bytes are those with a hash."""
    return content is not None and hashlib.sha256(content).hexdigest() == sha256


def places(root: Path, files: dict[str, str], registered: str | None) -> Iterator[tuple[str, Read]]:
    """Yield the places where the files may be: folders, the history of the champion in git, DVC's cache."""
    root = Path(root)
    for name in (CHAMPION, CANDIDATE):
        yield name, reader(root / name)
    folder = local_folder(registered)
    if folder is not None:
        yield "the registry", reader(folder)
    for commit, manifest in git.versions_of(root, f"{CHAMPION}/{MANIFEST}"):
        if is_it(manifest, files[MANIFEST]):
            there = git.files_at(root, commit, [CHAMPION])
            yield f"{CHAMPION} of commit {commit[:12]}", lambda name, of=there: of.get(f"{CHAMPION}/{name}")
    cache = Cache.of(root)
    for md5 in {snapshot.outs[CANDIDATE] for snapshot in snapshots(root)}:
        listing = cache.listing(md5) or {}
        if listing:
            paths = {name: cache.path(one) for name, one in listing.items()}
            yield f"DVC's cache, {md5}", lambda name, of=paths: read_file(of.get(name))


@dataclass(frozen=True)
class Snapshot:
    """A ``dvc.lock`` and the files beside it: of a commit, or as they lie here (``commit`` is None)."""

    root: Path
    commit: str | None
    locked: dict[str, Locked]

    @property
    def outs(self) -> dict[str, str]:
        """The hash of each output of each stage."""
        return {path: md5 for one in self.locked.values() for path, md5 in one.outs.items()}

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return f"of commit {self.commit[:12]}" if self.commit else "that lies here"

    def read(self, path: str) -> bytes | None:
        """Return the content of a file that lies in git, None where there is none."""
        if self.commit is None:
            return read_file(self.root / path)
        return git.files_at(self.root, self.commit, [path]).get(path)


def snapshots(root: Path, made: str | None = None) -> Iterator[Snapshot]:
    """Yield each ``dvc.lock`` that made a candidate, or one with a hash: that here, then the history's."""
    here = read_file(Path(root) / "dvc.lock")
    versions = [(None, here)] if here else []
    for commit, content in [*versions, *git.versions_of(root, "dvc.lock")]:
        locked = parse_lock(content.decode()) if (made or CANDIDATE).encode() in content else {}
        found = Snapshot(Path(root), commit, locked)
        if CANDIDATE in found.outs and made in (None, found.outs[CANDIDATE]):
            yield found


def contradiction(snapshot: Snapshot, stage: str) -> str:
    """Say in what ``dvc.lock`` contradicts what a stage left when it ran."""
    entry, where = snapshot.locked[stage], snapshot.place
    content = snapshot.read(receipt_path(stage))
    if content is None:
        return ""
    receipt = read_receipt(content)
    if receipt is None or entry.outs.get(receipt_path(stage)) not in (None, hashlib.md5(content).hexdigest()):
        return f"{receipt_path(stage)} {where} was altered"
    for path, md5sum in entry.outs.items():
        written = snapshot.read(path)  # of what lies in git; data does not
        if written is not None and hashlib.md5(written).hexdigest() != md5sum:
            return f"{path} {where} is not what the dvc.lock names"
    ran, left = receipt
    odd = ran.against_lock(entry)
    if odd:
        return f"the dvc.lock {where} was not written by stage {stage!r}: that ran on another {some(odd)}"
    outs = {path: md5sum for path, md5sum in entry.outs.items() if path != receipt_path(stage)}
    odd = differing(left, outs)
    return f"{some(odd)} is not what stage {stage!r} made: it was committed to DVC by hand" if odd else ""


def pinned_in(content: bytes | None) -> list[str]:
    """Return the hashes that the content of a ``.dvc`` file pins."""
    try:
        outs = yaml.load(content or b"", Loader)["outs"]
        return [out["md5"] for out in outs if "md5" in out]
    except (yaml.YAMLError, KeyError, TypeError):
        return []


def local_folder(source: str | None) -> Path | None:
    """Return the folder of an address of the registry, None where it is on a server."""
    if not source:
        return None
    parts = urlsplit(source)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def reader(folder: Path) -> Read:
    """Return what reads a file of a folder by its name."""
    return lambda name: read_file(folder / name)


def read_file(path: Path | None) -> bytes | None:
    """Return the content of a file, None where there is none."""
    return path.read_bytes() if path is not None and path.is_file() else None
