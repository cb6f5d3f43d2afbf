"""The directory of fetched exposures: its manifest (URI, size and MD5 of each file), states and lock."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from blobwatch.archive.download import PARTIAL
from blobwatch.archive.query import Product
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash, file_lock, lock_path, read_table, write_table
from blobwatch.progress import print_message, track

MANIFEST = "manifest.csv"
COLUMNS = ["rootname", "uri", "size", "md5", "expstart", "date", "filter", "programme", "product", "path"]


def read_manifest(path: Path | str) -> list[dict]:
    """Return the rows of a manifest in order of time.

    Parameters
    ----------
    path : Path or str
        The file; ``path`` in its rows is relative to its directory.

    Returns
    -------
    list of dict
        ``rootname``, ``uri``, ``md5``, ``date``, ``filter``, ``programme``, ``product``, ``path`` as
        str, ``size`` (bytes) as int, ``expstart`` (MJD) as float.

    Raises
    ------
    BlobwatchError
        If the file is absent, lacks a column, or has an incomplete row or a path outside its directory.
    """
    path = Path(path)
    if not path.is_file():
        raise BlobwatchError(f"{path}: does not exist. Run `blobwatch fetch` to create it")
    try:
        rows: list[dict] = read_table(path)
    except (OSError, UnicodeDecodeError) as error:
        raise BlobwatchError(f"{path}: not readable as a manifest ({error}). Restore it") from None
    for number, row in enumerate(rows, start=2):
        try:
            row["size"], row["expstart"] = int(row["size"]), float(row["expstart"])
            name = PurePosixPath(row["path"])
            valid = not name.is_absolute() and ".." not in name.parts and all(row[c] for c in COLUMNS[:4])
        except (KeyError, TypeError, ValueError):
            valid = False
        if not valid or not row["path"]:
            raise BlobwatchError(
                f"{path}, line {number}: not a valid row. Restore the manifest, or remove it and fetch again"
            )
    return sorted(rows, key=time_key)


def write_manifest(path: Path | str, rows: list[dict]) -> None:
    """Write a manifest, sorted by time."""
    write_table(path, sorted(rows, key=time_key), COLUMNS)


def time_key(row: dict) -> tuple[float, str]:
    """Return the sort key of a row."""
    return float(row["expstart"]), row["path"]


def check_output(out: Path) -> None:
    """Raise if the output directory is tracked by DVC but absent."""
    pointer = Path(f"{out}.dvc")
    if not out.exists() and pointer.exists():
        raise BlobwatchError(
            f"{out}: absent, but tracked by {pointer}. Restore it with `dvc pull {pointer}` (without a "
            "remote, `dvc checkout`); otherwise this fetch would replace the tracked files"
        )


def read_rows(out: Path, product: str) -> dict[str, dict]:
    """Return the rows of a directory's manifest by path, empty without a manifest.

    Raises
    ------
    BlobwatchError
        If the manifest is invalid, or the directory contains files of another product.
    """
    rows = read_manifest(out / MANIFEST) if (out / MANIFEST).exists() else []
    others = sorted({row["product"] for row in rows} - {product})
    if others:
        raise BlobwatchError(
            f"{out}: contains {', '.join(others)} files, and a directory holds one product. Fetch {product} "
            "into another directory with --out"
        )
    return {row["path"]: row for row in rows}


def file_states(out: Path, products: list[Product], rows: dict[str, dict]) -> dict[str, str]:
    """Return the state of each file, by name.

    A state is ``here``, ``absent``, or ``altered`` if the file differs from the manifest.
    """
    states = dict.fromkeys((one.name for one in products), "absent")
    present = [one.name for one in products if (out / one.name).exists()]
    for name in track(present, len(present), f"checking {out}") if present else ():
        path, row = out / name, rows.get(name)
        intact = row and path.stat().st_size == row["size"] and file_hash(path, "md5") == row["md5"]
        states[name] = "here" if intact else "altered"
    return states


def report_changes(out: Path, products: list[Product], rows: dict, states: dict[str, str]) -> None:
    """Print which files differ from the manifest, or from the archive."""
    for one in products:
        if states[one.name] == "altered":
            reason = "differs from the manifest" if one.name in rows else "not in the manifest"
            print_message(f"{out / one.name}: {reason}; it is replaced after a new download", "yellow")
        if states[one.name] == "here" and one.size not in (None, rows[one.name]["size"]):
            print_message(
                f"{out / one.name}: the archive has another version ({one.size} bytes, here "
                f"{rows[one.name]['size']}). Remove the file to fetch the new version",
                "yellow",
            )


def check_space(out: Path, missing: list[Product]) -> None:
    """Raise if the missing files do not fit on the disk."""
    parts = (out / PARTIAL.format(one.name) for one in missing)
    received = sum(path.stat().st_size for path in parts if path.exists())
    need = sum(one.size or 0 for one in missing) - received
    free = shutil.disk_usage(out).free
    if need > free:
        raise BlobwatchError(
            f"{out}: {need / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free. Delete files, or fetch fewer days"
        )


@contextmanager
def lock_output(out: Path) -> Iterator[None]:
    """Create the output directory and keep other fetches out of it."""
    check_output(out)
    busy = f"{out}: another fetch writes into it. Wait for it, or pass another --out"
    with translate_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with file_lock(lock_path(out), timeout=0, busy=busy):
            yield


@contextmanager
def translate_errors(out: Path) -> Iterator[None]:
    """Raise errors of writing to an output as `BlobwatchError`."""
    try:
        yield
    except OSError as error:
        raise BlobwatchError(
            f"{out}: not writable ({error.strerror or error}). Correct this and run the same command again "
            "to resume"
        ) from None
