"""Exposures and flat fields as FITS files, written with astropy and nothing of the package."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits
from seasons.frame import BORDER, SIZE

CARDS = """ORIGIN=HSTIO/CFITSIO FILETYPE=SCI TELESCOP=HST INSTRUME=WFC3 IMAGETYP=EXT PRIMESI=WFC3
TARGNAME=DARK-EARTH-CALIB FGSLOCK=GYROS GYROMODE=T REFFRAME=ICRS EXPFLAG=NORMAL OBSTYPE=IMAGING
OBSMODE=MULTIACCUM SCLAMP=NONE SUBTYPE=FULLIMAG DETECTOR=IR FILTER=F153M SAMP_SEQ=SPARS100 APERTURE=IR
DIRIMAGE=NONE SCAN_TYP=N CSMID=IR DQICORR=COMPLETE ZSIGCORR=COMPLETE ZOFFCORR=COMPLETE DARKCORR=COMPLETE
BLEVCORR=COMPLETE NLINCORR=COMPLETE FLATCORR=COMPLETE CRCORR=COMPLETE UNITCORR=COMPLETE PHOTCORR=COMPLETE
RPTCORR=OMIT PFLTFILE=N/A DFLTFILE=N/A LFLTFILE=N/A PATTERN1=NONE"""
BIAS, GAINS = 10_500.0, (2.28, 2.22, 2.25, 2.26)  # DN (chosen); electrons per DN, measured 2.22-2.28
ZERO_READ = 2.911756  # seconds


def primary_header(rootname: str, expstart: float, seconds: float, nsamp: int, cards: dict) -> fits.Header:
    """Return a primary header in the forms of a real one."""
    begin = datetime(1858, 11, 17) + timedelta(days=expstart)
    header = fits.Header()
    header.update(dict(word.split("=") for word in CARDS.split()))
    header.update({"ROOTNAME": rootname, "SUBARRAY": False, "EQUINOX": 2000.0, "PROPOSID": 14392})
    header.update({"DATE-OBS": f"{begin:%Y-%m-%d}", "TIME-OBS": f"{begin:%H:%M:%S}", "EXPTIME": seconds})
    header.update({"EXPSTART": expstart, "EXPEND": expstart + seconds / 86400, "SAMPZERO": ZERO_READ})
    header.update({"NSAMP": nsamp, "NRPTEXP": 1, "CCDGAIN": 2.5})
    header.update(cards)
    return header


def constant(name: str, value: float, size: int, ver: int = 1) -> fits.ImageHDU:
    """Return an extension without pixels whose value is that of a keyword, as HST files have it."""
    hdu = fits.ImageHDU(name=name, ver=ver)
    hdu.header.update({"PIXVALUE": value, "NPIX1": size, "NPIX2": size})
    return hdu


def image(name: str, pixels: np.ndarray, unit: str = "", ver: int = 1) -> fits.ImageHDU:
    """Return an extension with pixels."""
    hdu = fits.ImageHDU(pixels, name=name, ver=ver)
    if unit:
        hdu.header["BUNIT"] = unit
    return hdu


def write_flt(folder: Path, header: fits.Header, electrons: np.ndarray, flags: np.ndarray) -> Path:
    """Write a calibrated exposure: 1014 x 1014, electrons per second; returns its path.

    Parameters
    ----------
    electrons, flags : ndarray, shape (1024, 1024)
    """
    inner = slice(BORDER, -BORDER)
    counts, seconds, size = electrons[inner, inner], header["EXPTIME"], SIZE - 2 * BORDER
    error = np.sqrt(np.maximum(counts, 0) + 21.0**2) / seconds
    path = folder / f"{header['ROOTNAME']}_flt.fits"
    header["FILENAME"] = path.name
    hdus = [
        fits.PrimaryHDU(header=header),
        image("SCI", (counts / seconds).astype(np.float32), "ELECTRONS/S"),
        image("ERR", error.astype(np.float32), "ELECTRONS/S"),
        image("DQ", flags[inner, inner].astype(np.int16)),
        constant("SAMP", header["NSAMP"] - 1, size),
        constant("TIME", seconds, size),
    ]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def gain_map() -> np.ndarray:
    """Return electrons per DN of the four amplifiers, one per quadrant, shape (1024, 1024)."""
    gains = np.empty((SIZE, SIZE), dtype=np.float32)
    half = slice(0, SIZE // 2), slice(SIZE // 2, SIZE)
    for number, gain in enumerate(GAINS):
        gains[half[number // 2], half[number % 2]] = gain
    return gains


def write_raw(folder: Path, header: fits.Header, reads: list[np.ndarray], times: list[float]) -> Path:
    """Write a ramp of reads in DN, 1024 x 1024, the newest first; returns its path.

    Parameters
    ----------
    reads : list of ndarray, shape (1024, 1024), DN
        The newest first, the zeroth read last.
    times : list of float
        Seconds of each since the reset.
    """
    path = folder / f"{header['ROOTNAME']}_raw.fits"
    header["FILENAME"] = path.name
    hdus = [fits.PrimaryHDU(header=header)]
    for ver, (read, time) in enumerate(zip(reads, times, strict=True), start=1):
        science = image("SCI", np.clip(np.rint(read), 0, 65535).astype(np.uint16), "COUNTS", ver)
        science.header["SAMPTIME"], science.header["SAMPNUM"] = time, len(reads) - ver
        rest = [constant(name, 0, SIZE, ver) for name in ("ERR", "DQ", "SAMP", "TIME")]
        hdus += [science, *rest]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def ramp(
    rng, electrons: np.ndarray, hits: np.ndarray, pattern: np.ndarray, nsamp: int
) -> tuple[list[np.ndarray], list[float]]:
    """Return reads of a ramp in DN, the newest first, and their times.

    Parameters
    ----------
    electrons : ndarray, shape (1024, 1024)
        Light collected until the last read, photon noise included; the border is ignored.
    hits : ndarray, shape (1024, 1024)
        Electrons of cosmic rays; each arrives between two reads.
    pattern : ndarray, shape (1024, 1024)
        Bias of each pixel, DN, the same in all exposures.
    """
    times = [ZERO_READ, *(ZERO_READ + 2.935 + 100.0 * read for read in range(nsamp - 1))]
    inside, gains = np.zeros((SIZE, SIZE), dtype=np.float32), gain_map()
    inside[BORDER:-BORDER, BORDER:-BORDER] = 1
    reads, collected = [], np.zeros_like(electrons)
    arrival = rng.integers(1, nsamp, electrons.shape, dtype=np.int8)  # the first read that shows a hit
    for number, time in enumerate(times):
        share = (time - ZERO_READ) / (times[-1] - ZERO_READ)
        step = share - (times[number - 1] - ZERO_READ) / (times[-1] - ZERO_READ) if number else 0.0
        if 0 < number < nsamp - 1:  # the last read holds exactly what was collected
            spread = np.sqrt(np.maximum(electrons, 0) * step * (1 - share))
            collected = (
                collected + electrons * step + spread * rng.standard_normal(electrons.shape, np.float32)
            )
        else:
            collected = electrons * share
        noise = 20.5 / np.sqrt(2) * rng.standard_normal(electrons.shape, np.float32)
        drift = rng.normal(0, 15)  # DN (chosen), common to a read; the reference pixels show it
        reads.append(
            BIAS + pattern + drift + ((collected + hits * (number >= arrival)) * inside + noise) / gains
        )
    return reads[::-1], times[::-1]


def write_flat(folder: Path, name: str, flat: np.ndarray) -> Path:
    """Write a flat field, 1014 x 1014, as a reference file; returns its path."""
    inner = slice(BORDER, -BORDER)
    header = fits.Header()
    header.update({"FILENAME": name, "INSTRUME": "WFC3", "DETECTOR": "IR", "FILTER": "F153M"})
    size = SIZE - 2 * BORDER
    hdus = [fits.PrimaryHDU(header=header), image("SCI", flat[inner, inner].astype(np.float32))]
    hdus += [constant("ERR", 0.005, size), constant("DQ", 0, size)]
    fits.HDUList(hdus).writeto(folder / name, overwrite=True)
    return folder / name
