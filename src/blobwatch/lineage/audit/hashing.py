"""Hash checks of data folders, in the project or in DVC's cache."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from blobwatch.files import file_hash, listing_hash
from blobwatch.lineage.dvc_cache import Cache, restoring_command
from blobwatch.lineage.fingerprint import join_names
from blobwatch.progress import track

OK, MISSING, MISMATCH = "ok", "missing", "mismatch"


@dataclass(frozen=True)
class FolderCheck:
    """Result of comparing the files of a folder with its expected hash.

    Attributes
    ----------
    status : str
        ``ok``, ``missing`` (files are missing, none differ) or ``mismatch``.
    found : str
        Hash of the files that were found; empty if there are none.
    note : str
        The files that differ, or the place where the files were found.
    listing : dict
        The md5 of each file that was found, by its path in the folder.
    """

    status: str
    found: str
    note: str
    listing: dict[str, str]


def check_folder(
    root: Path, path: str, expected: str, recorded: str | None, known: dict[str, str]
) -> FolderCheck:
    """Hash the files of a data folder and compare with the expected hash.

    Parameters
    ----------
    root : Path
        The project's folder.
    path : str
        The data folder, relative to `root`.
    expected : str
        Its DVC hash.
    recorded : str or None
        The hash of the folder in the current ``dvc.lock`` or ``.dvc`` file. If it is not `expected`, the
        folder holds another version of the data, and the files are read from DVC's cache.
    known : dict
        The md5 of some of its files, used to name the files that differ if the cache has no listing.
    """
    cache = Cache.of(root)
    listing = cache.listing(expected)
    folder = Path(root) / path
    if recorded == expected and folder.is_dir():
        files = {
            one.relative_to(folder).as_posix(): one for one in sorted(folder.rglob("*")) if one.is_file()
        }
        place = path
    elif listing is not None:
        files = {name: cache.path(md5) for name, md5 in listing.items() if cache.path(md5).is_file()}
        place = "DVC's cache"
    else:
        return FolderCheck(MISSING, "", f"{path}: files not found; run `{restoring_command(root)}`", {})
    hashes = hash_files(files, place)
    found = listing_hash(hashes)
    if found == expected:
        return FolderCheck(OK, found, f"{len(hashes)} files hashed in {place}", hashes)
    required = listing or known
    absent = sorted(required.keys() - hashes.keys())
    altered = sorted(name for name, md5 in hashes.items() if required.get(name, md5) != md5)
    added = sorted(hashes.keys() - required.keys()) if listing else []
    status = MISSING if absent and not altered and not added else MISMATCH
    parts = [("altered", altered), ("added", added), ("missing", absent)]
    note = "; ".join(f"{word} in {place}: {join_names(names)}" for word, names in parts if names)
    return FolderCheck(status, found, note or f"{place} has a different hash", hashes)


def hash_files(files: dict[str, Path], place: str) -> dict[str, str]:
    """Return the md5 of each file, computed with one thread per processor."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashed = pool.map(lambda path: file_hash(path, "md5"), files.values())
        return dict(zip(files, track(hashed, len(files), f"hashing {place}"), strict=True))
