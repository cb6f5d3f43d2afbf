"""What a file is, and what would be done with it."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from instrument.test_exposures import group, primary, ramp, raw, written
from synthetic import image_with_blobs, write_exposure, write_image

from blobwatch.cli.output.predict import run_inspect
from blobwatch.errors import BlobwatchError
from blobwatch.figures.inspection import histogram, plot_inspection
from blobwatch.inspection import inspect


def test_inspect_flt(flt, capsys):
    found = inspect(flt)
    assert (found.kind, found.usable) == ("flt", True)
    assert found.use.startswith("used as an exposure: its rate per pixel; flagged pixels out")
    assert found.header["TARGNAME"] == "DARK-EARTH-CALIB"
    assert found.header["BUNIT"] == "ELECTRONS/S"
    assert [one["name"] for one in found.extensions] == ["PRIMARY", "SCI", "ERR", "DQ", "SAMP", "TIME"]
    assert found.extensions[1]["shape"] == [1014, 1014]
    read = fits.getdata(flt, "DQ")
    assert found.flags[512] == ((read & 512) > 0).sum()
    assert found.statistics["unit"] == "electrons/s"
    assert found.statistics["percentiles"]["50"] == pytest.approx(np.median(fits.getdata(flt)))
    assert found.quality.flagged < 0.05

    assert run_inspect([flt], None, Path("absent"), as_json=False, plot=None)
    said = capsys.readouterr().out
    assert "light, electrons per pixel" in said
    assert "sigma about the level" in said


def test_inspect_raw_ima_and_difference(tmp_path):
    signal = np.full((1024, 1024), 6000.0) + np.random.default_rng(2).normal(0, 50, (1024, 1024))
    ramped = inspect(raw(tmp_path / "a_raw.fits", signal))
    assert (ramped.kind, ramped.usable) == ("raw", True)
    assert "the rate fitted to its reads" in ramped.use
    assert ramped.extensions[2]["stored"] == "constant 0.0"
    assert ramped.as_json()["quality"]["excess"] is None
    noisy = (20 + np.random.default_rng(3).normal(0, 0.16, (1024, 1024))).astype(np.float32)
    ima = written(tmp_path / "a_ima.fits", primary(EXPTIME=800.0), *group(noisy), *group(noisy, version=2))
    assert inspect(ima).kind == "ima"
    assert "the rate fitted to its reads" in inspect(ima).use
    found = inspect(write_image(tmp_path / "d.fits", image_with_blobs([])))
    assert (found.kind, found.use) == (
        "difference",
        "used as it is, new blobs positive: blobwatch predict FILE",
    )
    assert found.statistics["noise"] == pytest.approx(0.01, rel=0.02)


def test_unusable_files_are_described(tmp_path, capsys):
    light = np.linspace(0.1, 1.9, 1024)[None, :] * np.ones((1024, 1))
    bad = write_exposure(tmp_path, 1, light=light)
    grism = written(tmp_path / "g_flt.fits", primary(FILTER="G141"), *group(ramp(1014)))
    flat = write_image(tmp_path / "flat.fits", np.ones((1024, 1024), np.float32))
    found = [inspect(path) for path in (bad, grism, flat)]
    assert [one.usable for one in found] == [False] * 3
    assert [one.kind for one in found] == ["flt", "unusable", "difference"]
    assert found[0].use.startswith("not used: rejected (glow gradient ")
    assert "grism exposure (G141)" in found[1].use
    assert "has no noise" in found[2].use
    assert run_inspect([bad, grism, flat], None, Path("absent"), as_json=True, plot=tmp_path / "p")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["use"] for line in lines] == [one.use for one in found]
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["iaaa0101q_flt.png"]


def test_unreadable_file_does_not_stop_the_others(flt, tmp_path, capsys):
    (tmp_path / "bad.fits").write_text("no")
    with pytest.raises(BlobwatchError, match="not a readable FITS file"):
        inspect(tmp_path / "bad.fits")
    assert not run_inspect([tmp_path / "bad.fits", flt], None, Path("absent"), as_json=True, plot=None)
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "not a readable FITS file" in first["error"]
    assert second["kind"] == "flt"


def test_histogram_counts_all_finite_pixels(flt):
    found = inspect(flt)
    counts, edges = histogram(found.image)
    assert counts.sum() == np.isfinite(found.image).sum()
    assert (edges[0], edges[-1]) == (-6.0, 6.0)
    figure = plot_inspection(found)
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == ["x [pixel]", "sigma above the level"]
