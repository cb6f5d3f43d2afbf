"""Stage ``difference``: products, provenance and errors."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from blobwatch import __version__
from blobwatch.errors import BlobwatchError
from blobwatch.files import folder_hash, read_table
from blobwatch.images.flatten import blob_image
from blobwatch.instrument.differences import FRACTION_STEP, read_difference
from blobwatch.instrument.exposure_files import list_exposures
from blobwatch.instrument.exposures import read_exposure
from blobwatch.overrules import Overrule, append_overrules
from blobwatch.stages.difference import INDEX, QUALITY, difference, load_history
from blobwatch.stages.simulate import simulate

NO_OVERRULES = Path("absent")


@pytest.fixture(scope="module")
def settings(params):
    return replace(params.difference, days=30.0, minimum=3)


@pytest.fixture(scope="module")
def exposures(params, tmp_path_factory):
    """Five exposures within ten days."""
    folder = tmp_path_factory.mktemp("raw") / "simulated"
    own = params.simulate.model_copy(update={"days": 10.0, "exposures": 5, "bad_exposures": 0})
    simulate(folder, own, seed=3, workers=1)
    return folder


@pytest.fixture(scope="module")
def made(exposures, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "difference"
    load_history.cache_clear()
    assert difference(exposures, NO_OVERRULES, folder, settings, "F153M", workers=1) == 2
    return folder


def changed_copy(source, target, **cards):
    """Copy a FITS file with other primary cards; None removes one."""
    shutil.copy(source, target)
    with fits.open(target, mode="update") as hdus:
        for key, value in cards.items():
            if value is None:
                del hdus[0].header[key]
            else:
                hdus[0].header[key] = value
    return target


@pytest.fixture(scope="module")
def listed(exposures):
    return list_exposures(exposures, "F153M")


def rows_of(folder) -> list[dict]:
    return read_table(folder / INDEX)


def test_index_lists_products_and_reasons(made, listed):
    rows = rows_of(made)
    names = [one.rootname for one in listed]
    assert [row["rootname"] for row in rows] == names
    assert [row["path"] for row in rows] == ["", "", "", f"{names[3]}_diff.fits", f"{names[4]}_diff.fits"]
    assert rows[2]["reason"].startswith(
        f"{names[2]}: 2 accepted exposures in the 30 days before it, a stack needs 3;"
    )
    assert rows[4]["stack"].split() == names[:4]
    assert rows[4]["reason"] == ""
    assert sorted(path.name for path in made.iterdir()) == sorted(
        [INDEX, QUALITY, *(r["path"] for r in rows[3:])]
    )


def test_product_is_median_stack_minus_exposure(made, listed, settings):
    images = []
    for one in listed:
        read = read_exposure(one.path)
        images.append(blob_image(read.image, read.dq, settings.box))
    product = read_difference(made / f"{listed[4].rootname}_diff.fits")
    known = np.isfinite(images[:4]).all(axis=0)
    stack = np.median(images[:4], axis=0)
    assert np.abs(product.stack - stack)[known].max() < 1.01 * FRACTION_STEP
    assert np.nanmax(np.abs(product.image - (stack - images[4]))[known]) < 1.01 * FRACTION_STEP
    unknown = np.isnan(images[4]) | np.isnan(images[:4]).all(axis=0)
    np.testing.assert_array_equal(np.isnan(product.image), unknown)
    assert np.isfinite(product.noise).all()
    assert 0.006 < np.median(product.noise) < 0.012


def test_header_contains_provenance_without_directory(made, exposures, listed, settings):
    last = listed[4]
    with fits.open(made / f"{last.rootname}_diff.fits") as hdus:
        header = hdus[0].header
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DIFF", "STACK", "NOISE"]
        assert hdus["DIFF"].header["BUNIT"] == "FRACTION"
    expected = {
        "ROOTNAME": last.rootname,
        "EXPSTART": last.expstart,
        "FILTER": "F153M",
        "BLOBWVER": __version__,
        "BOX": settings.box,
        "STKDAYS": 30.0,
        "NSTACK": 4,
        "SRCFILE": last.path.name,
        "SRCMD5": hashlib.md5(last.path.read_bytes()).hexdigest(),
    }
    assert {key: header[key] for key in expected} == expected
    assert [header[f"STK{n:05d}"] for n in range(1, 5)] == [one.rootname for one in listed[:4]]
    assert str(exposures) not in repr(header)


def test_output_is_independent_of_workers(made, exposures, settings, tmp_path):
    difference(exposures, NO_OVERRULES, tmp_path / "difference", settings, "F153M", workers=2)
    assert folder_hash(tmp_path / "difference") == folder_hash(made)


def test_product_is_independent_of_later_exposures(made, listed, settings, tmp_path):
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    for one in listed[:4]:
        shutil.copy(one.path, earlier)
    difference(earlier, NO_OVERRULES, tmp_path / "difference", settings, "F153M", workers=1)
    name = f"{listed[3].rootname}_diff.fits"
    assert (tmp_path / "difference" / name).read_bytes() == (made / name).read_bytes()


def test_bad_exposures_and_darks_are_rejected(made, listed, params, settings, tmp_path):
    folder = tmp_path / "raw"
    own = params.simulate.model_copy(update={"days": 10.0, "exposures": 5, "bad_exposures": 1})
    simulate(folder, own, seed=3, workers=2)
    names = [one.rootname for one in listed]
    changed_copy(
        folder / f"{names[0]}_flt.fits", folder / "izzzdark0_flt.fits", IMAGETYP="DARK", ROOTNAME="izzzdark0"
    )
    assert difference(folder, NO_OVERRULES, tmp_path / "difference", settings, "F153M", workers=2) == 2
    for name in names[3:]:  # as if the others were not there
        product = f"{name}_diff.fits"
        assert (tmp_path / "difference" / product).read_bytes() == (made / product).read_bytes()
    measured = {row["rootname"]: row for row in read_table(tmp_path / "difference" / QUALITY)}
    assert len(measured) == 7
    assert [measured[name]["rejection"] for name in names] == [""] * 5
    assert 0.9 < float(measured[names[4]]["excess"]) < 1.1
    rows = rows_of(tmp_path / "difference")
    bad = {row["rootname"]: row["reason"] for row in rows if row["rootname"] not in names}
    assert len(bad) == 2
    assert bad["izzzdark0"].startswith("izzzdark0_flt.fits: dark")
    assert sorted(reason.split()[0] for reason in bad.values()) == ["glow", "izzzdark0_flt.fits:"]
    assert bad == {name: measured[name]["rejection"] for name in bad}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "few",
            r"has a stack: \w+: 0 accepted exposures in the 30 days before it, a stack needs 5",
        ),
        ("empty", r"no FITS file\. Put exposures there"),
        ("absent", "not a directory"),
        ("filter", r"no exposure in F105W\. Set data\.filter or add"),
        ("damaged", "damaged"),
    ],
)
def test_unusable_exposures_keep_old_products(exposures, settings, tmp_path, fault, message):
    target, folder = tmp_path / "difference", tmp_path / "raw"
    target.mkdir()
    (target / "kept.txt").write_text("old")
    if fault == "empty":
        folder.mkdir()
    elif fault != "absent":
        shutil.copytree(exposures, folder)
    if fault == "damaged":
        victim = sorted(folder.glob("*.fits"))[2]
        victim.write_bytes(victim.read_bytes()[:300_000])
        message = rf"{victim.name}: not a readable FITS file .truncated"
    if fault == "few":
        settings = replace(settings, minimum=5)
    with pytest.raises(BlobwatchError, match=message):
        difference(
            folder, NO_OVERRULES, target, settings, "F105W" if fault == "filter" else "F153M", workers=1
        )
    assert [path.name for path in target.iterdir()] == ["kept.txt"]


def test_nested_folders_give_relative_paths(made, exposures, settings, tmp_path):
    paths = sorted(exposures.glob("*.fits"))
    for number, path in enumerate(paths):
        place = tmp_path / "raw" / ("2016" if number < 3 else "2017/01") / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    load_history.cache_clear()
    assert difference(tmp_path / "raw", NO_OVERRULES, tmp_path / "out", settings, "F153M", workers=1) == 2
    rows, flat_rows = rows_of(tmp_path / "out"), rows_of(made)
    assert [row["exposure"] for row in rows] == [
        f"{'2016' if number < 3 else '2017/01'}/{path.name}" for number, path in enumerate(paths)
    ]
    assert [row | {"exposure": ""} for row in rows] == [row | {"exposure": ""} for row in flat_rows]


def test_missing_rootname_is_taken_from_file_name(exposures, tmp_path):
    path = tmp_path / "ich219i8q_flt.fits"
    changed_copy(sorted(exposures.glob("*.fits"))[0], path, ROOTNAME=None)
    with fits.open(path, mode="update") as hdus:
        del hdus["SCI"].header["ROOTNAME"]
    assert [one.rootname for one in list_exposures(tmp_path, "F153M")] == ["ich219i8q"]


def test_overrule_is_applied(exposures, settings, tmp_path):
    names = [one.rootname for one in list_exposures(exposures)]
    decision = Overrule(names[1], "reject", "Ada", "2026-11-27T00:00:00+00:00", "guiding was lost")
    append_overrules(tmp_path, [decision])
    difference(exposures, tmp_path, tmp_path / "difference", settings, "F153M", workers=1)
    rows = {row["rootname"]: row for row in rows_of(tmp_path / "difference")}
    assert rows[names[1]]["reason"] == "overruled by Ada: guiding was lost"
    assert rows[names[4]]["stack"].split() == [names[0], names[2], names[3]]
