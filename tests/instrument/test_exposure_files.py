"""Exposure files of a folder: how they are found, described, and chosen where a rootname has several."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from blobwatch.errors import BlobwatchError
from blobwatch.instrument import file_search as search_module
from blobwatch.instrument.calibration import Calibration, dflat_warning
from blobwatch.instrument.exposure_files import (
    ExposureFile,
    describe_file,
    file_stamp,
    find_exposures,
    is_incomplete,
    list_exposures,
    select_versions,
)
from blobwatch.instrument.exposures import read_exposure
from blobwatch.instrument.file_search import find_fits_files

OLD = Calibration("COMPLETE", "u4m1335mi_pfl.fits", version="3.3(28-Jan-2016)", date="2019-03-04T22:19:07")
NEW = Calibration("COMPLETE", "4ac19224i_pfl.fits", version="3.5.0(Apr-01-2019)", date="2020-11-02T10:00:00")


def write(
    path: Path, reads: int = 1, size: int = 1014, unit: str = "ELECTRONS/S", science=(), **cards
) -> Path:
    """Write an exposure of even light with ``science`` as further keywords of its SCI headers."""
    header = {"ROOTNAME": "ich219i8q", "EXPSTART": 57400.5, "EXPTIME": 100.0, "FILTER": "F153M"}
    header |= {"PROPOSID": 14389, "SAMP_SEQ": "SPARS100", "FLATCORR": "COMPLETE"} | cards
    kept = {key: value for key, value in header.items() if value is not None}
    hdus = [fits.PrimaryHDU(header=fits.Header(kept))]
    for version in range(1, reads + 1):
        image = fits.ImageHDU(np.full((size, size), 9.0, dtype=np.float32), name="SCI", ver=version)
        image.header["BUNIT"] = unit
        image.header.update(science)
        hdus += [image, fits.ImageHDU(np.zeros((size, size), dtype=np.int16), name="DQ", ver=version)]
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(hdus).writeto(path)
    return path


def touched(folder: Path, *names: str) -> list[Path]:
    """Make empty files; return their paths."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


# Search


def test_nested_folders_are_searched_in_the_order_of_paths(tmp_path):
    names = ["2016/01/a_flt.fits", "2016/02/b_flt.FITS.gz", "mastDownload/HST/c/c_flt.fits.fz", "z_flt.fits"]
    paths = touched(tmp_path, *names)
    touched(tmp_path, "2016/truth.csv", "2016/notes.fits.txt")
    in_progress = (".a_flt.fits.Xy7q2Z", ".b_flt.fits", "b.fits.part", "f.fits.crdownload", ".cache/g.fits")
    touched(tmp_path, *in_progress)
    flats = touched(tmp_path, "2016/c_dfl.fits.gz", "flats/u4m1335mi_pfl.fits", "flats/y_LFL.fits")
    others = touched(tmp_path, "ich219010_asn.fits", "ich219i8q_drz.fits", "ich219i8q_spt.fits")
    assert find_fits_files(tmp_path) == (paths, [])
    assert find_fits_files(tmp_path, flats=True) == (sorted([*paths, *flats, *others]), [])


def test_links_are_followed_and_each_file_is_found_once(tmp_path):
    folder, elsewhere = tmp_path / "in", tmp_path / "out"
    real, far, single = touched(tmp_path, "in/z/a.fits", "out/b.fits", "single.fits")
    (folder / "again").symlink_to(folder / "z")  # sorted before the folder itself
    (folder / "z" / "cycle").symlink_to(folder)
    (folder / "far").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    (folder / "link.fits").symlink_to(single)
    (folder / "same.fits").symlink_to(real)
    assert find_fits_files(folder) == ([folder / "far" / far.name, folder / "link.fits", real], [])


def test_a_link_to_a_folder_above_is_reported(tmp_path):
    (path,) = touched(tmp_path, "in/a.fits")
    touched(tmp_path, "b.fits")
    (tmp_path / "in/up").symlink_to(tmp_path)
    found, problems = find_fits_files(tmp_path / "in")
    assert found == [path]
    assert [str(one) for one in problems] == [
        f"{tmp_path}/in/up: link to a folder above the searched one. Remove it"
    ]


def test_unreadable_entries_are_reported(tmp_path, monkeypatch):
    (sound, _, _) = touched(tmp_path, "a.fits", "locked.fits", "shut/b.fits")
    (tmp_path / "dangling.fits").symlink_to("gone.fits")
    (tmp_path / "lost").symlink_to("gone")  # perhaps a folder of exposures
    (tmp_path / "loop.fits").symlink_to("loop.fits")
    os.mkfifo(tmp_path / "pipe.fits")
    (tmp_path / "taken.fits").mkdir()  # a folder with such a name is a folder

    def scandir(path):
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return os_scandir(path)

    os_scandir = os.scandir  # permissions do not stop the superuser
    monkeypatch.setattr(search_module.os, "scandir", scandir)
    monkeypatch.setattr(search_module.os, "access", lambda path, _: "locked" not in str(path))
    found, problems = find_fits_files(tmp_path)
    assert found == [sound]
    assert {one.path.name: one.reason for one in problems} == {
        "dangling.fits": "cannot be read (No such file or directory). Repair or remove it",
        "locked.fits": "not a readable file. Repair or remove it",
        "loop.fits": "cannot be read (Too many levels of symbolic links). Repair or remove it",
        "lost": "cannot be read (No such file or directory). Repair or remove it",
        "pipe.fits": "not a readable file. Repair or remove it",
        "shut": "cannot be read (Permission denied). Repair or remove it",
    }


