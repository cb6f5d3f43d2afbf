"""Errors that the user can correct, and warnings about defects of files."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path


class BlobwatchError(ValueError):
    """An error that the user can correct; the message names the problem and the remedy.

    The command line prints the message without a traceback and exits with status 1.
    """


class UnusableFile(BlobwatchError):
    """An intact file whose observation is unsuitable or failed."""


class RejectedExposure(UnusableFile):
    """An exposure that the quality check rejects."""


class OverruledExposure(UnusableFile):
    """An exposure that a person rejects."""


class FileWarning(UserWarning):
    """A defect that does not prevent the use of a file; the message begins with the path."""


_collected: ContextVar[list[str] | None] = ContextVar("collected file warnings", default=None)


def warn_file(path: Path | str, text: str) -> None:
    """Issue a `FileWarning`, or add it to the list of `collect_file_warnings`."""
    message, collected = f"{path}: {text}", _collected.get()
    if collected is None:
        warnings.warn(message, FileWarning, stacklevel=3)
    elif message not in collected:
        collected.append(message)


@contextmanager
def collect_file_warnings() -> Iterator[list[str]]:
    """Yield a list for the different file warnings of this block.

    Only warnings of the current thread are collected. The filters of Python's ``warnings`` do not change.
    """
    found: list[str] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)
