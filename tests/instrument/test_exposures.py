"""The one door to FITS: every form that is accepted, and a sentence for everything that is not."""

from functools import partial

import numpy as np
import pytest
from astropy.io import fits
from instrument import oddfiles
from instrument.oddfiles import write as written

from blobwatch.errors import BlobwatchError
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.differences import FRACTION_STEP, read_difference, write_difference
from blobwatch.instrument.exposures import FLUX_STEP, read_exposure, write_flt
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.kinds import is_difference

primary = partial(oddfiles.primary, EXPTIME=100.0, SAMP_SEQ=None, NSAMP=None)


def group(image, unit="ELECTRONS/S", version=1) -> list:
    """One read: SCI with its unit, and a DQ plane that flags the pixel (x=7, y=3)."""
    science = fits.ImageHDU(image, name="SCI", ver=version)
    science.header["BUNIT"] = unit
    dq = np.zeros(image.shape, dtype=np.int16)
    dq[3, 7] = 4
    return [science, fits.ImageHDU(dq, name="DQ", ver=version)]


def ramp(size: int = wfc3ir.SIZE, scale: float = 1.0) -> np.ndarray:
    """An image whose every pixel has its own value, so that any misplacement shows."""
    return (scale * (1.0 + np.arange(size * size).reshape(size, size) % 8191)).astype(np.float32)


# What is accepted as an exposure


def test_flt_is_embedded_with_a_border_of_five(tmp_path):
    image = ramp(wfc3ir.FLT_SIZE)
    read = read_exposure(written(tmp_path / "ich219i8q_flt.fits", primary(), *group(image)))
    assert read.image.shape == (1024, 1024)
    assert read.image.dtype == np.float64
    assert read.image[5 + 701, 5 + 300] == image[701, 300]
    assert np.array_equal(read.image[5:-5, 5:-5], image)
    assert np.isnan(read.image).sum() == 1024**2 - 1014**2
    assert read.dq[8, 12] == 4  # (x=7, y=3) of the flt
    assert np.count_nonzero(read.dq) == 1
    assert (read.rootname, read.filter, read.programme) == ("ich219i8q", "F153M", "14000")
    assert (read.expstart, read.exptime) == (57400.5, 100.0)


def test_ima_keeps_its_frame_and_loses_the_reference_border(tmp_path):
    image = ramp()
    newest, older = group(image), group(image / 2, version=2)
    read = read_exposure(written(tmp_path / "a_ima.fits", primary(), *newest, *older))
    assert read.image[701, 300] == image[701, 300]
    assert np.isnan(read.image[:5]).all()
    assert np.isnan(read.image[:, -5:]).all()
    assert read.dq[3, 7] == 4


def raw(path, signal: np.ndarray, nsamp: int = 4, drift: float = 7.0, **cards):
    """Write a ramp as calibration gets it: unsigned counts, newest read first, a bias that drifts.

    Every pixel begins at a reset level of its own; the zeroth read has 3 % of the signal. The outermost
    reference pixels follow a pattern of their own, and two inner ones are bad.
    """
    rng = np.random.default_rng(7)
    reset = 11000 + rng.integers(0, 500, (1024, 1024))
    light = np.zeros((1024, 1024))
    light[5:-5, 5:-5] = signal[5:-5, 5:-5]
    hdus = [primary(NSAMP=nsamp, EXPTIME=100.0, **cards)]
    for version in range(1, nsamp + 1):
        share = 1 - (version - 1) / (nsamp - 1)  # of the time since the zeroth read
        read = reset + light * (0.03 + share) + drift * (nsamp - version)
        read[:, [0, -1]] += 900 * version
        read[200, 2] += 30000 * share
        dq = np.zeros((1024, 1024), dtype=np.int16)
        dq[200, 2] = wfc3ir.DQ_BAD_REFERENCE
        science = fits.ImageHDU(np.round(read).astype(np.uint16), name="SCI", ver=version)
        science.header.update({"BUNIT": "COUNTS", "SAMPTIME": 2.0 + 100.0 * share})
        error = fits.ImageHDU(name="ERR", ver=version)
        error.header.update({"NPIX1": 1024, "NPIX2": 1024, "PIXVALUE": 0.0})
        hdus += [science, error, fits.ImageHDU(dq, name="DQ", ver=version)]
    return written(path, *hdus)


def test_raw_is_the_newest_read_minus_the_zeroth_without_the_drift_of_the_bias(tmp_path):
    signal = np.zeros((1024, 1024))
    signal[5:-5, 5:-5] = 4000.0 + ramp()[5:-5, 5:-5] % 97
    for drift in (0.0, 7.0, -40.0):
        read = read_exposure(raw(tmp_path / f"a{drift}_raw.fits", signal, drift=drift))
        inner = slice(5, -5)
        assert np.abs(read.image[inner, inner] - signal[inner, inner] / 100.0).max() < 0.011  # rounding
        assert np.isnan(read.image[:5]).all()
        assert read.gain == pytest.approx(2.35, abs=0.01)


