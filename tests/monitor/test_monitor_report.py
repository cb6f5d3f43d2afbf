"""Report: static pages, written completely or not at all."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import html5lib
import pytest
from monitor.example_ledger import COUNT, REFERENCE, Page, audited, fill

from blobwatch.cli.monitor import report as report_command
from blobwatch.errors import BlobwatchError
from blobwatch.monitor import report
from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.monitor.pages import PER_PAGE, Pages
from blobwatch.monitor.report import write_report

LAST = -(-COUNT // PER_PAGE)
BLOBS = 3


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(report, "find_deployed", lambda root: audited())


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return fill(f"sqlite:///{tmp_path_factory.mktemp('report')}/ledger.db")


@pytest.fixture(scope="module")
def written(ledger, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "new" / "report"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "find_deployed", lambda root: audited())
        count = write_report(ledger, out, Path.cwd(), REFERENCE)
    return count, out


@pytest.fixture(scope="module")
def pages(written) -> dict[str, Page]:
    found = {path.name: Page(path.read_text(encoding="utf-8")) for path in written[1].glob("*.html")}
    return {name: page for name, page in found.items() if name != "audit.html"}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_report_has_each_page_and_export(written):
    count, out = written
    expected = {"index.html", "drift.html", "model.html", "audit.html", "style.css", report.MARK}
    expected |= {f"blob-{number}.html" for number in range(1, BLOBS + 1)}
    expected |= {"exposures.html"} | {f"exposures-{number}.html" for number in range(2, LAST + 1)}
    assert names_in(out) == expected | {"blobs.csv", "blobs.ecsv", "blobs.reg"}
    assert count == 3 + BLOBS + LAST


def test_links_of_report_exist(written, pages):
    _, out = written
    assert len(pages) == 3 + BLOBS + LAST
    for name, page in pages.items():
        for address in page.addresses:
            if address.startswith("data:"):
                continue
            split = urlsplit(address)
            assert (split.scheme, split.netloc, split.query) == ("", "", ""), f"{name}: {address}"
            assert not split.path.startswith("/"), f"{name}: {address}"
            assert (out / (unquote(split.path) or name)).is_file(), f"{name}: {address}"
            if split.fragment:
                assert split.fragment in pages[split.path or name].ids, f"{name}: {address}"


def test_report_needs_no_server(pages):
    for name, page in pages.items():
        html5lib.HTMLParser(strict=True).parse(page.html)
        assert {"form", "script", "button"}.isdisjoint(page.tags), name
        assert "Sign in" not in page.words, name


def test_report_shows_page_contents(pages):
    assert "1 new blob confirmed, 1 candidate, 1 rejected, in 120 exposures" in pages["index.html"].words
    assert "i0000040q" in pages["blob-1.html"].words
    assert f"page {LAST} of {LAST}" in pages[f"exposures-{LAST}.html"].words


def test_report_of_empty_ledger_in_empty_folder(tmp_path):
    (tmp_path / "out").mkdir()
    empty = open_ledger(f"sqlite:///{tmp_path}/empty.db", create=True)
    assert write_report(empty, tmp_path / "out", tmp_path, None) == 4
    assert {"index.html", "exposures.html", "drift.html", "model.html"} <= names_in(tmp_path / "out")


def test_earlier_report_is_replaced(written, ledger, tmp_path):
    out = tmp_path / "report"
    shutil.copytree(written[1], out)
    (out / "blob-99.html").write_text("of an earlier ledger")
    (out / "index.html").write_text("earlier")
    write_report(ledger, out, tmp_path, REFERENCE)
    assert names_in(out) == names_in(written[1])
    assert (out / "index.html").read_text(encoding="utf-8") != "earlier"
    assert names_in(tmp_path) == {"report"}


@pytest.mark.parametrize("kind", ["folder", "file", "hidden"])
def test_folder_with_other_files_is_rejected_and_unchanged(ledger, tmp_path, kind):
    out = tmp_path / "mine"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / (".mine" if kind == "hidden" else "index.html")).write_text("mine")
    before = out.read_text() if kind == "file" else content_of(out)
    with pytest.raises(BlobwatchError, match="contains other files than a report"):
        write_report(ledger, out, tmp_path, None)
    assert (out.read_text() if kind == "file" else content_of(out)) == before
    assert names_in(tmp_path) == {"mine"}


@pytest.mark.parametrize("earlier", [False, True])
def test_failed_report_leaves_no_partial_files(written, ledger, tmp_path, monkeypatch, earlier):
    out = tmp_path / "report"
    if earlier:
        shutil.copytree(written[1], out)
    before = content_of(out) if earlier else None

    def fail(self, number, reader):
        raise BlobwatchError("the last page fails")

    monkeypatch.setattr(Pages, "exposures", fail)
    with pytest.raises(BlobwatchError, match="the last page fails"):
        write_report(ledger, out, tmp_path, None)
    assert names_in(tmp_path) == ({"report"} if earlier else set())
    assert not earlier or content_of(out) == before


def test_unwritable_report_is_reported(ledger, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BlobwatchError, match=r"not writable .*Pass another folder"):
        write_report(ledger, tmp_path / "file" / "report", tmp_path, None)


def test_report_reads_one_state_of_ledger(tmp_path, monkeypatch):
    """Otherwise a page could link to a blob found during the report, which has no page."""
    path, drawn, change = tmp_path / "ledger.db", Pages.drift, "UPDATE blobs SET status = 'rejected'"

    def drift(self, reader):
        with self.reading() as one, self.reading() as other:
            assert one is other
        with writer() as another, pytest.raises(sqlite3.OperationalError, match="locked"):
            another.execute(change)
        return drawn(self, reader)

    def writer():
        return closing(sqlite3.connect(path, timeout=0, isolation_level=None))

    monkeypatch.setattr(Pages, "drift", drift)
    write_report(fill(f"sqlite:///{path}"), tmp_path / "out", tmp_path, None)
    with writer() as another:
        another.execute(change)


def test_report_command_prints_page_count(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/ledger.db"
    fill(url)
    report_command(tmp_path / "out", url)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{3 + BLOBS + LAST} pages; open" in said
