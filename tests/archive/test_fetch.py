"""Exposures fetched into a directory: files already present, interruptions, refused files, listings."""

import pytest
from archive.mast_server import ArchiveFile, make_exposure
from filelock import FileLock

from blobwatch.archive import manifest, mast
from blobwatch.archive.download import TRIES, PartialFile
from blobwatch.archive.fetch import MAX_FAILURES, QUERY_TRIES, FetchResult, fetch, find_products
from blobwatch.archive.manifest import read_manifest
from blobwatch.archive.query import Query
from blobwatch.cli.output.archive import run_fetch
from blobwatch.errors import BlobwatchError

EARTH = Query(target="DARK-EARTH-CALIB")
LAST = Query(rootnames=("icxx02acq",))
NAMES = ["icxx01aaq_flt.fits", "icxx01abq_flt.fits", "icxx02acq_flt.fits"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "exposures"


def fetch_all(out, query: Query = EARTH) -> FetchResult:
    return fetch(find_products(query), out)


def run_command(query: Query, out, dry_run: bool = False) -> bool:
    return run_fetch(query, out, from_cloud=False, dry_run=dry_run, as_json=False, with_dvc=False)


def paths_in(rows: list[dict]) -> list[str]:
    return [row["path"] for row in rows]


def list_names(out) -> list[str]:
    return sorted(path.name for path in out.iterdir())


# Complete and repeated fetches


def test_transient_errors_are_retried(archive, out):
    archive.plan["invoke"] = ["503", "503"]
    archive.plan[NAMES[0]] = ["503", "503", "drop 100000", "page", "all 150000", "hang up"]
    archive.plan[NAMES[1]] = ["chunked 100000", "shift", "drop 200000", "416"]
    assert len(fetch_all(out).fetched) == 3
    for file in archive.files:
        assert (out / file.name).read_bytes() == file.content
    assert list_names(out) == [*NAMES, "manifest.csv"]


def test_only_missing_files_are_fetched(archive, out):
    fetch_all(out, LAST)
    assert paths_in(read_manifest(out / "manifest.csv")) == NAMES[2:]
    assert paths_in(fetch_all(out).fetched) == NAMES[:2]
    content = (out / "manifest.csv").read_bytes()
    assert paths_in(read_manifest(out / "manifest.csv")) == NAMES
    archive.requests.clear()
    result = fetch_all(out)
    assert paths_in(result.kept) == NAMES
    assert (result.fetched, archive.requests) == ([], [])
    assert (out / "manifest.csv").read_bytes() == content


@pytest.mark.parametrize("change", ["bytes", "size", "unlisted"])
def test_altered_file_is_replaced_after_the_download(archive, out, capsys, change):
    fetch_all(out)
    path, content = out / NAMES[1], archive.files[1].content
    altered = content[:-1] + (b"" if change == "size" else b"x")
    path.write_bytes(altered)
    message = "differs from the manifest"
    if change == "unlisted":
        lines = (out / "manifest.csv").read_text().splitlines(keepends=True)
        (out / "manifest.csv").write_text("".join(line for line in lines if "icxx01abq" not in line))
        message = "not in the manifest"
    archive.plan[NAMES[1]] = ["503"] * TRIES
    assert list(fetch_all(out).refused) == [NAMES[1]]
    assert path.read_bytes() == altered
    assert paths_in(fetch_all(out).fetched) == [NAMES[1]]
    assert path.read_bytes() == content
    assert f"{path}: {message}; it is replaced" in capsys.readouterr().err


@pytest.mark.parametrize("function", ["fetch.write_manifest", "download.PartialFile.finish"])
def test_kill_after_a_complete_download_loses_nothing(archive, out, monkeypatch, function):
    def kill(*_):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(f"blobwatch.archive.{function}", kill)
        with pytest.raises(SystemExit):
            fetch_all(out)
    assert not (out / NAMES[0]).exists()
    archive.requests.clear()
    assert len(fetch_all(out).fetched) == 3
    assert archive.ranges(NAMES[0]) == []
    assert (out / NAMES[0]).read_bytes() == archive.files[0].content


def test_newer_version_in_the_archive_is_reported(archive, out, capsys):
    fetch_all(out)
    archive.files[2].content += b" " * 2880
    assert len(fetch_all(out).kept) == 3
    assert f"{NAMES[2]}: the archive has another version" in capsys.readouterr().err


# Refused files


@pytest.mark.parametrize(
    ("change", "listed", "message"),
    [
        (lambda content: content[:-20_000], 0, "truncated"),
        (lambda content: content[:200_000] + b"damage" + content[200_006:], 0, "not match their DATASUM"),
        (lambda content: content.replace(b"EXPSTART=", b"EXPSTOPS="), 0, "EXPSTART"),
        (lambda content: make_exposure("izzz99zzq", 57400.0), 0, "sent izzz99zzq instead of this file"),
        (lambda content: content, -1, "bytes, the archive lists"),
    ],
)
def test_refused_file_leaves_the_others_and_no_traces(archive, out, change, listed, message):
    archive.files[1].content = change(archive.files[1].content)
    archive.files[1].listed_size = len(archive.files[1].content) + listed
    result = fetch_all(out)
    assert list(result.refused) == [NAMES[1]]
    assert message in result.refused[NAMES[1]]
    assert list_names(out) == [NAMES[0], NAMES[2], "manifest.csv"]
    assert paths_in(read_manifest(out / "manifest.csv")) == [NAMES[0], NAMES[2]]
    assert len(archive.ranges(NAMES[1])) == 1


def test_stalled_download_is_resumed(archive, out, monkeypatch):
    monkeypatch.setattr(mast, "TIMEOUT", (15, 0.2))
    archive.plan[NAMES[0]] = ["hold 150000"]
    assert len(fetch_all(out).fetched) == 3
    assert archive.ranges(NAMES[0]) == ["", "bytes=131072-"]


@pytest.mark.parametrize("consecutive", [True, False])
def test_fetch_stops_after_consecutive_failures(archive, out, consecutive):
    archive.files += [ArchiveFile(f"icxx03a{letter}q", 57404.0) for letter in "ab"]
    rest = ["icxx03aaq_flt.fits", "icxx03abq_flt.fits"]
    failing = NAMES if consecutive else [NAMES[0], NAMES[2], rest[0]]
    assert len(failing) == MAX_FAILURES
    for name in failing:
        archive.plan[name] = ["503"] * TRIES
    refused = list(fetch_all(out).refused)
    if consecutive:
        assert refused == [*NAMES, *rest]
        assert len(archive.requests) == MAX_FAILURES * TRIES
        assert list_names(out) == []
    else:
        assert refused == failing


# Unusable directories


def test_fetch_needs_free_space(archive, out, monkeypatch):
    usage = type("Usage", (), {"free": sum(len(file.content) for file in archive.files) - 1})
    monkeypatch.setattr(manifest.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BlobwatchError, match=r"0\.0 GB needed, 0\.0 GB free"):
        fetch_all(out)
    assert archive.requests == []
    usage.free += 1
    assert len(fetch_all(out).fetched) == 3


def test_full_disk_is_an_error(archive, out, monkeypatch):
    def fail(self, chunk):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PartialFile, "append", fail)
    with pytest.raises(BlobwatchError, match=r"not writable \(No space left on device\)"):
        fetch_all(out)


