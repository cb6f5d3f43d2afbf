"""``blobwatch fetch`` as a process with a local archive: kills, interrupts, resuming, DVC."""

import json
import signal
import subprocess

from archive.mast_server import ArchiveFile
from conftest import ROOT
from synthetic import write_exposure

from blobwatch.archive.manifest import read_manifest
from blobwatch.files import file_hash
from blobwatch.instrument.exposure_files import list_exposures

SEASON = ("--start", "2016-01-01", "--end", "2016-01-31")
NAME = "icxx01aaq_flt.fits"


def test_season_is_fetched_with_its_manifest(command):
    run, server = command
    status, out, err = run.run("--target", "DARK-EARTH-CALIB", "--filter", "F153M", *SEASON, "--json")
    assert status == 0, err
    folder = run.folder / "data/raw/archive"
    rows = read_manifest(folder / "manifest.csv")
    assert json.loads(out)["fetched"] == rows
    assert [row["rootname"] for row in rows] == ["icxx01aaq", "icxx01abq", "icxx02acq"]
    for row, file in zip(rows, server.files, strict=True):
        assert (folder / row["path"]).read_bytes() == file.content
        assert row["md5"] == file_hash(folder / row["path"], "md5")
        assert (row["uri"], row["size"]) == (file.uri, len(file.content))
        assert (row["filter"], row["programme"], row["product"]) == ("F153M", "14389", "flt")
    # From the headers of the files, not of their association.
    assert [row["expstart"] for row in rows] == [57400.25, 57400.27, 57403.25]
    assert [row["date"] for row in rows] == ["2016-01-13", "2016-01-13", "2016-01-16"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["manifest.csv", *(file.name for file in server.files)]
    )


def test_killed_command_resumes(command):
    run, server = command
    # The Range of the second request shows how many bytes were received; then the process is killed.
    server.plan[NAME] = ["drop 150000", "hold 70000"]
    process = run.start("--rootname", "icxx01aaq")
    assert server.stalled.wait(30)
    process.kill()
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL
    folder = run.folder / "data/raw/archive"
    assert not (folder / NAME).exists()
    assert "no complete answer" in err
    received = (folder / f".{NAME}.partial-fetch").stat().st_size
    assert received >= 131072  # two chunks

    status, _, err = run.run("--rootname", "icxx01aaq")
    assert status == 0, err
    first, second, third = server.ranges(NAME)
    assert first == ""
    assert second == "bytes=131072-"
    assert third == f"bytes={received}-"
    assert (folder / NAME).read_bytes() == server.files[0].content
    assert sorted(path.name for path in folder.iterdir()) == [NAME, "manifest.csv"]


def test_interrupted_command_reports_and_resumes(command):
    run, server = command
    second = "icxx01abq_flt.fits"
    server.plan[second] = ["hold 100000"]
    process = run.start(*SEASON, "--json")
    assert server.stalled.wait(30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "1 fetched" in err
    assert "Run the same command again to resume" in err
    assert "Traceback" not in err
    assert [row["rootname"] for row in json.loads(out)["fetched"]] == ["icxx01aaq"]
    assert len(read_manifest(run.folder / "data/raw/archive/manifest.csv")) == 1

    status, out, err = run.run(*SEASON, "--json")
    assert status == 0, err
    assert [row["rootname"] for row in json.loads(out)["kept"]] == ["icxx01aaq"]
    assert server.ranges(NAME) == [""]
    assert (run.folder / "data/raw/archive" / second).read_bytes() == server.files[1].content


def test_dry_run_lists_sizes_and_writes_nothing(command):
    run, server = command
    status, out, err = run.run("--dry-run", "--json")
    listed = json.loads(out)
    assert (status, err) == (0, "")
    assert listed["bytes"] == listed["bytes_to_fetch"] == sum(len(one.content) for one in server.files)
    assert [(one["rootname"], one["state"]) for one in listed["files"]] == [
        (file.rootname, "absent") for file in server.files
    ]
    assert list(run.folder.iterdir()) == []
    assert server.requests == []


def test_cloud_copy(command):
    run, server = command
    server.plan[NAME] = ["drop 100000"]
    status, _, err = run.run("--rootname", "icxx01aaq", "--cloud")
    assert status == 0, err
    (row,) = read_manifest(run.folder / "data/raw/archive/manifest.csv")
    assert row["uri"] == f"s3://stpubdata/hst/public/icxx/icxx01aaq/{NAME}"
    assert (run.folder / "data/raw/archive" / NAME).read_bytes() == server.files[0].content
    first, second = server.ranges(NAME)
    assert first == ""
    assert 65536 <= int(second.removeprefix("bytes=").removesuffix("-")) <= 100000
    assert not any("Authorization" in one.headers for one in server.requests)


def test_fetched_exposures_are_added_to_dvc_and_read_by_the_pipeline(command, tmp_path):
    """The exposures are listed as in the stage difference."""
    run, server = command
    frame = write_exposure(tmp_path, 3)
    server.files = [ArchiveFile("iaaa0301q", 58003.0, content=frame.read_bytes())]
    for command in (["git", "init", "--quiet"], ["mkdir", ".dvc"], ["touch", ".dvc/config"]):
        subprocess.run(command, cwd=run.folder, check=True)
    (run.folder / ".dvcignore").write_text((ROOT / ".dvcignore").read_text())
    status, _, err = run.run("--rootname", "iaaa0301q", "--dvc")
    assert status == 0, err
    assert "commit data/raw/archive.dvc and data/raw/.gitignore" in err
    assert (run.folder / "data/raw/.gitignore").read_text() == "/archive\n"
    pinned = (run.folder / "data/raw/archive.dvc").read_text()
    assert "path: archive" in pinned
    assert "nfiles: 2" in pinned  # the exposure and the manifest, no partial file and no lock
    (listed,) = list_exposures(run.folder / "data/raw/archive", "F153M")
    assert (listed.rootname, listed.expstart) == ("iaaa0301q", 58003.0)


def test_dvc_option_needs_a_dvc_project(command):
    run, _ = command
    status, _, err = run.run("--rootname", "icxx02acq", "--dvc")
    assert status == 1
    assert (run.folder / "data/raw/archive/icxx02acq_flt.fits").exists()
    assert "the files are fetched, but `dvc add data/raw/archive` failed: " in err
    assert "Traceback" not in err
