"""Errors that the user can correct, and warnings about files that are read all the same."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path


class BlobwatchError(ValueError):
    """Something the user can correct: the message says what is wrong and what to do.

    The command line prints the message without a traceback and exits with status 1.
    """


class UnusableFile(BlobwatchError):
    """An intact file that is no use here: another kind of observation, or one that went wrong."""


class RejectedExposure(UnusableFile):
    """An exposure that the quality check rejects."""


class OverruledExposure(UnusableFile):
    """An exposure that a person rejects."""


class FileWarning(UserWarning):
    """A defect of a file that is read all the same; the message begins with the path."""


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
    """Yield a list that receives the file warnings of this block, each once.

    Only warnings of the current thread are collected; filters of Python's ``warnings`` stay as they are.
    """
    token = _collected.set(found := [])
    try:
        yield found
    finally:
        _collected.reset(token)
