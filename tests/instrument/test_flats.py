"""Flat fields undone: which files are found, what becomes of the pixels, what is refused."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from blobwatch.errors import BlobwatchError
from blobwatch.instrument.calibration import Calibration
from blobwatch.instrument.exposures import Exposure
from blobwatch.instrument.flats import FlatFields, read_flat

PFL, DFL, LFL = "u4m1335mi_pfl.fits", "4ac19225i_dfl.fits", "x_lfl.fits"


def exposure(**calibration: str) -> Exposure:
    """Return an exposure whose every pixel has its own value."""
    image = 10 + np.arange(1024 * 1024.0).reshape(1024, 1024) % 977
    about = Calibration(**{"flatcorr": "COMPLETE", "pflt": PFL} | calibration)
    arrays = {"image": image, "dq": np.zeros((1024, 1024), dtype=np.int16)}
    return Exposure(
        Path("a_flt.fits"), "ich219i8q", 57400.5, calibration=about, **arrays, exptime=100.0, gain=1.0
    )


def flat(seed: int, size: int = 1024) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.8, 1.2, (size, size)).astype(np.float32)


def write_flat(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels, name="SCI")]).writeto(path)
    return path


def test_flats_named_in_header_are_multiplied(tmp_path):
    low, delta, pixel = flat(1), flat(2, 1014), flat(3)
    pixel[700, 300], pixel[300, 700] = 0.0, np.inf
    write_flat(tmp_path / PFL, pixel)
    write_flat(tmp_path / "hst/wfc3" / f"{DFL}.gz", delta)
    write_flat(tmp_path / "low" / LFL.upper(), low)
    before = exposure(dflt=DFL, lflt=LFL)
    after = FlatFields(tmp_path).undo(before)
    assert np.isnan(after.image[[700, 300], [300, 700]]).all()
    inner = slice(5, -5)
    expected = (before.image * pixel * low)[inner, inner] * delta
    expected[[695, 295], [295, 695]] = np.nan
    np.testing.assert_allclose(after.image[inner, inner], expected, rtol=1e-6)
    assert np.isnan(after.image).sum() == 1024**2 - 1014**2 + 2
    assert after.image.dtype == np.float64
    assert after.calibration == replace(before.calibration, flatcorr="OMIT")
    assert after.calibration.flats == "none"
    assert (after.rootname, after.dq is before.dq) == (before.rootname, True)
    assert before.image[700, 300] > 0  # the exposure itself is unchanged


def test_undo_restores_original_image(tmp_path):
    pixel = flat(4)
    write_flat(tmp_path / PFL, pixel)
    raw = exposure(flatcorr="OMIT")
    flat_fielded = replace(raw, image=raw.image / pixel, calibration=exposure().calibration)
    np.testing.assert_allclose(FlatFields(tmp_path).undo(flat_fielded).image, raw.image, rtol=1e-6)


@pytest.mark.parametrize(
    "calibration", [{"flatcorr": "OMIT"}, {"flatcorr": "PERFORM"}, {"flatcorr": "", "pflt": ""}]
)
def test_an_exposure_without_flats_is_returned_as_it_is(tmp_path, calibration):
    one = exposure(**calibration)
    assert FlatFields(tmp_path).undo(one) is one


def test_flats_of_raw_are_not_undone(tmp_path):
    one = replace(exposure(flatcorr=""), product="raw")
    assert FlatFields(tmp_path).undo(one) is one


def test_flat_is_cached_and_not_pickled(tmp_path):
    path = write_flat(tmp_path / PFL, flat(5))
    flats = FlatFields(tmp_path)
    image = flats.undo(exposure()).image
    path.unlink()
    assert np.array_equal(flats.undo(exposure()).image, image)
    assert len(pickle.dumps(flats)) < 2000  # as it travels to a worker


def test_missing_flat_error_has_remedy(tmp_path):
    write_flat(tmp_path / PFL, flat(6))
    with pytest.raises(
        BlobwatchError, match=rf"{DFL}: flat not found, a_flt\.fits .*fetch --flats.*FLATCORR"
    ):
        FlatFields(tmp_path).undo(exposure(dflt=DFL))
    with pytest.raises(BlobwatchError, match=r"a_flt\.fits: FLATCORR is COMPLETE and no flat is named"):
        FlatFields(tmp_path).undo(exposure(pflt=""))
    with pytest.raises(BlobwatchError, match=r"absent: not a directory"):
        FlatFields(tmp_path / "absent")


def test_invalid_flat_is_rejected(tmp_path):
    with pytest.raises(BlobwatchError, match=r"small_pfl\.fits: the flat is 512 x 512"):
        read_flat(write_flat(tmp_path / "small_pfl.fits", flat(7, 512)))
    with pytest.raises(BlobwatchError, match=r"zero_pfl\.fits: no usable pixel"):
        read_flat(write_flat(tmp_path / "zero_pfl.fits", np.zeros((1014, 1014), dtype=np.float32)))
    fits.PrimaryHDU().writeto(tmp_path / "empty_pfl.fits")
    with pytest.raises(BlobwatchError, match=r"empty_pfl\.fits: no image"):
        read_flat(tmp_path / "empty_pfl.fits")
