"""The manifest: read as it was written, in the order of time, or refused in a sentence."""

import pytest

from blobwatch.archive.manifest import read_manifest, write_manifest
from blobwatch.errors import BlobwatchError


def row(rootname: str, expstart: float, **changed) -> dict:
    path = f"{rootname}_flt.fits"
    whole = {"rootname": rootname, "uri": f"mast:HST/product/{path}", "size": 2880, "md5": "0" * 32}
    whole |= {"expstart": expstart, "date": "2016-01-13", "filter": "F153M", "programme": "14389"}
    return whole | {"product": "flt", "path": path} | changed


ROWS = [row("icxx01aaq", 57400.25), row("icxx02acq", 57403.25)]


def test_there_and_back_in_the_order_of_time(tmp_path):
    path = tmp_path / "manifest.csv"
    write_manifest(path, ROWS[::-1])
    assert read_manifest(path) == ROWS
    again = path.read_bytes()
    write_manifest(path, read_manifest(path))
    assert path.read_bytes() == again


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
def test_a_row_that_cannot_be_is_named(tmp_path, changed):
    path = tmp_path / "manifest.csv"
    write_manifest(path, ROWS)
    text = path.read_text().replace(",".join(map(str, ROWS[1].values())), "")
    bad = ",".join(str(value) for value in (ROWS[1] | changed).values())
    path.write_text(text.rstrip("\n") + "\n" + bad + "\n")
    with pytest.raises(BlobwatchError, match=r"manifest\.csv, line 3, is no row of a manifest"):
        read_manifest(path)


def test_what_is_no_manifest(tmp_path):
    with pytest.raises(BlobwatchError, match="does not exist"):
        read_manifest(tmp_path / "manifest.csv")
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    with pytest.raises(BlobwatchError, match="line 2"):
        read_manifest(tmp_path / "other.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BlobwatchError, match="cannot be read as a manifest"):
        read_manifest(tmp_path / "bytes.csv")
