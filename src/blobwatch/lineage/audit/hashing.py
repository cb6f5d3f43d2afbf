"""The bytes behind a hash: hashed anew where they are, in the project's folder or in DVC's cache."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from blobwatch.files import file_hash, listing_hash
from blobwatch.lineage.dvc_cache import Cache
from blobwatch.lineage.fingerprint import some
from blobwatch.progress import track

OK, MISSING, MISMATCH = "ok", "missing", "mismatch"


@dataclass(frozen=True)
class Evidence:
    """What the bytes of a folder say against its hash.

    Attributes
    ----------
    status : str
        ``ok``, ``missing`` (where only absent files are against it) or ``mismatch``.
    found : str
        The hash of what is there; empty where there is nothing.
    note : str
        Which files are against it, or where they were found.
    listing : dict
        The md5 of each file that is there, by its path in the folder.
    """

    status: str
    found: str
    note: str
    listing: dict[str, str]


def examine(root: Path, path: str, expected: str, claimed: str | None, known: dict[str, str]) -> Evidence:
    """Hash the files of a folder and compare.

    Parameters
    ----------
    root : Path
        The project's folder.
    path : str
        Of the folder of data, from there.
    expected : str
        Its DVC hash.
    claimed : str or None
        The hash that ``dvc.lock`` or a ``.dvc`` file gives the folder as it lies here. Where that is another
        one, the folder is rightly at another state, and the bytes are looked for in DVC's cache.
    known : dict
        The md5 that some of its files must have, for naming what differs where the cache has no listing.
    """
    cache = Cache.of(root)
    listing = cache.listing(expected)
    folder = Path(root) / path
    if claimed == expected and folder.is_dir():
        files = {
            one.relative_to(folder).as_posix(): one for one in sorted(folder.rglob("*")) if one.is_file()
        }
        place = path
    elif listing is not None:
        files = {name: cache.path(md5) for name, md5 in listing.items() if cache.path(md5).is_file()}
        place = "DVC's cache"
    else:
        return Evidence(MISSING, "", f"the bytes of {path} are not here; `dvc pull` brings them", {})
    there = hash_all(files, place)
    found = listing_hash(there)
    if found == expected:
        return Evidence(OK, found, f"{len(there)} files hashed in {place}", there)
    wanted = listing or known
    absent = sorted(wanted.keys() - there.keys())
    altered = sorted(name for name, md5 in there.items() if wanted.get(name, md5) != md5)
    added = sorted(there.keys() - wanted.keys()) if listing else []
    status = MISSING if absent and not altered and not added else MISMATCH
    parts = [("altered", altered), ("added", added), ("missing", absent)]
    said = "; ".join(f"{word} in {place}: {some(names)}" for word, names in parts if names)
    return Evidence(status, found, said or f"{place} is not what it was", there)


def hash_all(files: dict[str, Path], place: str) -> dict[str, str]:
    """Return the md5 of each file, computed by as many threads as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashed = pool.map(lambda path: file_hash(path, "md5"), files.values())
        return dict(zip(files, track(hashed, len(files), f"hashing {place}"), strict=True))
