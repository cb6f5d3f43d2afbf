"""The files of a scan: manifests, headers, order of time."""

from pathlib import Path

from synthetic import image_with_blobs, write_image

from blobwatch.archive.headers import (
    ScanFile,
    list_files,
    read_headers,
    select_exposures,
    select_window,
    sort_by_time,
)
from blobwatch.instrument.exposure_files import ExposureFile, find_exposures


def test_manifest_paths_are_relative_and_listed_once(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(f"path,note\nb.fits,x\na.fits,y\nb.fits,z\n{tmp_path / 'sub' / 'c.fits'},\n")
    assert list_files(table) == [tmp_path / name for name in ("b.fits", "a.fits", "sub/c.fits")]


def test_unreadable_headers_do_not_stop_the_scan(tmp_path):
    odd = [{"EXPSTART": "x"}, {"EXPSTART": True}, {"FILTER": 3}, {"ROOTNAME": 7.5}, {"EXPSTART": 1e300}]
    for number, cards in enumerate(odd):
        write_image(tmp_path / f"c{number}.fits", image_with_blobs([]), **cards)
    (tmp_path / "d.fits").write_bytes(b"SIMPLE" * 900)
    (tmp_path / "e.fits.gz").write_bytes(b"not gzip")
    found = list(read_headers(find_exposures(tmp_path)))
    assert [one.filter for one in found] == ["", "", "3", "", "", "", ""]
    assert len(sort_by_time(found)) == 7


def test_window_contains_one_file_per_rootname():
    files = [
        ScanFile(Path(name), "", when, "F153M", ExposureFile(Path(name), name[0], when, "F153M"))
        for name, when in [("a1", 1.0), ("b1", 2.0), ("a2", 3.0), ("c1", 4.0)]
    ]
    exposures = select_exposures(files)
    assert [one.path.name for one in exposures] == ["a1", "b1", "c1"]
    assert [one.path.name for one in select_window(exposures, 4.0, 4.0, 2.5)] == ["b1"]
