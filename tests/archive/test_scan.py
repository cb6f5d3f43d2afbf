"""Scans in this process: selection of files, reuse of results, errors, the command."""

import json
import shutil

import pytest
from pyarrow import parquet
from synthetic import image_with_blobs, write_exposure, write_image
from typer.testing import CliRunner

from blobwatch.archive import scan as scan_module
from blobwatch.archive.headers import read_headers, sort_by_time
from blobwatch.archive.scan import compute_identities, scan
from blobwatch.archive.scan_parquet import lock_table, parts_folder
from blobwatch.archive.worker import Chunk, ScanConfig, predict_chunk
from blobwatch.artefact import Model
from blobwatch.cli import app
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.exposure_files import find_exposures
from blobwatch.overrules import Overrule
from blobwatch.settings import DifferenceSettings


@pytest.fixture(autouse=True)
def configs(monkeypatch) -> list[ScanConfig]:
    """Run the jobs in this process instead of a cluster; return their configurations."""
    configs = []

    def predict_files(config, todo, exposures, *_):
        configs.append(config)
        if todo:
            yield predict_chunk(Chunk(config, tuple(todo), tuple(exposures)))

    monkeypatch.setattr(scan_module, "predict_files", predict_files)
    return configs


@pytest.fixture
def image(tmp_path):
    return write_image(tmp_path / "d.fits", image_with_blobs([]))


def test_complete_table_is_left_unchanged(tmp_path, image, box_model, configs):
    out = tmp_path / "r.parquet"
    arguments = ["scan", str(tmp_path), "--out", str(out), "--model", str(box_model)]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0
    assert first.stdout.startswith("1 files, 1 new predictions (")
    assert configs[0].model.threads == 1
    before = out.stat()
    again = CliRunner().invoke(app, [*arguments, "--json"])
    found = json.loads(again.stdout)
    assert found.pop("seconds") > 0
    expected = {"files": 1, "judged": 0, "blobs": 0, "errors": 0, "rejected": 0}
    assert found == expected | {"out": str(out)}
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not parts_folder(out).exists()

    # Rows of removed files are removed.
    write_image(tmp_path / "a.fits", image_with_blobs([]))
    assert scan(tmp_path, out, str(box_model))["files"] == 2
    image.unlink()
    assert scan(tmp_path, out, str(box_model)) == expected
    assert parquet.read_table(out)["image"].to_pylist() == [str(tmp_path / "a.fits")]


def test_one_file_per_rootname_is_predicted(tmp_path, box_model, capsys):
    folder = tmp_path / "e"
    (folder / "copy").mkdir(parents=True)
    for number in range(4):
        write_exposure(folder, number)
    write_exposure(folder / "copy", 3, CAL_VER="2.0")
    found = scan(folder, tmp_path / "r.parquet", str(box_model))
    assert (found["files"], found["errors"]) == (4, 3)
    assert "iaaa0301q: 2 files; " in capsys.readouterr().err


def test_overrule_changes_the_identities_that_depend_on_it(tmp_path, box_model):
    for number in (0, 1, 2, 3, 150):
        write_exposure(tmp_path, number)
    files = sort_by_time(read_headers(find_exposures(tmp_path)))
    overrule = Overrule(files[0].listed.rootname, "reject", "Ada", "2026-11-27", "no")
    model = Model.load(box_model)
    before = compute_identities(ScanConfig(model, DifferenceSettings()), files, files)
    after = compute_identities(ScanConfig(model, DifferenceSettings(), (overrule,)), files, files)
    assert [one != other for one, other in zip(before, after, strict=True)] == [True] * 4 + [False]


def test_threshold_is_part_of_the_identity(tmp_path, image, box_model):
    copy = tmp_path / "model"
    shutil.copytree(box_model, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"threshold": 0.9999999}))
    out = tmp_path / "r.parquet"
    judged = [scan(tmp_path, out, str(model))["judged"] for model in (box_model, box_model, copy)]
    assert judged == [1, 0, 1]


# Errors


def test_one_scan_at_a_time_writes_a_table(tmp_path, box_model):
    with lock_table(tmp_path / "r.parquet"), pytest.raises(BlobwatchError, match="another scan writes it"):
        scan(tmp_path, tmp_path / "r.parquet", str(box_model))


def test_table_must_be_writable(tmp_path, image, box_model, monkeypatch):
    with pytest.raises(BlobwatchError, match=r"below.parquet: not writable \(.*\)\. Correct this and run"):
        scan(tmp_path, image / "below.parquet", str(box_model))

    def fail(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("blobwatch.archive.scan_parquet.atomic_file", fail)
    with pytest.raises(BlobwatchError, match=r"not writable \(No space left on device\)"):
        scan(tmp_path, tmp_path / "r.parquet", str(box_model))


def test_source_and_output_are_checked(tmp_path, image, box_model):
    with pytest.raises(BlobwatchError, match=r"Pass a file that ends in \.parquet"):
        scan(tmp_path, tmp_path / "r.csv", str(box_model))
    with pytest.raises(BlobwatchError, match="neither a directory nor a manifest"):
        scan(image, tmp_path / "r.parquet", str(box_model))
    (tmp_path / "names.csv").write_text("name\nd.fits\n")
    with pytest.raises(BlobwatchError, match=r"a row does not name a file\. Fill the column path"):
        scan(tmp_path / "names.csv", tmp_path / "r.parquet", str(box_model))
    (tmp_path / "r.parquet").write_text("not a table")
    with pytest.raises(BlobwatchError, match=r"not a table of a scan\. Pass another --out"):
        scan(tmp_path, tmp_path / "r.parquet", str(box_model))
    assert (tmp_path / "r.parquet").read_text() == "not a table"
