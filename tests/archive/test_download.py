"""A file in pieces: breaks, lines that go wrong in each way, parts of another start; no network."""

import hashlib
import io

import pytest
from astropy.io import fits
from tenacity import wait_none

from blobwatch.archive.download import TRIES, Broken, Outdated, Part, Piece, complete
from blobwatch.errors import BlobwatchError

buffer = io.BytesIO()
fits.PrimaryHDU().writeto(buffer)
CONTENT = buffer.getvalue()  # 2880 bytes
MD5 = hashlib.md5(CONTENT).hexdigest()
URI = "mast:HST/product/icxx01aaq_flt.fits"
WHOLE = len(CONTENT)


def bytes_of(content: bytes, breaks: bool = False):
    """Yield 1000 bytes at a time; then the line may break."""
    for first in range(0, len(content), 1000):
        yield content[first : first + 1000]
    if breaks:
        raise Broken("the connection broke off")


class Line:
    """An archive that answers one ask after the other as planned; after the plan, as it should."""

    def __init__(self, *plan):
        self.plan, self.asked = list(plan), []

    def __call__(self, offset: int, validator: str) -> Piece:
        self.asked.append((offset, validator))
        answer = self.plan.pop(0) if self.plan else (lambda at: piece(at))
        return answer(offset)


def piece(start: int, content: bytes = CONTENT, stop=None, total=-1, validator="v1", md5="") -> Piece:
    breaks = stop is not None
    total = len(content) if total == -1 else total
    return Piece(start, total, validator, bytes_of(content[start:stop], breaks), md5)


def refuse(_):
    raise Broken("it answered with status 503")


@pytest.fixture
def place(tmp_path):
    return tmp_path / "icxx01aaq_flt.fits"


def fetched(place, line: Line, size: int | None = WHOLE) -> Part:
    part = Part(place, URI, size)
    try:
        complete(part, line, lambda have: None, wait_none())
    finally:
        part.close()
    return part


def test_all_in_one(place):
    said = []
    part = Part(place, URI, WHOLE)
    complete(part, Line(), said.append, wait_none())
    assert (part.have, part.md5) == (WHOLE, MD5)
    assert said == [1000, 2000, 2880]
    assert not place.exists()
    part.finish()
    assert place.read_bytes() == CONTENT
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_a_break_is_gone_on_from(place):
    line = Line(lambda at: piece(at, stop=1500), lambda at: piece(at, stop=2100))
    part = fetched(place, line)
    assert line.asked == [(0, ""), (1500, "v1"), (2100, "v1")]
    assert (part.have, part.md5) == (WHOLE, MD5)


def test_another_start_goes_on(place):
    with pytest.raises(Broken):
        fetched(place, Line(lambda at: piece(at, stop=2000), *[refuse] * TRIES))
    line = Line()
    part = fetched(place, line)
    assert line.asked == [(2000, "v1")]
    assert part.md5 == MD5


def test_a_whole_part_needs_no_asking(place):
    """Killed after the last byte and before the file had its name."""
    fetched(place, Line())
    line = Line()
    part = fetched(place, line)
    assert line.asked == []
    assert part.md5 == MD5


def test_tries_are_bounded_and_begin_anew_after_each_gain(place):
    line = Line(*[refuse] * TRIES)
    with pytest.raises(Broken, match="503"):
        fetched(place, line)
    assert len(line.asked) == TRIES
    assert list(place.parent.iterdir()) == []  # nothing came, nothing is left

    gains = [lambda at: piece(at, stop=at + 200)] * 3
    line = Line(*[step for gain in gains for step in [gain, *[refuse] * (TRIES - 1)]])
    assert fetched(place, line).md5 == MD5
    assert len(line.asked) == 3 * TRIES + 1


def test_what_breaks_always_at_the_same_place_ends(place):
    """Range is ignored, and no answer gets beyond the middle."""
    line = Line(*[lambda at: piece(0, stop=1500)] * 100)
    with pytest.raises(Broken):
        fetched(place, line)
    assert len(line.asked) == TRIES + 1


