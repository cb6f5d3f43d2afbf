"""What a scan leaves and says, with the work done in this process."""

import json

import pytest
from pyarrow import parquet
from synthetic import image_with_blobs, write_image
from typer.testing import CliRunner

from blobwatch.archive import scan as scans
from blobwatch.archive.scan_parquet import parts_of
from blobwatch.cli import app
from blobwatch.errors import BlobwatchError


@pytest.fixture
def _workers_here(monkeypatch):
    """No cluster: what workers would do is done in this process."""

    def judged(judge, todo, *rest):
        for pair in todo:
            yield scans.answer(scans.Chunk(judge, (pair,), ()))

    monkeypatch.setattr(scans, "judged", judged)


@pytest.mark.usefixtures("_workers_here")
def test_a_whole_table_is_left_as_it_is(tmp_path, box_model):
    write_image(tmp_path / "d.fits", image_with_blobs([]))
    out = tmp_path / "r.parquet"
    arguments = ["scan", str(tmp_path), "--out", str(out), "--model", str(box_model)]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0
    assert first.stdout.startswith("1 files, 1 judged now (")
    before = out.stat()
    again = CliRunner().invoke(app, [*arguments, "--json"])
    found = json.loads(again.stdout)
    assert found.pop("seconds") > 0
    assert found == {"files": 1, "judged": 0, "blobs": 0, "errors": 0, "rejected": 0, "out": str(out)}
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not parts_of(out).exists()
    # What is no longer there goes.
    write_image(tmp_path / "a.fits", image_with_blobs([]))
    assert scans.scan(tmp_path, out, str(box_model))["files"] == 2
    (tmp_path / "d.fits").unlink()
    assert scans.scan(tmp_path, out, str(box_model)) == {
        "files": 1,
        "judged": 0,
        "blobs": 0,
        "errors": 0,
        "rejected": 0,
    }
    assert parquet.read_table(out)["image"].to_pylist() == [str(tmp_path / "a.fits")]


@pytest.mark.usefixtures("_workers_here")
def test_a_table_that_cannot_be_written(tmp_path, box_model, monkeypatch):
    write_image(tmp_path / "d.fits", image_with_blobs([]))
    with pytest.raises(BlobwatchError, match=r"below.parquet cannot be written \(.*\); mend that and run"):
        scans.scan(tmp_path, tmp_path / "d.fits" / "below.parquet", str(box_model))

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("blobwatch.archive.scan_parquet.atomic_file", full)
    with pytest.raises(BlobwatchError, match=r"cannot be written \(No space left on device\)"):
        scans.scan(tmp_path, tmp_path / "r.parquet", str(box_model))