def test_find_exposures_reports_problems_and_needs_a_file(tmp_path):
    (tmp_path / "a.fits").symlink_to("gone.fits")
    reported = []
    with pytest.raises(BlobwatchError, match=r"no FITS file\. Put exposures there"):
        find_exposures(tmp_path, reported.append)
    assert len(reported) == 1
    assert reported[0].startswith(f"{tmp_path}/a.fits: cannot be read (No such file")
    with pytest.raises(BlobwatchError, match=r"absent: not a directory\. Pass the directory"):
        find_exposures(tmp_path / "absent")


# Headers


def test_describe_file_reads_header(tmp_path):
    flats = {"PFLTFILE": "iref$u4m1335mi_pfl.fits", "DFLTFILE": "N/A", "CAL_VER": OLD.version}
    path = write(tmp_path / "a_flt.fits", **flats, DATE=OLD.date)
    assert describe_file(path) == ExposureFile(
        path, "ich219i8q", 57400.5, "F153M", "14389", "SPARS100", "flt", OLD, file_stamp(path)
    )
    assert file_stamp(path) == f"{path.stat().st_size} {path.stat().st_mtime_ns}"
    exposure = read_exposure(path)
    assert (exposure.samp_seq, exposure.product, exposure.calibration) == ("SPARS100", "flt", OLD)


def test_keywords_of_the_science_header_count_where_the_primary_has_none(tmp_path):
    science = {"EXPSTART": 57401.5, "FILTER": "F105W", "FLATCORR": "OMIT", "PROPOSID": 1}
    path = write(tmp_path / "a_flt.fits", science=science, EXPSTART=None, FILTER=None, FLATCORR=None)
    listed = describe_file(path)
    assert (listed.expstart, listed.filter, listed.programme) == (57401.5, "F105W", "14389")
    assert listed.calibration.flats == "none"


@pytest.mark.parametrize(
    ("name", "how", "product", "flats"),
    [
        ("a_flt.fits", {}, "flt", "x_pfl.fits"),
        ("a_raw.fits", {}, "flt", "x_pfl.fits"),  # its extensions are those of a flt
        ("a_ima.fits", {"reads": 2, "size": 1024}, "ima", "x_pfl.fits"),
        ("a.fits", {"reads": 2, "size": 1024, "unit": "COUNTS", "FLATCORR": "PERFORM"}, "raw", "none"),
        ("a.fits", {"reads": 2, "size": 1024, "unit": "COUNTS", "FLATCORR": None}, "raw", "none"),
        ("a.fits", {"reads": 2, "size": 1024, "unit": "COUNTS"}, "ima", "x_pfl.fits"),
    ],
)
def test_product_and_flats(tmp_path, name, how, product, flats):
    listed = describe_file(write(tmp_path / name, **how, PFLTFILE="iref$x_pfl.fits"))
    assert (listed.product, listed.calibration.flats) == (product, flats)


# Versions


def listed(name: str, product: str = "flt", calibration: Calibration = OLD, changed: int = 5) -> ExposureFile:
    return ExposureFile(
        Path("/in") / name, "ich219i8q", 1.0, product=product, calibration=calibration, stamp=f"9 {changed}"
    )


@pytest.mark.parametrize(
    ("used", "other", "reason"),
    [
        (listed("z_flt.fits"), listed("a_raw.fits", "raw", NEW, 9), "product flt, not raw"),
        (listed("z_ima.fits", "ima"), listed("a_raw.fits", "raw"), "product ima, not raw"),
        (
            listed("b_flt.fits", calibration=NEW),
            listed("a_flt.fits", changed=9),
            "CAL_VER 3.5.0, not 3.3",
        ),
        (
            listed("b_flt.fits", calibration=replace(OLD, version="3.10")),
            listed("a_flt.fits", calibration=replace(OLD, version="3.9")),
            "CAL_VER 3.10, not 3.9",
        ),
        (listed("b.fits"), listed("a.fits", calibration=Calibration()), "CAL_VER 3.3, not none"),
        (
            listed("b.fits", calibration=replace(OLD, date="2021-01-01")),
            listed("a.fits", changed=9),
            "calibration date 2021-01-01, not 2019-03-04T22:19:07",
        ),
        (
            listed("b.fits", changed=6),
            listed("a.fits"),
            f"time of change 1970-01-01T00:00:00.{6:09}, not 1970-01-01T00:00:00.{5:09}",
        ),
        (listed("a.fits"), listed("b.fits"), "the first by path"),
    ],
)
def test_selected_version_and_reason(used, other, reason):
    for several in ([used, other], [other, used]):
        chosen, messages = select_versions(several)
        assert chosen == [used]
        assert messages == [f"ich219i8q: 2 files; {used.path.name} is used ({reason})"]


