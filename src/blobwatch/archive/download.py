"""One file fetched piece by piece into a hidden one beside its place, until all of it is there."""

import hashlib
import json
import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from blobwatch.errors import BlobwatchError
from blobwatch.files import write_json
from blobwatch.progress import print_message

CHUNK = 1 << 16  # bytes; what a break loses at most
TRIES = 6  # in a row that bring nothing new, with the waits half a minute: longer is for a person to decide
WAIT = wait_exponential_jitter(initial=1, max=30)  # seconds; jitter, so that many do not come back at once
PART = ".{}.partial-fetch"  # beside the file; git and DVC ignore such names here
FITS = b"SIMPLE  ="  # how each file begins


class Broken(Exception):
    """A trouble on the way that may pass: it says what the archive did."""


class Outdated(Broken):
    """What is here is not the beginning of the file that the archive holds now."""


@dataclass
class Piece:
    """What the archive sends of a file.

    Attributes
    ----------
    start : int
        Place of the first byte in the file: 0 where the archive began anew.
    total : int or None
        Bytes of the whole file, where it says so.
    validator : str
        What stays the same as long as the file does (ETag, or the time of its last change); may be empty.
    chunks : generator of bytes
    md5 : str
        Of the whole file, where it says so.
    """

    start: int
    total: int | None
    validator: str
    chunks: Generator[bytes]
    md5: str = ""


Ask = Callable[[int, str], Piece]  # from which byte on, and the validator of what is here


