"""Warnings about defects of files: one line each on stderr."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from threading import Thread

import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from instrument.oddfiles import card, edited, primary, write
from synthetic import image_with_blobs, parse_json_lines, write_image

from blobwatch.archive.headers import list_files, read_headers
from blobwatch.archive.worker import Chunk, ScanConfig, predict_chunk
from blobwatch.artefact import Model
from blobwatch.errors import FileWarning, collect_file_warnings, warn_file
from blobwatch.instrument.blobs import Blob
from blobwatch.instrument.fitsfile import astropy_warnings
from blobwatch.progress import map_in_processes
from blobwatch.settings import DifferenceSettings

LOUD = Blob(x=411.8, y=89.1, half_width=4.0, depth=0.04)
SAID = r"extension 0, card \d+ \(PROPOSID\): bytes beyond ASCII"


@pytest.fixture
def odd(tmp_path) -> Path:
    """Return a difference image with a blob and a non-ASCII byte in its header."""
    path = tmp_path / "odd.fits"
    accent = card(b"PROPOSID", b"PROPOSID=                14000 / caf\xe9")
    edited(accent, lambda plain: write(plain, primary(image_with_blobs([LOUD]))))(path)
    return path


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "blobwatch.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_predict_prints_warning_and_result(odd, box_model):
    done = run("predict", odd, odd, "--model", box_model, "--json")
    assert done.returncode == 0
    assert [len(line["blobs"]) for line in parse_json_lines(done.stdout)] == [1, 1]
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"blobwatch: warning: {odd}: extension 0, card ")


def test_inspect_lists_warnings_and_calibration(tmp_path, odd):
    done = run("inspect", odd, "--json")
    (found,) = parse_json_lines(done.stdout)
    (text,) = found["warnings"]
    assert "bytes beyond ASCII" in text
    write_image(tmp_path / "d.fits", image_with_blobs([]), PFLTFILE="iref$x_pfl.fits", CAL_VER="3.5.2")
    for_people = run("inspect", odd, tmp_path / "d.fits")
    assert f"warning: {text}" in for_people.stdout
    assert "iref$x_pfl.fits" in for_people.stdout
    assert "3.5.2" in for_people.stdout
    assert for_people.stderr == ""


def test_scan_worker_returns_row_and_warning(odd, box_model):
    with pytest.warns(FileWarning, match=SAID):
        (file,) = read_headers(list_files(odd.parent))
    config = ScanConfig(Model.load(box_model), DifferenceSettings())
    (row,) = predict_chunk(Chunk(config, ((file, "identity"),), ()))
    assert (row["error"], row["count"], row["filter"]) == (None, 1, "F153M")
    (text,) = row["warnings"]
    assert text.startswith(f"{odd}: extension 0")


def warned(number: int) -> int:
    warn_file(Path("a.fits"), "odd")
    return os.getpid()


def test_warnings_of_processes_are_printed_once(capsys):
    pids = set(map_in_processes(warned, list(range(4)), "work", workers=2))
    assert os.getpid() not in pids
    assert capsys.readouterr().err.count("blobwatch: warning: a.fits: odd") == 1


def warn_both() -> list[str]:
    with astropy_warnings() as found:
        warnings.warn("from elsewhere", UserWarning, stacklevel=1)
        warnings.warn("from astropy", AstropyUserWarning, stacklevel=1)
    return found


def test_other_warnings_are_not_collected():
    with pytest.warns(UserWarning, match="from elsewhere"):
        found = warn_both()
    assert found == ["from astropy"]


def warn_in_two_threads() -> list[str]:
    with collect_file_warnings() as found:
        thread = Thread(target=warn_file, args=("b.fits", "seen"))
        thread.start()
        thread.join()
        for _ in range(2):
            warn_file("a.fits", "collected")
    return found


def test_warnings_of_other_threads_are_not_collected():
    with pytest.warns(FileWarning, match="seen"):
        found = warn_in_two_threads()
    assert found == ["a.fits: collected"]


def test_malformed_filter_card_is_read(tmp_path):
    """The survey of a scan is as tolerant as predict."""
    path = tmp_path / "a.fits"
    edited(card(b"FILTER", b"FILTER  = F105W"), lambda plain: write(plain, primary(image_with_blobs([]))))(
        path
    )
    with pytest.warns(FileWarning, match=r"\(FILTER\): a value that is malformed"):
        (file,) = read_headers([path])
    assert file.filter == "F105W"
    assert fits.getval(path, "ROOTNAME") == "ich219i8q"
