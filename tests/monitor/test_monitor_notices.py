"""Notices: content, channels, repetition and failures."""

import hashlib
import io
import json
import re
import sqlite3
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from threading import Event

import numpy as np
import pytest
from monitor.example_exposures import APPEARED, LOUD, NAMES, PASSED
from monitor.notice_servers import (
    HOST,
    PASSWORD,
    PATH,
    SECRETS,
    USER,
    MailServer,
    Webhook,
    pictures_of,
    running,
    words_of,
)

from blobwatch.cli.output.monitor import MonitorOptions, run_monitor
from blobwatch.errors import BlobwatchError
from blobwatch.monitor.channels import Channel, open_channels, redact_address
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import now, open_ledger
from blobwatch.monitor.ledger.queries import list_notices, newest_judged
from blobwatch.monitor.ledger.rows import format_utc, get_blob, list_blobs
from blobwatch.monitor.ledger.tables import CONFIRMED, PENDING, REJECTED, SENDING, SENT, Notice, Review
from blobwatch.monitor.notices import is_retry_due, queue_notices, queue_review_notices, send_notices


@pytest.fixture
def mail():
    with running(MailServer()) as server:
        yield server


@pytest.fixture
def hook():
    with running(Webhook()) as server:
        yield server


@pytest.fixture
def ledger(watched):
    return open_ledger(watched.url)


def queue(ledger, channels: list[Channel], blob: int | None = None, **drifts: str) -> None:
    """Queue notices of a blob or of drift."""
    with ledger.writing() as session:
        confirmed = [get_blob(session, blob)] if blob else []
        queue_notices(session, IngestResult(newest_judged(session), [], [], confirmed), channels, drifts)


def state(ledger) -> list[tuple]:
    """Return state, attempts, and whether there is an error, of each notice."""
    with ledger.reading() as session:
        rows = session.query(Notice).order_by(Notice.id).all()
        return [(one.state, one.attempts, bool(one.error)) for one in rows]


def succeeded(tried: list[tuple[str, str]]) -> list[bool]:
    return [not error for _, error in tried]


@pytest.fixture(scope="module")
def told(sky, box_model, tmp_path_factory):
    """Result of two monitor runs with a mail server and a webhook."""
    folder = tmp_path_factory.mktemp("told")
    (folder / "sky").mkdir()
    for path in sorted(sky.iterdir())[: PASSED + 1]:
        (folder / "sky" / path.name).symlink_to(path)
    said = io.StringIO()
    with running(MailServer()) as mail, running(Webhook()) as hook:
        with redirect_stderr(said), redirect_stdout(said):
            for _ in range(2):
                addresses = [mail.address, hook.address]
                url = f"sqlite:///{folder}/ledger.db"
                assert run_monitor(
                    folder / "sky", url, addresses, str(box_model), MonitorOptions(as_json=True)
                )
        yield mail.control, hook.control, folder / "ledger.db", said.getvalue()


def test_confirmed_blob_is_announced_once_per_channel(told):
    mail, hook, database, _ = told
    assert (len(mail.got), len(hook.got)) == (1, 1)
    with open_ledger(f"sqlite:///{database}").reading() as session:
        (row, passing) = list_blobs(session)
        assert [one.state for one in list_notices(session, row["id"])] == [SENT, SENT]
    assert passing["status"] == "candidate"
    first, last = (f"{format_utc(58000.0 + n)} ({NAMES[n]})" for n in (APPEARED - 1, APPEARED))
    for words in map(words_of, (mail.got[0], hook.got[0])):
        x, y = (float(one) for one in re.search(r"new blob 1 at \((.*), (.*)\)", words).groups())
        assert np.hypot(x - LOUD.x, y - LOUD.y) < 2
        assert f"Place: x {x} ± " in words
        assert re.search(r"radius \d+\.\d \(pixels of the 1024 frame, from 0\)", words)
        chance, snr = re.search(r"Probability: (.*); SNR (.*); depth \d", words).groups()
        assert 0.5 <= float(chance) <= 1
        assert 15 < float(snr) < 40
        assert f"Appeared: between {first} and {last}" in words
        assert f"Found in 2 exposures, confirmed by {NAMES[APPEARED + 1]}" in words


