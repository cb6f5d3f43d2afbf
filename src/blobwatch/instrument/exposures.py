"""Exposures of the dark Earth: ``flt``, ``ima`` and ``raw`` read, ``flt`` written."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch.errors import BlobwatchError, Unfit
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.calibration import Calibration, product_of, read_calibration
from blobwatch.instrument.fitsfile import compressed, open_fits, save
from blobwatch.instrument.modes import refuse_other_exposures
from blobwatch.instrument.ramp import read_rate

# A science value is stored in steps of a power of two, so that it is exact in float32, compresses
# without loss, and comes out equal on every processor.
FLUX_STEP = 2.0**-6  # electrons/s; the noise of a monitor exposure is 7 and more of these steps
ERROR_STEP = 2.0**-9  # electrons/s


@dataclass(frozen=True)
class Exposure:
    """One exposure of the dark Earth in the 1024 frame.

    Attributes
    ----------
    rootname : str
        For instance ``ich219i8q``.
    image : ndarray, shape (1024, 1024), float64, electrons per second (raw: DN per second)
        NaN in the border.
    dq : ndarray, shape (1024, 1024), int16
        Data-quality bits.
    expstart : float
        Start, MJD (UTC).
    exptime : float
        Seconds.
    gain : float
        Electrons per unit of ``image`` times second: 1, or that of the amplifiers for a raw.
    filter, targname, proposid : str
        As in the primary header.
    path : Path
        Where it was read.
    samp_seq : str
        Sample sequence, for instance ``SPARS100``.
    product : str
        ``flt``, ``ima`` or ``raw``.
    calibration : Calibration
    """

    rootname: str
    image: np.ndarray
    dq: np.ndarray
    expstart: float
    exptime: float
    gain: float
    filter: str
    targname: str
    proposid: str
    path: Path
    samp_seq: str = ""
    product: str = "flt"
    calibration: Calibration = field(default_factory=Calibration)


def is_exposure(hdus: fits.HDUList) -> bool:
    """Tell an exposure, which has a SCI and a DQ extension, from a difference image."""
    return ("SCI", 1) in hdus and ("DQ", 1) in hdus


def read_exposure(path: Path | str, hdus: fits.HDUList | None = None) -> Exposure:
    """Read a ``flt``, ``ima`` or ``raw`` exposure of the full infrared frame.

    Parameters
    ----------
    path : Path or str
    hdus : HDUList, optional
        The file where it is open already.

    Raises
    ------
    Unfit
        If the file is sound but no image of an evenly lit field in a full WFC3/IR frame.
    BlobwatchError
        If it is unreadable, or lacks a read or a keyword that is needed.
    """
    path = Path(path)
    if hdus is None:
        with open_fits(path) as opened:
            return read_exposure(path, opened)
    header = hdus[0].header
    if not is_exposure(hdus):
        raise BlobwatchError(f"{path} has no SCI and DQ extensions; give a raw, ima or flt exposure")
    refuse_other_exposures(header, path)
    begin, seconds = moment(header, "EXPSTART", path), moment(header, "EXPTIME", path)
    if not seconds > 0:
        raise Unfit(f"{path} has EXPTIME {seconds:g} in its header; leave it out, it saw nothing")
    try:
        rate, dq, gain = read_rate(hdus, path)
        image, dq = wfc3ir.embed(rate), wfc3ir.embed(dq, fill=0)
    except BlobwatchError as error:
        message = str(error)
        raise type(error)(message if str(path) in message else f"{path}: {message}") from None
    if image.shape == (wfc3ir.SIZE, wfc3ir.SIZE):
        image = outside_border_nan(image)
    if not np.isfinite(image).any():
        raise Unfit(f"{path} holds no finite pixel; leave it out")
    return Exposure(
        rootname=rootname(header, path),
        image=image,
        dq=dq,
        expstart=begin,
        exptime=seconds,
        gain=gain,
        filter=str(header.get("FILTER", "")).strip(),
        targname=str(header.get("TARGNAME", "")).strip(),
        proposid=str(header.get("PROPOSID", "")).strip(),
        path=path,
        samp_seq=str(header.get("SAMP_SEQ", "")).strip(),
        product=product_of(hdus, path),
        calibration=read_calibration(header),
    )


def moment(header: fits.Header, key: str, path: Path) -> float:
    """Return a keyword of time as a number; MJD for EXPSTART, seconds for EXPTIME."""
    value = header.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BlobwatchError(
            f"{path} has no {key} in its header; without it an exposure cannot be dated or scaled. "
            "Restore the keyword or leave the file out"
        )
    return float(value)


def rootname(header: fits.Header, path: Path) -> str:
    """Return the rootname: the header's, else what the file's name begins with."""
    return str(header.get("ROOTNAME", path.name.split("_")[0])).strip().lower()


def outside_border_nan(image: np.ndarray) -> np.ndarray:
    """Return a copy whose 5-pixel reference border is NaN: it is not sky."""
    framed = np.full(image.shape, np.nan)
    inner = slice(wfc3ir.BORDER, -wfc3ir.BORDER)
    framed[inner, inner] = image[inner, inner]
    return framed


def write_flt(path: Path | str, header: fits.Header, planes: dict[str, np.ndarray]) -> None:
    """Write one exposure as a ``flt``: SCI, ERR, DQ, SAMP and TIME, 1014 x 1014 each.

    Parameters
    ----------
    path : Path or str
    header : astropy Header
        The primary header.
    planes : dict of ndarray, shape (1014, 1014)
        ``SCI`` and ``ERR`` in electrons/s, ``DQ`` and ``SAMP`` int16, ``TIME`` in seconds.
    """
    extensions = [
        compressed("SCI", planes["SCI"], FLUX_STEP, "ELECTRONS/S"),
        compressed("ERR", planes["ERR"], ERROR_STEP, "ELECTRONS/S"),
        compressed("DQ", planes["DQ"].astype(np.int16)),
        compressed("SAMP", planes["SAMP"].astype(np.int16)),
        compressed("TIME", planes["TIME"], 2.0**-6, "SECONDS"),
    ]
    for extension in extensions:
        extension.header["EXTVER"] = 1
        extension.header["ROOTNAME"] = header["ROOTNAME"]
    save(path, [fits.PrimaryHDU(header=header), *extensions])
