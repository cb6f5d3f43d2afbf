"""Concurrent, stopped and killed monitors produce the same ledger as an undisturbed one."""

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from monitor.child_process import start, wait_for
from monitor.example_exposures import COUNT, canonical, contents, linked, relative
from monitor.notice_servers import Webhook
from monitor.notice_servers import running as serving
from sqlalchemy import delete, select, text
from synthetic import parse_json_lines
from team.servers import Postgres, poll, postgres

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.channels import Channel
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import Ledger, open_ledger
from blobwatch.monitor.ledger.rows import list_blobs
from blobwatch.monitor.ledger.tables import Blob, Reviewer
from blobwatch.monitor.notices import queue_notices

KILLS, REPEAT = 6, "may be a repeat"


@pytest.fixture(scope="module")
def undisturbed(seen) -> dict[str, list[tuple]]:
    """The ledger of one undisturbed monitor."""
    return contents(open_ledger(f"sqlite:///{seen}"))


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running, mock.patch.dict(os.environ, PGPASSFILE=str(running.passwords)):
        yield running


@contextmanager
def opened(server: Postgres) -> Iterator[Ledger]:
    ledger = open_ledger(server.uri.replace("+psycopg", ""), create=True)
    yield ledger
    ledger.engine.dispose()


@pytest.fixture
def shared(server) -> Iterator[Ledger]:
    """The ledger on PostgreSQL."""
    with opened(server) as ledger:
        yield ledger


def command(folder: Path, url: str, model: Path, *more: object) -> list[object]:
    options = ["--ledger", url, "--model", model, "--overrules", folder.parent / "overrules", "--json"]
    return ["monitor", folder, *options, *more]


def two_at_once(url: str, sky: Path, model: Path, folder: Path, **environment: str) -> list[dict]:
    """Run two monitors concurrently; return the lines of both."""
    arguments = command(sky, url, model)
    running = [start(folder / name, *arguments, **environment) for name in ("one", "two")]
    assert [wait_for(one) for one in running] == [0, 0]
    return [line for name in ("one", "two") for line in parse_json_lines((folder / name).read_text())]


