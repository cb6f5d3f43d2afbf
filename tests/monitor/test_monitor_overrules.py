"""Overrules of exposures by the command and on the page."""

import csv
import json
import sys
from pathlib import Path

import pytest
import requests
from monitor.example_exposures import APPEARED, COUNT, LOUD, NAMES, canonical, monitor_of
from monitor.example_ledger import Page, serving
from sqlalchemy import select
from synthetic import write_exposure

from blobwatch.cli import main
from blobwatch.errors import BlobwatchError
from blobwatch.monitor import overrules, web
from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.monitor.ledger.exposures import find_exposure
from blobwatch.monitor.ledger.overrules import overrules_in_force
from blobwatch.monitor.ledger.reviewers import add_reviewer
from blobwatch.monitor.ledger.rows import list_blobs
from blobwatch.monitor.ledger.tables import OverruleRow
from blobwatch.monitor.overrules import (
    MAX_REASON,
    overrule_exposure,
    synchronize_overrules,
    write_pending_overrules,
)
from blobwatch.overrules import read_overrules

FIRST = NAMES[APPEARED]


@pytest.fixture
def ledger(watched):
    return open_ledger(watched.url)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command; return exit status, stdout and stderr."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["blobwatch", *map(str, arguments)])
        monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada Example")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run


def rows_of(folder: Path) -> list[dict]:
    with (folder / "overrules.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_rejected_exposure_is_unused_until_cleared(run, watched, ledger, tmp_path):
    before, folder = canonical(ledger), tmp_path / "overrules"
    where = ("--ledger", watched.url, "--overrules", folder)
    code, out, err = run("overrule", FIRST, "--reject", "--reason", "limb light", *where, "--json")
    assert code == 0
    decision = json.loads(out)
    assert (decision["rootname"], decision["verdict"], decision["reason"]) == (FIRST, "reject", "limb light")
    assert f"the next monitor run rejects {FIRST}" in err
    assert rows_of(folder) == [decision]
    results = list(monitor_of(watched.folder, ledger, watched.model).run())
    assert [one.exposure.rootname for one in results] == NAMES[APPEARED:]
    assert results[0].exposure.outcome == "unfit"
    assert results[0].exposure.reason == f"overruled by {decision['who']}: limb light"
    assert all(FIRST not in one.exposure.stack for one in results)
    with ledger.reading() as session:
        row = list_blobs(session)[0]
        assert (row["id"], row["first_rootname"]) == (1, NAMES[APPEARED + 1])
    assert run("overrule", FIRST, "--clear", "--reason", "it is fine", *where)[0] == 0
    assert len(list(monitor_of(watched.folder, ledger, watched.model).run())) == COUNT - APPEARED
    assert canonical(ledger) == before
    assert [row["verdict"] for row in rows_of(folder)] == ["reject", "clear"]
    assert read_overrules(folder) == {}


def test_accepted_exposure_is_used_despite_limits(watched, ledger, tmp_path):
    folder = tmp_path / "faint"
    folder.mkdir()
    write_exposure(folder, COUNT, [LOUD], EXPTIME=20.0)
    monitor = monitor_of(folder, ledger, watched.model)
    (result,) = monitor.run()
    assert result.exposure.outcome == "unfit"
    overrule_exposure(
        ledger, tmp_path / "overrules", result.exposure.rootname, "accept", "good enough", "Ada"
    )
    (result,) = monitor.run()
    assert (result.exposure.outcome, result.why) == ("judged", "overruled: accept")


def test_overrule_without_ledger_is_imported_later(run, watched, ledger, tmp_path):
    folder = tmp_path / "overrules"
    absent = f"sqlite:///{tmp_path}/absent.db"
    where = ("--ledger", absent, "--overrules", folder)
    assert run("overrule", FIRST, "--reject", "--reason", "x", *where)[0] == 0
    assert not (tmp_path / "absent.db").exists()
    assert (synchronize_overrules(ledger, folder), synchronize_overrules(ledger, folder)) == (1, 0)
    with ledger.reading() as session:
        assert overrules_in_force(session)[FIRST].verdict == "reject"
        assert find_exposure(session, FIRST).due == "overruled: reject"
    assert len(rows_of(folder)) == 1


def test_unwritable_decision_is_written_later_once(ledger, tmp_path, monkeypatch):
    folder = tmp_path / "overrules"
    with monkeypatch.context() as during:
        during.setattr(
            overrules, "append_overrules", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full"))
        )
        with pytest.raises(BlobwatchError, match="not writable"):
            overrule_exposure(ledger, folder, FIRST, "reject", "x", "Ada")
    assert [write_pending_overrules(ledger, folder), write_pending_overrules(ledger, folder)] == [1, 0]
    assert len(rows_of(folder)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "maybe"}, "verdict 'maybe' is unknown"),
        ({"rootname": "a b"}, "is not a rootname"),
        ({"reason": " "}, "the reason must have 1 to"),
        ({"reason": "x" * (MAX_REASON + 1)}, "the reason must have 1 to"),
        ({"who": ""}, "name of the person is missing"),
        ({"verdict": "clear"}, "no decision to clear"),
    ],
)
def test_invalid_decision_changes_nothing(ledger, tmp_path, change, message):
    decision = {"rootname": FIRST, "verdict": "reject", "reason": "x", "who": "Ada"} | change
    with pytest.raises(BlobwatchError, match=message):
        overrule_exposure(ledger, tmp_path / "overrules", **decision)
    with ledger.reading() as session:
        assert session.scalars(select(OverruleRow)).all() == []
    assert not (tmp_path / "overrules").exists()