class Part:
    """The beginning of a file, on disk, with its md5; what it is a part of is noted beside it.

    Parameters
    ----------
    place : Path
        Of the file once it is whole. The part lies beside it, hidden, under a name that git and DVC ignore.
    uri : str
        A part of another source is thrown away.
    size : int or None
        Bytes of the whole, by the archive's list.
    """

    def __init__(self, place: Path, uri: str, size: int | None):
        self.place, self.uri, self.size = place, uri, size
        self.path = place.with_name(PART.format(place.name))
        self.note = place.with_name(f".{place.name}.partial-note")
        self.validator, self.expected_md5, self.total = "", "", size
        known = self.noted()
        if known.get("uri") != uri or known.get("size") != size:
            self.path.unlink(missing_ok=True)
        else:
            self.validator, self.expected_md5 = known["validator"], known["md5"]
            self.total = known["total"]
        self.stream = self.path.open("a+b")
        self.stream.seek(0)
        self.hash = hashlib.file_digest(self.stream, "md5")
        self.have = self.furthest = self.stream.tell()
        self.fruitless = 0  # tries in a row that brought nothing new

    def noted(self) -> dict:
        """Return what an earlier start noted of the part that is here."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            return note if {"uri", "size", "total", "validator", "md5"} <= note.keys() else {}
        except (OSError, ValueError, AttributeError):
            return {}

    @property
    def whole(self) -> bool:
        """Whether all is here."""
        return self.total is not None and self.have == self.total

    @property
    def md5(self) -> str:
        """The md5 of what is here."""
        return self.hash.hexdigest()

    def begin(self, piece: Piece) -> None:
        """Make ready for a piece, before its first byte: is it one of the file that is listed?"""
        if piece.start not in (0, self.have):
            raise Outdated(f"it sent from byte {piece.start} on where {self.have} was asked for")
        if self.size is not None and piece.total is not None and piece.total != self.size:
            raise BlobwatchError(
                f"{self.uri} has {piece.total} bytes where the archive's list says {self.size}; not fetched, "
                "since one of the two is wrong: try again later, or with --cloud where you did not"
            )
        if piece.start and self.validator and piece.validator and piece.validator != self.validator:
            raise Outdated("its file is another one than that of which a part is here")
        if piece.start == 0 and self.have:
            self.restart()
        if piece.start == 0:
            self.validator, self.expected_md5 = piece.validator, piece.md5
            self.total = self.size or piece.total
            note = {"uri": self.uri, "size": self.size, "total": self.total}
            write_json(self.note, note | {"validator": self.validator, "md5": self.expected_md5})
        self.total = self.total or piece.total

    def write(self, chunk: bytes) -> None:
        """Add some bytes."""
        if self.total is not None and self.have + len(chunk) > self.total:
            self.restart()
            raise BlobwatchError(f"{self.uri} is longer than the {self.total} bytes announced; not fetched")
        self.stream.write(chunk)
        self.stream.flush()  # so that a kill loses nothing of it
        self.hash.update(chunk)
        self.have += len(chunk)

    def restart(self) -> None:
        """Throw away what is here."""
        self.stream.truncate(0)
        self.hash, self.have = hashlib.md5(), 0

    def close(self) -> None:
        """Leave the part as it is, to go on from; where nothing is here, leave nothing."""
        self.stream.close()
        if not self.have:
            self.path.unlink(missing_ok=True)
            self.note.unlink(missing_ok=True)

    def drop(self) -> None:
        """Throw away what is here, and the note of it."""
        self.restart()
        self.close()

    def finish(self) -> None:
        """Put the whole file in its place."""
        os.fsync(self.stream.fileno())
        self.stream.close()
        os.chmod(self.path, 0o644)
        os.replace(self.path, self.place)
        self.note.unlink(missing_ok=True)


def complete(part: Part, ask: Ask, came: Callable[[int], None], wait=WAIT) -> None:
    """Fetch what is missing of a file, going on after each break.

    Parameters
    ----------
    part : Part
    ask : callable
        Opens the archive's file from a place on.
    came : callable
        Told how many bytes are here, from time to time.
    wait : tenacity wait strategy
        Between tries.

    Raises
    ------
    Broken
        If `TRIES` tries in a row brought nothing new; what is here is kept.
    BlobwatchError
        If what the archive sends is not the file of its list.
    """

    def pause(state: RetryCallState) -> float:
        state.attempt_number = max(1, part.fruitless)  # a try that brought something was none in vain
        return wait(state)

    again = Retrying(
        retry=retry_if_exception_type(Broken),
        stop=lambda _: part.fruitless >= TRIES,
        wait=pause,
        before_sleep=lambda state: tell(state, part),
        reraise=True,
    )
    again(go_on, part, ask, came)


def go_on(part: Part, ask: Ask, came: Callable[[int], None]) -> None:
    """Add to a part what one answer of the archive brings."""
    try:
        if not part.whole:
            piece = ask(part.have, part.validator)
            with closing(piece.chunks):
                receive(part, piece, came)
        if part.expected_md5 and part.md5 != part.expected_md5:
            part.restart()
            raise Broken("the md5 of what came is not that of its file")
    except Outdated:
        part.restart()
        part.fruitless += 1
        raise
    except Broken:
        part.fruitless = 0 if part.have > part.furthest else part.fruitless + 1
        part.furthest = max(part.have, part.furthest)
        raise


def receive(part: Part, piece: Piece, came: Callable[[int], None]) -> None:
    """Write the bytes of a piece as they come."""
    first = next(piece.chunks, b"")
    if piece.start == 0 and first and not first.startswith(FITS[: len(first)]):
        raise Broken(f"it sent no FITS file but something that begins with {first[:40]!r}")
    part.begin(piece)
    chunk = first
    while chunk:
        part.write(chunk)
        came(part.have)
        chunk = next(piece.chunks, b"")
    if part.total is None:  # nobody said how much there is, so the end of the answer is that of the file
        part.total = part.have
    if not part.whole:
        raise Broken(f"the connection broke off at {part.have} of {part.total} bytes")


def tell(state: RetryCallState, part: Part) -> None:
    """Say that a try failed and when the next one comes."""
    trouble, seconds = state.outcome.exception(), state.next_action.sleep
    again = f"going on from byte {part.have}" if part.have else "again"
    print_message(f"{part.place.name}: {trouble}; {again} in {seconds:.0f} s", "yellow")