def test_mail_is_well_formed_and_has_picture(told):
    (message,) = told[0].got
    assert all(part.defects == [] for part in message.walk())
    assert message["To"].addresses[0].addr_spec == "watch@example.org"
    assert message["From"].addresses[0].addr_spec == "blobwatch@example.org"
    assert abs(message["Date"].datetime - datetime.now(UTC)) < timedelta(hours=1)
    assert message["Message-ID"]
    (part,) = message.iter_attachments()
    assert (part.get_content_type(), part.get_filename()) == ("image/png", "blob-1.png")
    assert told[0].logins == [(USER, PASSWORD)]


def test_picture_has_size_and_colours(told):
    for control in told[:2]:
        (picture,) = pictures_of(control.got[0])
        assert picture.format == "PNG"
        assert 600 <= picture.width <= 2000
        assert 400 <= picture.height <= 1500
        colours = np.asarray(picture.convert("RGB"), dtype=int)
        assert colours.std() > 20
        assert (np.ptp(colours, axis=-1) > 100).sum() > 200  # circles and points in colour


def test_webhook_receives_title_text_and_file_name(told):
    (post,) = told[1].got
    assert post["title"].startswith("blobwatch: new blob 1 at (")
    (picture,) = post["attachments"]
    assert (picture["filename"], picture["mimetype"]) == ("blob-1.png", "image/png")


def test_secrets_of_addresses_are_not_stored_sent_or_printed(told):
    mail, hook, database, said = told
    kept = database.read_bytes().decode("latin-1") + said
    sent = mail.got[0].as_string() + json.dumps(hook.got[0])
    assert not any(secret in text for secret in (*SECRETS, USER + ":") for text in (kept, sent))
    with sqlite3.connect(database) as connection:
        shown = {one for (one,) in connection.execute("SELECT shown FROM notices")}
    connection.close()
    assert all(one.startswith((f"mailto://{HOST}:", f"json://{HOST}:")) for one in shown)


@pytest.mark.parametrize("failing", ["refuse", "hang up", "error"])
@pytest.mark.parametrize("bad", ["mail", "hook"])
def test_failed_channel_receives_notice_later_once(ledger, mail, hook, bad, failing):
    channels = open_channels([mail.address, hook.address])
    controls = {"mail": mail.control, "hook": hook.control}
    sick, well = controls.pop(bad), *controls.values()
    queue(ledger, channels, noise="noise is up")
    sick.failing = failing
    tried = send_notices(ledger, channels)
    assert sorted(succeeded(tried)) == [False, True]
    (error,) = [error for _, error in tried if error]
    assert error.startswith(f"{'mailto' if bad == 'mail' else 'json'}://{HOST}:")
    assert not any(secret in error for secret in SECRETS)
    assert (len(sick.got), len(well.got)) == (0, 1)
    assert sorted(state(ledger)) == [(PENDING, 1, True), (SENT, 1, False)]
    sick.failing = ""
    assert succeeded(send_notices(ledger, channels)) == [True]
    assert send_notices(ledger, channels) == []
    assert (len(sick.got), len(well.got)) == (1, 1)
    assert "noise is up" in words_of(sick.got[0])
    assert sorted(state(ledger)) == [(SENT, 1, False), (SENT, 2, False)]


def test_slow_channel_does_not_delay_others(ledger, mail, hook):
    """The mail server responds only after the webhook received its notice."""
    mail.control.hold = hook.control.arrived
    channels = open_channels([mail.address, hook.address])
    queue(ledger, channels, noise="noise is up", score="score is down")
    assert succeeded(send_notices(ledger, channels)) == [True] * 4
    assert (len(mail.control.got), len(hook.control.got)) == (2, 2)


def test_ledger_is_writable_while_channel_is_slow(ledger):
    class Slow(Channel):
        def send(self, *_) -> str:
            with sqlite3.connect(ledger.engine.url.database, timeout=0) as connection:
                connection.execute("UPDATE blobs SET status = 'rejected' WHERE id = 2")
            connection.close()
            return ""

    channel = Slow("d" * 64, "slow://…", None)
    queue(ledger, [channel], blob=1)
    assert succeeded(send_notices(ledger, [channel])) == [True]
    with ledger.reading() as session:
        assert get_blob(session, 2).status == REJECTED