def test_range_ignored_begins_anew(place):
    line = Line(lambda at: piece(at, stop=1500), lambda at: piece(0))
    part = fetched(place, line)
    assert (part.have, part.md5) == (WHOLE, MD5)


@pytest.mark.parametrize("wrong", ["another part", "another file", "none there"])
def test_a_part_that_no_longer_fits_is_thrown_away(place, wrong):
    def answer(at):
        if wrong == "none there":
            raise Outdated("shorter")
        return piece(at + (7 if wrong == "another part" else 0), validator="v2")

    line = Line(lambda at: piece(at, stop=1500), answer)
    part = fetched(place, line)
    assert line.asked[-1][0] == 0
    assert part.md5 == MD5


@pytest.mark.parametrize("change", ["size", "uri", "note"])
def test_a_part_of_something_else_is_not_gone_on_from(place, change):
    with pytest.raises(Broken):
        fetched(place, Line(lambda at: piece(at, stop=2000), *[refuse] * TRIES), None)
    note = place.with_name(f".{place.name}.partial-note")
    if change == "uri":
        note.write_text(note.read_text().replace("mast:", "s3:"))
    elif change == "note":
        note.write_text("{")
    line = Line()
    fetched(place, line, WHOLE if change == "size" else None)
    assert line.asked[0][0] == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda at: piece(at, CONTENT + b" "), "has 2881 bytes where the archive's list says 2880"),
        (lambda at: piece(at, CONTENT[:-1]), "has 2879 bytes where the archive's list says 2880"),
        (lambda at: piece(at, CONTENT + b" ", total=None), "is longer than the 2880 bytes"),
    ],
)
def test_a_file_of_another_size_is_refused_at_once(place, answer, reason):
    line = Line(answer)
    with pytest.raises(BlobwatchError, match=reason):
        fetched(place, line)
    assert len(line.asked) == 1
    assert list(place.parent.iterdir()) == []


def test_too_little_without_a_length_is_a_break(place):
    line = Line(lambda at: piece(at, CONTENT[:2000], total=None))
    part = fetched(place, line)
    assert line.asked == [(0, ""), (2000, "v1")]
    assert part.md5 == MD5


def test_no_size_anywhere(place):
    part = fetched(place, Line(lambda at: piece(at, total=None)), None)
    assert (part.have, part.md5) == (WHOLE, MD5)


def test_a_page_is_not_written(place):
    page = b"<!DOCTYPE html>come back later"
    part = fetched(place, Line(lambda at: piece(at, stop=1500), lambda at: piece(0, page)))
    assert part.md5 == MD5
    with pytest.raises(Broken, match="no FITS file but something that begins with b'<!DOCTYPE"):
        fetched(place.with_name("b.fits"), Line(*[lambda at: piece(0, page)] * TRIES))


def test_a_hash_that_is_told_is_checked(place):
    bad = CONTENT.replace(b"SIMPLE", b"SIMPLE", 1)[:-1] + b"x"
    line = Line(lambda at: piece(at, bad, md5=MD5), lambda at: piece(at, md5=MD5))
    part = fetched(place, line)
    assert line.asked == [(0, ""), (0, "v1")]
    assert part.md5 == MD5
    with pytest.raises(Broken, match="md5"):
        fetched(place.with_name("b.fits"), Line(*[lambda at: piece(at, bad, md5=MD5)] * TRIES))


def test_a_told_hash_outlives_the_program(place):
    """The bytes that an earlier start left were changed on the disk."""
    with pytest.raises(Broken):
        fetched(place, Line(lambda at: piece(at, stop=2000, md5=MD5), *[refuse] * TRIES))
    part = place.with_name(f".{place.name}.partial-fetch")
    part.write_bytes(CONTENT[:1999] + b"x")
    line = Line()
    assert fetched(place, line).md5 == MD5
    assert [offset for offset, _ in line.asked] == [2000, 0]
