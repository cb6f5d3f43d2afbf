"""Atomic writes, locks between processes, and content hashes."""

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blobwatch.errors import BlobwatchError


@contextmanager
def file_lock(path: Path, timeout: float = -1, busy: str = "") -> Iterator[None]:
    """Hold a lock between processes for the duration of the block.

    Parameters
    ----------
    path : Path
        The lock file; it and its folder are created if missing.
    timeout : float
        Seconds to wait for the lock; -1 waits without a limit.
    busy : str
        Error message for the case that another process holds the lock.

    Raises
    ------
    BlobwatchError
        If another process still holds the lock after ``timeout``.
    OSError
        If the lock file cannot be written.
    """
    from filelock import FileLock, Timeout  # not needed for prediction

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=timeout, mode=0o666)  # other users may lock the same folder
    try:
        lock.acquire()
    except Timeout:
        raise BlobwatchError(busy) from None
    try:
        yield
    finally:
        lock.release()


def lock_path(path: Path) -> Path:
    """Return the lock file next to a file or folder; git ignores it."""
    path = path.absolute()  # the name of "." is that of the folder
    return path.with_name(f".{path.name}.partial-lock")


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` after the block.

    If the block fails or the process is killed, ``path`` does not change.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Writers choose the format by the suffix.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.partial-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        os.chmod(partial, 0o644)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces ``path`` after the block."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.partial-"
    partial, old = (Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent)) for _ in range(2))
    try:
        yield partial
        os.chmod(partial, 0o755)
        if path.exists():
            os.replace(path, old)  # so that the folder at ``path`` is always complete
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path | str, content: object) -> None:
    """Write JSON atomically; keys are sorted, so that equal content gives equal bytes."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_table(path: Path | str) -> list[dict[str, str]]:
    """Return the rows of a CSV table as dictionaries."""
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_table(path: Path | str, rows: list[dict], columns: list[str] | None = None) -> None:
    """Write rows as CSV atomically; missing cells stay empty.

    By default the columns are the keys of the first row.
    """
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, columns or list(rows[0]), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def file_hash(path: Path | str, algorithm: str = "sha256") -> str:
    """Return the hexadecimal hash of a file; DVC uses ``md5``."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def folder_listing(path: Path | str) -> dict[str, str]:
    """Return the md5 of each file below a folder by relative path, without ``__pycache__``."""
    path = Path(path)
    files = (one for one in path.rglob("*") if one.is_file() and "__pycache__" not in one.parts)
    return {one.relative_to(path).as_posix(): file_hash(one, "md5") for one in files}


def listing_hash(listing: dict[str, str]) -> str:
    """Return DVC's hash of a folder: the md5 of its JSON manifest and ``.dir``."""
    manifest = json.dumps([{"md5": listing[name], "relpath": name} for name in sorted(listing)])
    return hashlib.md5(manifest.encode()).hexdigest() + ".dir"


def folder_hash(path: Path | str) -> str:
    """Return DVC's hash of the folder at a path."""
    return listing_hash(folder_listing(path))