def test_unresponsive_channel_times_out(ledger, hook, monkeypatch):
    hook.control.hold = Event()
    channels = open_channels([hook.address])
    channels[0].service.socket_read_timeout = 0.05
    queue(ledger, channels, noise="noise is up")
    try:
        assert succeeded(send_notices(ledger, channels)) == [False]
    finally:
        hook.control.hold.set()
    assert state(ledger) == [(PENDING, 1, True)]


class FakeChannel(Channel):
    """A channel without network that rejects some messages."""

    def send(self, title: str, body: str, picture) -> str:
        if "not for you" in body:
            return "too large"
        self.service.append((title, body))
        return ""


def fake_channel() -> FakeChannel:
    return FakeChannel("f" * 64, "said://…", [])


def test_failing_notice_does_not_block_others(ledger):
    channel = fake_channel()
    queue(ledger, [channel], noise="not for you", score="score is down")
    for _ in range(2):  # each a run of its own
        send_notices(ledger, [channel])
    assert [body.splitlines()[0] for _, body in channel.service] == ["score is down"]
    assert state(ledger) == [(PENDING, 2, True), (SENT, 1, False)]


def test_interrupted_notice_is_sent_again_as_repeat(ledger, monkeypatch):
    channel = fake_channel()
    queue(ledger, [channel], noise="noise is up")

    def killed(*_):
        raise SystemExit

    with monkeypatch.context() as during:
        during.setattr(FakeChannel, "send", killed)
        with pytest.raises(SystemExit):
            send_notices(ledger, [channel])
    assert state(ledger) == [(SENDING, 1, False)]
    assert succeeded(send_notices(ledger, [channel])) == [True]
    said = channel.service[0][1].splitlines()
    assert said[-2].endswith("Notice 1.")
    assert said[-1] == "This may be a repeat: the program ended while it was sent before."
    assert send_notices(ledger, [channel]) == []


def test_failed_notice_is_not_marked_as_repeat(ledger, monkeypatch):
    channel = fake_channel()
    queue(ledger, [channel], noise="noise is up")
    monkeypatch.setattr(FakeChannel, "send", lambda *_: "down")
    send_notices(ledger, [channel])
    monkeypatch.undo()
    send_notices(ledger, [channel])
    assert "repeat" not in channel.service[0][1]


def test_blob_rejected_before_sending_has_no_notice(ledger):
    channel = fake_channel()
    queue(ledger, [channel], blob=1, noise="noise is up")
    with ledger.writing() as session:
        get_blob(session, 1).status = REJECTED
    send_notices(ledger, [channel])
    assert [title for title, _ in channel.service] == ["blobwatch: drift"]


def test_confirmed_review_is_announced_once(ledger):
    channel = fake_channel()
    queue(ledger, [channel], blob=1)
    send_notices(ledger, [channel])
    with ledger.writing() as session:
        for number in (1, 2, 2):
            blob = get_blob(session, number)
            blob.status = CONFIRMED
            reviewed = {"verdict": CONFIRMED, "reason": "round", "who": "Ada", "at": now()}
            session.add(Review(blob=blob, model=blob.model, **reviewed))
    for _ in range(2):
        queue_review_notices(ledger, [channel])
        send_notices(ledger, [channel])
    assert [title[:21] for title, _ in channel.service] == ["blobwatch: new blob 1", "blobwatch: new blob 2"]
    assert "confirmed by Ada: round" in channel.service[1][1]


def test_review_without_channel_is_not_announced_later(ledger):
    with ledger.writing() as session:
        blob = get_blob(session, 2)
        blob.status = CONFIRMED
        session.add(Review(blob=blob, model=blob.model, verdict=CONFIRMED, reason="x", who="Ada", at=now()))
    queue_review_notices(ledger, [])
    queue_review_notices(ledger, [fake_channel()])
    assert state(ledger) == []


