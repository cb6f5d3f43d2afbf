"""The manifest: order of its rows, and invalid files."""

import pytest

from blobwatch.archive.manifest import read_manifest, write_manifest
from blobwatch.errors import BlobwatchError


def make_row(rootname: str, expstart: float) -> dict:
    path = f"{rootname}_flt.fits"
    row = {"rootname": rootname, "uri": f"mast:HST/product/{path}", "size": 2880, "md5": "0" * 32}
    row |= {"expstart": expstart, "date": "2016-01-13", "filter": "F153M", "programme": "14389"}
    return row | {"product": "flt", "path": path}


ROWS = [make_row("icxx01aaq", 57400.25), make_row("icxx02acq", 57403.25)]


def test_rows_are_written_and_read_in_order_of_time(tmp_path):
    path = tmp_path / "manifest.csv"
    write_manifest(path, ROWS[::-1])
    assert read_manifest(path) == ROWS
    content = path.read_bytes()
    write_manifest(path, read_manifest(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "changed",
    [
        {"size": "many"},
        {"expstart": ""},
        {"md5": ""},
        {"path": "../x.fits"},
        {"path": "/x.fits"},
        {"path": ""},
    ],
)
def test_invalid_row_is_an_error_with_its_line(tmp_path, changed):
    path = tmp_path / "manifest.csv"
    write_manifest(path, ROWS)
    lines = path.read_text().splitlines()
    lines[2] = ",".join(str(value) for value in (ROWS[1] | changed).values())
    path.write_text("\n".join(lines))
    with pytest.raises(BlobwatchError, match=r"manifest\.csv, line 3: not a valid row"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"x,y\n1,2\n", "line 2"), (b"\xff\xfe\x00", "not readable as a manifest")],
)
def test_file_that_is_not_a_manifest_is_an_error(tmp_path, content, message):
    path = tmp_path / "manifest.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BlobwatchError, match=message):
        read_manifest(path)