def test_full_wells_of_a_raw_are_flagged(tmp_path):
    signal = np.full((1024, 1024), 4000.0)
    signal[700, 300] = 1.1 * wfc3ir.SATURATION / 2.35
    read = read_exposure(raw(tmp_path / "a_raw.fits", signal))
    assert read.dq[700, 300] == wfc3ir.DQ_SATURATED
    assert (read.dq[5:-5, 5:-5] != 0).sum() == 1


def test_flt_round_trip_is_exact(tmp_path):
    rng = np.random.default_rng(5)
    shape = (1014, 1014)
    planes = {
        "SCI": rng.normal(20, 1, shape),
        "ERR": rng.uniform(0, 1, shape),
        "DQ": rng.integers(0, 2**14, shape),
        "SAMP": np.full(shape, 9),
        "TIME": np.full(shape, 802.9),
    }
    path = tmp_path / "ich219i8q_flt.fits"
    write_flt(path, primary().header, planes)
    read = read_exposure(path)
    expected = np.round(planes["SCI"] / FLUX_STEP) * FLUX_STEP
    assert np.array_equal(read.image[5:-5, 5:-5], expected)
    assert np.array_equal(read.dq[5:-5, 5:-5], planes["DQ"])
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "ERR", "DQ", "SAMP", "TIME"]
        assert hdus["SCI"].header["BUNIT"] == "ELECTRONS/S"
        assert hdus["TIME"].data[0, 0] == pytest.approx(802.9, abs=0.01)


def test_rounding_is_small_compared_with_noise(taken):
    noise = 0.0078 * np.nanmedian(taken[0].image)  # electrons/s
    longest = max(wfc3ir.EXPOSURE_TIMES.values())
    assert 0.0075 * 14_000 / longest > 5 * FLUX_STEP  # the faintest the simulator makes
    assert noise > 5 * FLUX_STEP
    assert 50 * FRACTION_STEP < 0.0078


# What is accepted as a difference image


def frame(offset: float = 0.0) -> np.ndarray:
    return (ramp() / 8192 + offset).astype(np.float32)


def test_difference_product_has_stack_and_noise(tmp_path):
    image, stack, noise = (np.full((1024, 1024), value) for value in (0.25, 1.0, 0.0078125))
    image[701, 300] = 0.5
    image[10, 20] = np.nan
    path = tmp_path / "x_diff.fits"
    write_difference(path, primary(ROOTNAME="izzz0001q").header, image, stack, noise)
    read = read_difference(path)
    assert read.rootname == "izzz0001q"
    assert read.image[701, 300] == 0.5
    assert np.isnan(read.image[10, 20])
    assert (read.stack == 1.0).all()
    assert (read.noise == 0.0078125).all()
    assert read.header["EXPSTART"] == 57400.5


def test_a_product_is_read_back_to_its_step_and_written_the_same_again(tmp_path):
    rng = np.random.default_rng(4)
    image = rng.normal(0.0, 0.01, (1024, 1024))
    image[3, 7], image[4, 7], image[5, 7] = np.nan, 5.0, -40.0  # the latter two reach beyond int16
    path = tmp_path / "x_diff.fits"
    again = tmp_path / "y_diff.fits"
    for target in (path, again):
        write_difference(target, primary().header, image, image, image)
    assert again.read_bytes() == path.read_bytes()
    read = read_difference(path).image
    most = 32767 * FRACTION_STEP
    expected = np.clip(np.round(image / FRACTION_STEP) * FRACTION_STEP, -most, most).astype(np.float32)
    assert np.array_equal(read, expected, equal_nan=True)
    assert np.array_equal(read_difference(path, only_image=True).image, read, equal_nan=True)


def test_only_image_does_not_read_other_extensions(tmp_path):
    """A product whose stack was lost is still judged; whoever wants all of it is told."""
    path = tmp_path / "x_diff.fits"
    write_difference(path, primary().header, frame() - 0.5, frame(), frame())
    with fits.open(path) as hdus:
        end = hdus["DIFF"].fileinfo()["datLoc"] + hdus["DIFF"].fileinfo()["datSpan"]
    content = path.read_bytes()
    path.write_bytes(content[: end + 6000])
    with open_fits(path, only_image=True) as hdus:
        assert is_difference(hdus)
        assert read_difference(path, hdus, only_image=True).image.shape == (1024, 1024)
    with pytest.raises(BlobwatchError, match=r"x_diff\.fits: not a readable FITS file"):
        read_difference(path)
    path.write_bytes(content[: end - 3000])
    with pytest.raises(BlobwatchError, match=r"x_diff\.fits: (not a readable|damaged)"):
        read_difference(path, only_image=True)


# What is refused, each with one sentence


def test_damaged_compressed_tile(tmp_path, flt):
    with fits.open(flt, disable_image_compression=True) as hdus:
        start = hdus["SCI"].fileinfo()["datLoc"]
        table = hdus["SCI"].header["NAXIS1"] * hdus["SCI"].header["NAXIS2"]
    content = bytearray(flt.read_bytes())
    content[start : start + table] = b"\xff" * table  # where each tile lies
    path = tmp_path / flt.name
    path.write_bytes(bytes(content))
    with pytest.raises(BlobwatchError, match="damaged"):
        read_exposure(path)