def test_notices_wait_for_their_channel(ledger):
    mine, other = fake_channel(), FakeChannel("e" * 64, "other://…", [])
    queue(ledger, [mine], noise="noise is up")
    assert send_notices(ledger, [other]) == send_notices(ledger, []) == []
    assert succeeded(send_notices(ledger, [other, mine])) == [True]
    assert other.service == []


def test_backoff_skips_recently_failed_channel(ledger, monkeypatch):
    channel = fake_channel()
    queue(ledger, [channel], noise="not for you")
    assert succeeded(send_notices(ledger, [channel], backoff=True)) == [False]
    with monkeypatch.context() as during:
        during.setattr(ledger, "lock", None)  # nor does it keep other monitors waiting
        assert send_notices(ledger, [channel], backoff=True) == []
    assert succeeded(send_notices(ledger, [channel])) == [False]


@pytest.mark.parametrize(
    ("attempts", "ago", "due"),
    [
        *[(0, None, True), (1, 8, False), (1, 12, True), (3, 38, False), (3, 42, True)],
        *[(40, 3590, False), (40, 3610, True), (2000, 3610, True)],
    ],
)
def test_wait_doubles_up_to_an_hour(attempts, ago, due):
    tried = None
    if ago is not None:
        tried = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="seconds")
    assert is_retry_due(Notice(attempts=attempts, tried_at=tried)) == due
    assert not is_retry_due(Notice(attempts=1, tried_at=now()))


@pytest.mark.parametrize(
    "address",
    [
        *[
            "hunter2",
            "nonsense://joe:hunter2@host",
            "mailto://",
            "slack://hunter2",
            "",
            "json://joe:hunter2@/",
        ],
        *["joe:hunter2@mail://host", "https://example.org/hunter2"],
    ],
)
def test_invalid_address_is_rejected_first(tmp_path, capfd, address):
    url = f"sqlite:///{tmp_path}/ledger.db"
    with pytest.raises(BlobwatchError, match=r"channel 2.*: not an address of apprise") as wrong:
        run_monitor(
            tmp_path / "none", url, [f"json://{HOST}", address], "no model", MonitorOptions(as_json=True)
        )
    assert not any(secret in str(wrong.value) for secret in ("hunter2", "joe"))
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_duplicate_addresses_are_one_channel(mail, hook):
    channels = open_channels([mail.address, hook.address, mail.address])
    assert [one.key for one in channels] == [
        hashlib.sha256(address.encode()).hexdigest() for address in (mail.address, hook.address)
    ]
    assert open_channels([]) == []


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("mailtos://joe:****@smtp.example.org/a%40b.org?mode=starttls", "mailtos://smtp.example.org"),
        (f"json://joe:****@{HOST}:8080/{PATH}?method=POST", f"json://{HOST}:8080"),
        ("json://token@localhost?method=POST", "json://localhost"),
        ("slack://T...2/A...D/T...Q/%23general/?image=yes", "slack://T...2"),
        ("ntfys://secret-topic?priority=default", "ntfys://…"),
    ],
)
def test_redacted_address_has_kind_and_host(address, shown):
    assert redact_address(address) == shown


def test_slack_receives_message(ledger, monkeypatch):
    import requests

    posts = []

    class Taken:
        status_code, content, text = 200, b"ok", "ok"

    def post(url, data=None, **_):
        posts.append((url, json.loads(data)))
        return Taken()

    monkeypatch.setattr(requests, "post", post)
    monkeypatch.setattr(requests, "request", lambda method, url, **how: post(url, **how))
    tokens = "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    (channel,) = open_channels([f"slack://{tokens}/#quicklook"])
    queue(ledger, [channel], blob=1)
    assert send_notices(ledger, [channel]) == [("blob 1", "")]
    ((url, content),) = posts
    assert url == f"https://hooks.slack.com/services/{tokens}"
    assert content["channel"] == "#quicklook"
    with ledger.reading() as session:
        row = list_blobs(session)[0]
    said = json.dumps(content, ensure_ascii=False)
    assert f"new blob 1 at ({row['x']:.1f}, {row['y']:.1f})" in said
    assert (
        f"between {format_utc(58003.0)} ({NAMES[APPEARED - 1]}) and {format_utc(58004.0)} ({NAMES[APPEARED]})"
        in said
    )
    assert "TIiajk" not in said + channel.label