def test_files_with_equal_names_are_reported_with_path():
    several = [listed("2016/a_flt.fits"), listed("2020/a_flt.fits", calibration=NEW), listed("b_flt.fits")]
    _, (message,) = select_versions(several)
    assert message.startswith("ich219i8q: 3 files; /in/2020/a_flt.fits is used (")


def test_select_versions_keeps_order():
    first, last = replace(listed("x.fits"), rootname="a"), replace(listed("y.fits"), rootname="z")
    chosen, messages = select_versions([first, listed("a.fits"), last, listed("b.fits", calibration=NEW)])
    assert [one.path.name for one in chosen] == ["x.fits", "b.fits", "y.fits"]
    assert len(messages) == 1


def test_list_exposures_reports_selection_and_skips_differences(tmp_path):
    write(tmp_path / "2016/a_flt.fits", CAL_VER="3.3")
    newer = write(tmp_path / "2020/a_flt.fits", CAL_VER="3.5.0")
    later = write(tmp_path / "b_flt.fits", ROOTNAME="ich219iaq", EXPSTART=57401.0)
    write(tmp_path / "c_flt.fits", ROOTNAME="ich219ibq", FILTER="F105W")
    header = fits.Header({"FILTER": "F153M", "ROOTNAME": "ich219i8q", "EXPSTART": 57400.5})
    fits.PrimaryHDU(
        np.random.default_rng(1).normal(0, 0.01, (1024, 1024)).astype(np.float32), header
    ).writeto(tmp_path / "a_diff.fits")
    reported = []
    assert [one.path for one in list_exposures(tmp_path, "F153M", reported.append)] == [newer, later]
    assert reported == [
        f"{tmp_path}: 1 difference images are not used as exposures",
        f"ich219i8q: 2 files; {newer} is used (CAL_VER 3.5.0, not 3.3)",
    ]


# Files that are still being written


def test_a_truncated_file_is_incomplete_while_it_changes(tmp_path):
    path = write(tmp_path / "a_flt.fits")
    assert not is_incomplete(path, 1e6)
    path.write_bytes(path.read_bytes()[:-9000])
    assert is_incomplete(path, 1e6)
    os.utime(path, (1.6e9, 1.6e9))
    assert not is_incomplete(path, 60.0)
    assert is_incomplete(tmp_path / "renamed_meanwhile.fits", 60.0)


def test_a_file_without_the_padding_of_its_last_block_is_incomplete(tmp_path):
    """Its data may be complete already; the file is read when it no longer changes."""
    path = write(tmp_path / "a_flt.fits")
    os.truncate(path, path.stat().st_size - 1)
    assert is_incomplete(path, 1e6)
    os.utime(path, (1.6e9, 1.6e9))
    assert not is_incomplete(path, 60.0)


def test_a_compressed_file_has_any_size(tmp_path):
    path = write(tmp_path / "a_flt.fits.gz")
    assert not is_incomplete(path, 1e6)
    path.write_bytes(path.read_bytes()[:-500])
    assert is_incomplete(path, 1e6)


def test_a_file_without_its_last_extensions_is_incomplete(tmp_path):
    whole = write(tmp_path / "a_flt.fits", NEXTEND=2)
    part = shutil.copy(whole, tmp_path / "b_flt.fits")
    assert not is_incomplete(whole, 1e6)
    with fits.open(whole) as hdus:
        end = hdus.fileinfo(1)["datLoc"] + hdus.fileinfo(1)["datSpan"]
    os.truncate(part, end)  # whole blocks: only the announced number of extensions shows that one is missing
    assert is_incomplete(Path(part), 1e6)


# The warning about D-flats


def test_one_warning_names_the_d_flats():
    divided = replace(NEW, dflt="4ac19225i_dfl.fits")
    omitted = replace(divided, flatcorr="OMIT")
    assert dflat_warning([OLD, NEW, omitted]) == ""
    warning = dflat_warning(iter([divided, OLD, divided, omitted]))
    assert warning.startswith(
        "2 of 4 exposures were divided by a D-flat (4ac19225i_dfl.fits): blobs known by"
    )
    assert "--flats" in warning
    assert "raw" in warning


def test_damaged_file_is_reported_unless_strict(tmp_path):
    exposure = write(tmp_path / "a_flt.fits")
    damaged = write(tmp_path / "b_flt.fits", ROOTNAME="ich219iaq")
    damaged.write_bytes(damaged.read_bytes()[:9000])
    with pytest.raises(BlobwatchError, match=r"b_flt\.fits: not a readable FITS file .truncated"):
        list_exposures(tmp_path)
    reported = []
    assert [one.path for one in list_exposures(tmp_path, report=reported.append, strict=False)] == [exposure]
    assert "b_flt.fits: not a readable FITS file (truncated" in reported[0]