def test_exactly_one_verdict_is_required(run):
    assert run("overrule", FIRST, "--reason", "x")[0] == 2
    assert run("overrule", FIRST, "--accept", "--reject", "--reason", "x")[0] == 2


@pytest.fixture
def site(ledger, tmp_path):
    """The address of a server, the token of a reviewer, and the folder of the table."""
    folder, token = tmp_path / "overrules", add_reviewer(ledger, "Ada")
    with serving(ledger, tmp_path) as address:
        yield address, token, folder


def send(address: str, token: str, origin: str = "", rootname: str = FIRST) -> requests.Response:
    form = {"verdict": "reject", "reason": "<b>limb</b> light", "page": "1"}
    headers = {"Origin": origin or address, "Cookie": f"{web.COOKIE}={token}"}
    where = f"{address}/exposure/{rootname}/overrule"
    return requests.post(where, form, headers=headers, timeout=10, allow_redirects=False)


def test_overrule_on_page_is_shown_to_all(site):
    address, token, folder = site
    cookie = {"Cookie": f"{web.COOKIE}={token}"}
    page = Page(requests.get(f"{address}/exposures", headers=cookie, timeout=10).text)
    assert page.addresses.count(f"/exposure/{FIRST}/overrule") == 1
    assert "Clear: use its quality again" not in page.words
    answer = send(address, token)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/exposures?page=1#{FIRST}")
    (row,) = rows_of(folder)
    assert (row["who"], row["verdict"], row["reason"]) == ("Ada", "reject", "<b>limb</b> light")
    page = Page(requests.get(f"{address}/exposures", timeout=10).text)
    assert "rejected by Ada, 20" in page.words
    assert "UTC: <b>limb</b> light" in page.words
    assert "to be analyzed again: overruled: reject" in page.words
    assert f"/exposure/{FIRST}/overrule" not in page.addresses  # not signed in
    page = Page(requests.get(f"{address}/exposures", headers=cookie, timeout=10).text)
    assert page.words.count("Clear: use its quality again") == 1


@pytest.mark.parametrize(
    ("token", "origin", "status"), [("", "", 401), ("wrong", "", 401), ("", "http://elsewhere.example", 403)]
)
def test_unauthorized_overrule_is_rejected(site, ledger, token, origin, status):
    address, _, folder = site
    assert send(address, token, origin).status_code == status
    with ledger.reading() as session:
        assert session.scalars(select(OverruleRow)).all() == []
    assert not folder.exists()


def test_overrule_of_unknown_exposure_is_404(site):
    address, token, _ = site
    assert send(address, token, rootname="inothing").status_code == 404
