"""Resumable download of one file."""

import hashlib
import json
import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from blobwatch.errors import BlobwatchError
from blobwatch.files import write_json
from blobwatch.progress import print_message

CHUNK = 1 << 16  # bytes; an interruption loses at most one chunk
TRIES = 6  # consecutive tries without new bytes: half a minute in total
WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds; doubled after each failure
PARTIAL = ".{}.partial-fetch"  # git and DVC ignore such names
FITS_START = b"SIMPLE  ="

T = TypeVar("T")


class TransientError(Exception):
    """A failure that a retry may resolve."""


class StaleDataError(TransientError):
    """The received bytes are not the start of the current file."""


@dataclass
class RangeResponse:
    """Response to a request for a file, starting at a byte offset.

    Attributes
    ----------
    start : int
        Offset of the first byte; 0 if the server ignored the requested offset.
    total : int or None
        Size of the complete file, if given.
    validator : str
        ETag or modification time of the file; may be empty.
    chunks : generator of bytes
    md5 : str
        Of the complete file; empty if not given.
    """

    start: int
    total: int | None
    validator: str
    chunks: Generator[bytes]
    md5: str = ""


RequestRange = Callable[[int, str], RangeResponse]  # arguments: offset, validator of the received bytes


class PartialFile:
    """A partly downloaded file on disk, with its state in a second file.

    Parameters
    ----------
    target : Path
        Path of the complete file. The partial file is in the same directory.
    uri : str
        Source. Received bytes of another source are discarded.
    size : int or None
        Bytes of the complete file, as listed by the archive.
    """

    def __init__(self, target: Path, uri: str, size: int | None):
        self.target, self.uri, self.size = target, uri, size
        self.path = target.with_name(PARTIAL.format(target.name))
        self.state_path = target.with_name(f".{target.name}.partial-note")
        self.state = self.read_state()
        if not self.state:
            self.path.unlink(missing_ok=True)
        self.total = self.state.get("total", size)
        self.stream = self.path.open("a+b")
        self.stream.seek(0)
        self.hash = hashlib.file_digest(self.stream, "md5")
        self.received = self.stream.tell()

    def read_state(self) -> dict:
        """Return the stored state, empty if it is absent, damaged or of another file."""
        try:
            state = json.loads(self.state_path.read_text(encoding="utf-8"))
            same = (state["uri"], state["size"]) == (self.uri, self.size)
            return state if same and {"total", "validator", "md5"} <= state.keys() else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    @property
    def md5(self) -> str:
        """Return the MD5 of the received bytes."""
        return self.hash.hexdigest()

    def check_response(self, response: RangeResponse) -> None:
        """Check that a response continues this file.

        If it starts a new file, store its state.
        """
        validators = {self.state.get("validator"), response.validator} - {None, ""}
        if response.start not in (0, self.received) or (response.start and len(validators) > 1):
            raise StaleDataError("the file in the archive has changed since the download started")
        if self.size is not None and response.total is not None and response.total != self.size:
            raise BlobwatchError(
                f"{self.uri}: the server has {response.total} bytes, the archive lists {self.size}. Try "
                "again later, or from the other source (with or without --cloud)"
            )
        if response.start == 0:
            self.reset()
            self.total = self.size or response.total
            self.state = {"uri": self.uri, "size": self.size, "total": self.total}
            self.state |= {"validator": response.validator, "md5": response.md5}
            write_json(self.state_path, self.state)
        self.total = self.total or response.total

    def append(self, chunk: bytes) -> None:
        """Write a chunk."""
        if self.total is not None and self.received + len(chunk) > self.total:
            self.reset()
            raise BlobwatchError(f"{self.uri}: longer than the announced {self.total} bytes. Try again later")
        self.stream.write(chunk)
        self.stream.flush()  # the bytes survive a kill
        self.hash.update(chunk)
        self.received += len(chunk)

    def reset(self) -> None:
        """Discard the received bytes."""
        self.stream.truncate(0)
        self.hash, self.received = hashlib.md5(), 0

    def close(self) -> None:
        """Close the file, and remove it if it is empty."""
        self.stream.close()
        if not self.received:
            self.path.unlink(missing_ok=True)
            self.state_path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Move the complete file to its target."""
        os.fsync(self.stream.fileno())
        self.stream.close()
        os.chmod(self.path, 0o644)
        os.replace(self.path, self.target)
        self.state_path.unlink(missing_ok=True)


def fetch_file(
    part: PartialFile,
    request: RequestRange,
    report: Callable[[int], None],
    accept: Callable[[PartialFile], T],
) -> T:
    """Download a file, check it, and move it to its target.

    Parameters
    ----------
    part : PartialFile
        Closed at the end.
    request : callable
        Requests the file from a byte offset on.
    report : callable
        Receives the number of received bytes after each chunk.
    accept : callable
        Checks the complete file, before it is moved.

    Returns
    -------
    object
        The return value of ``accept``.

    Raises
    ------
    TransientError
        After `TRIES` consecutive tries without new bytes. The received bytes are kept.
    BlobwatchError
        If the file differs from the archive's list, or ``accept`` raises it. The received bytes are
        discarded.
    """
    try:
        download(part, request, report)
        try:
            result = accept(part)
        except BlobwatchError:
            part.reset()
            raise
        part.finish()
        return result
    finally:
        part.close()


def download(part: PartialFile, request: RequestRange, report: Callable[[int], None]) -> None:
    """Download the missing bytes of a file, with retries."""
    failures, most = 0, part.received  # consecutive tries without new bytes
    backoff = wait_exponential_jitter(multiplier=WAIT, max=LONGEST_WAIT, jitter=WAIT)

    def pause(state: RetryCallState) -> float:
        nonlocal failures, most
        failures = 0 if part.received > most else failures + 1
        most = max(part.received, most)
        state.attempt_number = max(1, failures)  # new bytes restart the backoff
        return backoff(state)

    retry = Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=pause,
        stop=lambda _: failures >= TRIES,
        before_sleep=lambda state: print_retry(state, part),
        reraise=True,
    )
    retry(try_download, part, request, report)


def try_download(part: PartialFile, request: RequestRange, report: Callable[[int], None]) -> None:
    """Download the missing bytes of a file with one request."""
    try:
        if part.received != part.total:
            response = request(part.received, part.state.get("validator", ""))
            with closing(response.chunks):
                write_response(part, response, report)
    except StaleDataError:
        part.reset()
        raise
    if part.state.get("md5") not in ("", None, part.md5):
        part.reset()
        raise TransientError("the received bytes do not match the MD5 of the file")


def print_retry(state: RetryCallState, part: PartialFile) -> None:
    """Print the error of a try, and when the next one starts."""
    if state.outcome and state.next_action:
        again = f"resuming from byte {part.received}" if part.received else "retrying"
        error, seconds = state.outcome.exception(), state.next_action.sleep
        print_message(f"{part.target.name}: {error}; {again} in {seconds:.0f} s", "yellow")


def write_response(part: PartialFile, response: RangeResponse, report: Callable[[int], None]) -> None:
    """Write the chunks of a response."""
    chunk = next(response.chunks, b"")
    if response.start == 0 and chunk and not chunk.startswith(FITS_START[: len(chunk)]):
        raise TransientError(f"the response is not a FITS file, it begins with {chunk[:40]!r}")
    part.check_response(response)
    while chunk:
        part.append(chunk)
        report(part.received)
        chunk = next(response.chunks, b"")
    if part.total is None:  # without a given size, the end of the response is the end of the file
        part.total = part.received
    if part.received != part.total:
        raise TransientError(f"the connection broke off at {part.received} of {part.total} bytes")