def test_concurrent_monitors_produce_same_ledger(sky, box_model, undisturbed, tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    lines = two_at_once(url, sky, box_model, tmp_path)
    assert len({line["rootname"] for line in lines}) == len(lines) == COUNT
    assert contents(open_ledger(url)) == undisturbed


def test_concurrent_monitors_on_postgresql_produce_same_ledger(
    server, sky, seen, box_model, undisturbed, tmp_path
):
    lines = two_at_once(server.uri, sky, box_model, tmp_path, PGPASSFILE=str(server.passwords))
    assert len({line["rootname"] for line in lines}) == len(lines) == COUNT
    with opened(server) as ledger:
        assert contents(ledger) == undisturbed
        assert blobs_of(ledger) == blobs_of(open_ledger(f"sqlite:///{seen}"))


def test_postgresql_read_is_consistent_during_write(shared):
    with shared.reading() as session:
        before = len(session.scalars(select(Reviewer)).all())
        with shared.writing() as other:
            other.add(Reviewer(name="Ada", token_sha256="1" * 64, since=""))
        assert len(session.scalars(select(Reviewer)).all()) == before
    with shared.reading() as session:
        assert len(session.scalars(select(Reviewer)).all()) == before + 1
    with shared.writing() as session:
        session.execute(delete(Reviewer))


def test_postgresql_missing_privilege_is_reported(shared):
    with pytest.raises(BlobwatchError, match="permission denied"), shared.writing() as session:
        session.execute(text("CREATE ROLE nobody; SET ROLE nobody; SELECT * FROM blobs"))


def blobs_of(ledger: Ledger) -> list[dict]:
    with ledger.reading() as session:
        return list_blobs(session)


def test_watch_analyzes_new_files_and_stops_on_signal(sky, box_model, tmp_path):
    folder, out, url = linked(sky, tmp_path / "folder"), tmp_path / "out", f"sqlite:///{tmp_path}/ledger.db"
    arguments = command(folder, url, box_model, "--watch", "--every", 0.1)
    out.touch()
    running = start(out, *arguments)

    def told(count: int) -> bool:
        return running.exitcode is None and len(out.read_text().splitlines()) >= count

    poll(Path(tmp_path / "ledger.db").exists, "no ledger")
    linked(sky, folder, 0)
    poll(lambda: told(1), "the first exposure is not taken")
    linked(sky, folder, *range(1, COUNT))
    poll(lambda: told(3), "the next exposures are not taken")
    os.kill(running.pid, signal.SIGTERM)
    assert wait_for(running) == 0
    entered = contents(open_ledger(url))["exposures"]
    assert 3 <= len(parse_json_lines(out.read_text())) == len(entered)
    assert "Traceback" not in out.with_suffix(".err").read_text()


def test_killed_monitor_loses_and_repeats_nothing(sky, box_model, undisturbed, tmp_path):
    rng, url, out = np.random.default_rng(6), f"sqlite:///{tmp_path}/ledger.db", tmp_path / "out"
    with serving(Webhook()) as hook:
        arguments = command(sky, url, box_model, "--notify", hook.address)
        for moment in rng.uniform(0.05, 0.8, KILLS):
            running = start(out, *arguments)
            running.join(moment)
            running.kill()
            assert wait_for(running) in (0, -signal.SIGKILL)
        assert wait_for(start(out, *arguments)) == 0
        ((number, messages),) = hook.by_number().items()
    assert number == 1
    assert "Appeared: between" in messages[0]
    assert all(REPEAT in message for message in messages[1:])
    found = contents(open_ledger(url))
    assert len(found.pop("notices")) == 1
    assert found == {name: rows for name, rows in undisturbed.items() if name != "notices"}
    lines = parse_json_lines(out.read_text())
    assert len({line["rootname"] for line in lines}) == len(lines)


def test_monitor_killed_during_new_analysis_produces_same_ledger(sky, seen, box_model, tmp_path):
    """Exposures 1 and 5 arrive late, so nearly all others are analyzed again."""
    rng, url, out = np.random.default_rng(7), f"sqlite:///{tmp_path}/ledger.db", tmp_path / "out"
    folder = linked(sky, tmp_path / "folder", *(number for number in range(COUNT) if number not in (1, 5)))
    arguments = command(folder, url, box_model)
    assert wait_for(start(out, *arguments)) == 0
    linked(sky, folder, 1, 5)
    with serving(Webhook()) as hook:
        arguments += ["--notify", hook.address]
        for moment in rng.uniform(0.2, 1.5, KILLS):
            running = start(out, *arguments)
            running.join(moment)
            running.kill()
            assert wait_for(running) in (0, -signal.SIGKILL)
        assert wait_for(start(out, *arguments)) == 0
        messages = hook.control.got
    assert messages == []  # what was confirmed without a channel is not announced later
    found = relative(canonical(open_ledger(url)), folder)
    assert found == relative(canonical(open_ledger(f"sqlite:///{seen}")), sky)


def test_interrupted_notice_is_sent_as_repeat(watched, tmp_path):
    """The program is killed after the message was sent and before the ledger is updated."""
    with serving(Webhook()) as hook:
        write_notice(open_ledger(watched.url), hook.address)
        arguments = command(watched.folder, watched.url, watched.model, "--notify", hook.address)
        running = start(tmp_path / "out", *arguments)
        hook.killing = running.pid
        assert wait_for(running) == -signal.SIGKILL
        assert wait_for(start(tmp_path / "out", *arguments)) == 0
        (messages,) = hook.by_number().values()
    assert [REPEAT in message for message in messages] == [False, True]


def write_notice(ledger: Ledger, address: str) -> None:
    """Write down that the first blob is to be told of, as when it was confirmed."""
    with ledger.writing() as session:
        blob = session.get(Blob, 1)
        entered = IngestResult(blob.last, [blob], [], [blob])
        channel = Channel(hashlib.sha256(address.encode()).hexdigest(), address, None)
        queue_notices(session, entered, [channel], {})
    ledger.engine.dispose()
