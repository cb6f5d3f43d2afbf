"""The manifest of a folder of fetched exposures: what each file is, where it came from, its size and md5."""

from pathlib import Path, PurePosixPath

from blobwatch.errors import BlobwatchError
from blobwatch.files import read_table, write_table

MANIFEST = "manifest.csv"
COLUMNS = ["rootname", "uri", "size", "md5", "expstart", "date", "filter", "programme", "product", "path"]


def read_manifest(path: Path | str) -> list[dict]:
    """Return the rows of a manifest in the order of time.

    Parameters
    ----------
    path : Path or str
        The file; ``path`` in its rows is relative to its folder.

    Returns
    -------
    list of dict
        ``rootname``, ``uri``, ``md5``, ``date``, ``filter``, ``programme``, ``product``, ``path`` as
        words, ``size`` (bytes) as int, ``expstart`` (MJD) as float.

    Raises
    ------
    BlobwatchError
        If the file is absent, lacks a column, or a row is not whole or names a file outside the folder.
    """
    path = Path(path)
    if not path.is_file():
        raise BlobwatchError(f"{path} does not exist; `blobwatch fetch` makes it")
    try:
        rows = read_table(path)
    except (OSError, UnicodeDecodeError) as error:
        raise BlobwatchError(f"{path} cannot be read as a manifest ({error})") from None
    for number, row in enumerate(rows, start=2):
        try:
            row["size"], row["expstart"] = int(row["size"]), float(row["expstart"])
            inside = PurePosixPath(row["path"])
            whole = not inside.is_absolute() and ".." not in inside.parts and all(row[c] for c in COLUMNS[:4])
        except (KeyError, TypeError, ValueError):
            whole = False
        if not whole or not row["path"]:
            raise BlobwatchError(
                f"{path}, line {number}, is no row of a manifest; restore it, or remove it and fetch again"
            )
    return sorted(rows, key=in_time)


def write_manifest(path: Path | str, rows: list[dict]) -> None:
    """Write a manifest whole, in the order of time."""
    write_table(path, sorted(rows, key=in_time), COLUMNS)


def in_time(row: dict) -> tuple[float, str]:
    """Return what rows are ordered by."""
    return float(row["expstart"]), row["path"]