def test_one_fetch_at_a_time_writes_into_a_directory(archive, out):
    lock = FileLock(out.parent / ".exposures.partial-lock")
    with lock, pytest.raises(BlobwatchError, match="another fetch writes into it"):
        fetch_all(out)


def test_directory_contains_one_product(archive, out):
    fetch_all(out)
    archive.files.append(ArchiveFile("icxx01aaq", 57400.25, product="raw"))
    with pytest.raises(BlobwatchError, match=r"contains flt files.* Fetch raw into another directory"):
        fetch_all(out, Query("DARK-EARTH-CALIB", product="raw"))


def test_directory_tracked_by_dvc_must_be_present(archive, out):
    out.with_name("exposures.dvc").touch()
    with pytest.raises(BlobwatchError, match=r"Restore it with `dvc pull .*exposures\.dvc`"):
        fetch_all(out)
    assert not out.exists()


@pytest.mark.parametrize("below", ["", "below"])
def test_output_must_be_a_directory(archive, out, below):
    out.touch()
    with pytest.raises(BlobwatchError, match="not writable"):
        fetch_all(out / below)


# Queries and listings


def test_empty_result_is_an_error(archive):
    with pytest.raises(BlobwatchError, match=r"MAST lists no flt files of NGC-3603. Check the names"):
        find_products(Query("NGC-3603"))


def test_query_is_retried_a_few_times(archive):
    archive.plan["invoke"] = ["503"] * (QUERY_TRIES + 1)
    with pytest.raises(BlobwatchError, match=r"MAST \(http.*\): the server answered with status 503"):
        find_products(EARTH)
    assert len(archive.plan["invoke"]) == 1


def test_exposures_that_are_not_public_are_left_out(archive, out, capsys):
    archive.files[1].rights = archive.files[0].rights = "EXCLUSIVE_ACCESS"
    assert run_command(EARTH, out, dry_run=True)
    printed = capsys.readouterr()
    assert "left out, not public yet: icxx01aaq, icxx01abq" in printed.err
    assert "icxx02acq" in printed.out
    assert "icxx01aaq" not in printed.out
    archive.files[2].rights = "EXCLUSIVE_ACCESS"
    with pytest.raises(BlobwatchError, match="none of 3 exposures is public yet"):
        run_command(EARTH, out, dry_run=True)


def test_rootname_that_is_not_listed_is_a_failure(archive, out, capsys):
    assert not run_command(Query(rootnames=("icxx02acq", "izzz99zzq")), out)
    assert "not in the archive: izzz99zzq" in capsys.readouterr().err
    assert list_names(out) == [NAMES[2], "manifest.csv"]


def test_unlimited_query_is_refused(archive, out):
    with pytest.raises(BlobwatchError, match="this query matches every exposure of DARK-EARTH"):
        run_command(EARTH, out)
    assert archive.queries == []


def test_table_of_files(archive, out, capsys):
    fetch_all(out, LAST)
    (out / NAMES[0]).write_text("altered")
    archive.files[1].listed_size = None
    capsys.readouterr()
    run_command(EARTH, out, dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rootname", "day", "filter", "programme", "size", "here"]
    size = f"{len(archive.files[0].content) / 1000:.1f} kB"
    assert lines[1].split() == ["icxx01aaq", "2016-01-13", "F153M", "14389", *size.split(), "altered"]
    assert lines[2].split()[-2:] == ["unknown", "no"]
    assert lines[3].split()[-1] == "yes"
    total = f"{2 * len(archive.files[0].content) / 1000:.1f} kB"
    assert lines[4] == f"3 flt files, {total}; to fetch: 2, {size}; 1 of unknown size"
