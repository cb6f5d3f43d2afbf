"""Resumable download of one file: interruptions, invalid responses, state of earlier runs; no network."""

import hashlib
import io

import pytest
from astropy.io import fits

from blobwatch.archive import download as module
from blobwatch.archive.download import (
    TRIES,
    PartialFile,
    RangeResponse,
    StaleDataError,
    TransientError,
    download,
    fetch_file,
)
from blobwatch.errors import BlobwatchError

buffer = io.BytesIO()
fits.PrimaryHDU().writeto(buffer)
CONTENT = buffer.getvalue()
SIZE = len(CONTENT)  # 2880 bytes
MD5 = hashlib.md5(CONTENT).hexdigest()
URI = "mast:HST/product/icxx01aaq_flt.fits"


class Server:
    """Answers each request as planned, and correctly after the plan."""

    def __init__(self, *plan):
        self.plan, self.requests = list(plan), []

    def __call__(self, offset: int, validator: str) -> RangeResponse:
        self.requests.append((offset, validator))
        return (self.plan.pop(0) if self.plan else respond)(offset)


def read_chunks(content: bytes, fails: bool):
    """Yield 1000 bytes at a time, optionally with an error at the end."""
    for first in range(0, len(content), 1000):
        yield content[first : first + 1000]
    if fails:
        raise TransientError("the connection broke off")


def respond(start: int, content: bytes = CONTENT, stop=None, total=-1, validator="v1", md5=""):
    """Return a response; with ``stop``, the connection breaks off there."""
    total = len(content) if total == -1 else total
    return RangeResponse(start, total, validator, read_chunks(content[start:stop], stop is not None), md5)


def until(stop: int):
    return lambda offset: respond(offset, stop=stop)


def fail(_):
    raise TransientError("the server answered with status 503")


@pytest.fixture
def target(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WAIT", 0.0)
    return tmp_path / "icxx01aaq_flt.fits"


def run_download(target, server: Server, size: int | None = SIZE) -> PartialFile:
    part = PartialFile(target, URI, size)
    try:
        download(part, server, lambda received: None)
    finally:
        part.close()
    return part


def test_file_is_moved_to_its_target(target):
    reports = []

    def accept(part):
        assert not target.exists()
        return part.received, part.md5

    part = PartialFile(target, URI, SIZE)
    assert fetch_file(part, Server(), reports.append, accept) == (SIZE, MD5)
    assert reports == [1000, 2000, 2880]
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_download_resumes_after_each_interruption(target):
    server = Server(until(1500), until(2100))
    part = run_download(target, server)
    assert server.requests == [(0, ""), (1500, "v1"), (2100, "v1")]
    assert (part.received, part.md5) == (SIZE, MD5)


def test_next_run_resumes(target):
    with pytest.raises(TransientError):
        run_download(target, Server(until(2000), *[fail] * TRIES))
    server = Server()
    assert run_download(target, server).md5 == MD5
    assert server.requests == [(2000, "v1")]


def test_new_bytes_reset_the_count_of_tries(target):
    server = Server(*[fail] * TRIES)
    with pytest.raises(TransientError, match="503"):
        run_download(target, server)
    assert len(server.requests) == TRIES
    assert list(target.parent.iterdir()) == []

    progress = [lambda offset: respond(offset, stop=offset + 200)] * 3
    server = Server(*[step for one in progress for step in [one, *[fail] * (TRIES - 1)]])
    assert run_download(target, server).md5 == MD5
    assert len(server.requests) == 3 * TRIES + 1


def test_tries_end_if_no_response_passes_the_same_byte(target):
    """The server ignores Range, and each response breaks off at the same byte."""
    server = Server(*[lambda offset: respond(0, stop=1500)] * 100)
    with pytest.raises(TransientError):
        run_download(target, server)
    assert len(server.requests) == TRIES + 1


@pytest.mark.parametrize("change", ["offset", "validator", "shorter"])
def test_received_bytes_of_a_changed_file_are_discarded(target, change):
    def answer(offset):
        if change == "shorter":
            raise StaleDataError("shorter")
        return respond(offset + (7 if change == "offset" else 0), validator="v2")

    server = Server(until(1500), answer)
    assert run_download(target, server).md5 == MD5
    assert server.requests[-1][0] == 0


@pytest.mark.parametrize("change", ["size", "uri", "damaged state"])
def test_received_bytes_with_another_state_are_discarded(target, change):
    with pytest.raises(TransientError):
        run_download(target, Server(until(2000), *[fail] * TRIES), None)
    state = target.with_name(f".{target.name}.partial-note")
    if change == "uri":
        state.write_text(state.read_text().replace("mast:", "s3:"))
    elif change == "damaged state":
        state.write_text("{")
    server = Server()
    run_download(target, server, SIZE if change == "size" else None)
    assert server.requests[0][0] == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda at: respond(at, CONTENT + b" "), "has 2881 bytes, the archive lists 2880"),
        (lambda at: respond(at, CONTENT[:-1]), "has 2879 bytes, the archive lists 2880"),
        (lambda at: respond(at, CONTENT + b" ", total=None), "longer than the announced 2880 bytes"),
    ],
)
def test_file_of_another_size_is_refused_without_retry(target, answer, message):
    server = Server(answer)
    with pytest.raises(BlobwatchError, match=message):
        run_download(target, server)
    assert len(server.requests) == 1
    assert list(target.parent.iterdir()) == []


def test_response_without_total_may_be_incomplete(target):
    server = Server(lambda offset: respond(offset, CONTENT[:2000], total=None))
    assert run_download(target, server).md5 == MD5
    assert server.requests == [(0, ""), (2000, "v1")]


def test_html_page_is_not_written(target):
    page = b"<!DOCTYPE html>come back later"
    part = run_download(target, Server(until(1500), lambda offset: respond(0, page)))
    assert part.md5 == MD5
    with pytest.raises(TransientError, match="not a FITS file, it begins with b'<!DOCTYPE"):
        run_download(target.with_name("b.fits"), Server(*[lambda offset: respond(0, page)] * TRIES))


def test_given_md5_is_checked(target):
    damaged = CONTENT[:-1] + b"x"
    server = Server(lambda at: respond(at, damaged, md5=MD5), lambda at: respond(at, md5=MD5))
    assert run_download(target, server).md5 == MD5
    assert server.requests == [(0, ""), (0, "v1")]
    with pytest.raises(TransientError, match="MD5"):
        run_download(target.with_name("b.fits"), Server(*[lambda at: respond(at, damaged, md5=MD5)] * TRIES))


def test_given_md5_is_checked_in_the_next_run(target):
    """The partial file changed on disk between two runs."""
    with pytest.raises(TransientError):
        run_download(target, Server(lambda at: respond(at, stop=2000, md5=MD5), *[fail] * TRIES))
    target.with_name(f".{target.name}.partial-fetch").write_bytes(CONTENT[:1999] + b"x")
    server = Server()
    assert run_download(target, server).md5 == MD5
    assert [offset for offset, _ in server.requests] == [2000, 0]
