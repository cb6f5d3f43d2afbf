"""Read ``flt``, ``ima`` and ``raw`` exposures of the dark Earth; write ``flt``."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch.errors import BlobwatchError, UnusableFile, collect_file_warnings, warn_file
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.calibration import Calibration, read_calibration
from blobwatch.instrument.fitsfile import compressed_hdu, use_or_open, write_hdus
from blobwatch.instrument.keywords import get_rootname, get_upper, merge_headers, require_time
from blobwatch.instrument.kinds import is_difference, require_imaging_exposure, science_images
from blobwatch.instrument.reads import product_of, read_rate

# A science value is stored in steps of a power of two, so that it is exact in float32, compresses
# without loss, and is equal on every processor.
FLUX_STEP = 2.0**-6  # electrons/s; the noise of a monitor exposure is 7 and more of these steps
ERROR_STEP = 2.0**-9  # electrons/s


@dataclass(frozen=True)
class ExposureFile:
    """One exposure file and the facts from its header.

    Attributes
    ----------
    path : Path
    rootname : str
        For instance ``ich219i8q``.
    expstart : float
        Start, MJD (UTC).
    filter, programme, samp_seq, target : str
        As in the header; filter and sample sequence in capitals.
    product : str
        ``flt``, ``ima`` or ``raw``.
    calibration : Calibration
        Flat fields and software version.
    stamp : str
        Size and modification time of the file; empty if unknown.
    """

    path: Path
    rootname: str
    expstart: float
    filter: str = ""
    programme: str = ""
    samp_seq: str = ""
    product: str = "flt"
    calibration: Calibration = field(default_factory=Calibration)
    stamp: str = ""
    target: str = ""


@dataclass(frozen=True, kw_only=True)
class Exposure(ExposureFile):
    """One exposure of the dark Earth in the 1024 frame.

    Attributes
    ----------
    image : ndarray, shape (1024, 1024), float64, electrons per second (BUNIT in counts: DN per second)
        NaN in the border.
    dq : ndarray, shape (1024, 1024), int16
        Data-quality bits.
    exptime : float
        Seconds.
    gain : float
        Electrons per unit of ``image`` times second: 1, or that of the amplifiers for DN.
    """

    image: np.ndarray
    dq: np.ndarray
    exptime: float
    gain: float


def read_exposure(path: Path | str, hdus: fits.HDUList | None = None) -> Exposure:
    """Read a ``flt``, ``ima`` or ``raw`` exposure of the full infrared frame.

    Minor defects, such as a missing DQ extension, are reported in one `FileWarning`.

    Parameters
    ----------
    path : Path or str
    hdus : HDUList, optional
        The file if already open.

    Raises
    ------
    UnusableFile
        If the file is intact but not a full WFC3/IR image of an evenly lit field.
    BlobwatchError
        If it is unreadable, or lacks a read or a keyword that is needed.
    """
    path = Path(path)
    with collect_file_warnings() as found, use_or_open(hdus, path) as opened:
        exposure = parse_exposure(opened, path)
    if found:
        warn_file(path, "; ".join(text.removeprefix(f"{path}: ") for text in found))
    return exposure


def parse_exposure(hdus: fits.HDUList, path: Path) -> Exposure:
    """Return the exposure of an open file."""
    science = science_images(hdus, path)
    if is_difference(hdus, path):
        raise BlobwatchError(f"{path}: difference image. Pass a raw, ima or flt exposure")
    header = merge_headers(hdus[0], science[0])
    require_imaging_exposure(header, path)
    listed = parse_exposure_file(hdus, path)
    image, dq, gain, seconds = read_rate(hdus, science, header, listed.product, path)
    image, dq = wfc3ir.embed(image, name=f"{path}: the image"), wfc3ir.embed(dq, 0, f"{path}: the DQ image")
    border = np.pad(np.zeros((wfc3ir.FLT_SIZE,) * 2, bool), wfc3ir.BORDER, constant_values=True)
    image = np.where(border, np.nan, image)
    if not np.isfinite(image).any():
        raise UnusableFile(f"{path}: no finite pixel. Leave it out")
    return Exposure(**vars(listed), image=image, dq=dq, exptime=seconds, gain=gain)


def parse_exposure_file(hdus: fits.HDUList, path: Path) -> ExposureFile:
    """Return the facts in the headers of an exposure, without its pixels and its stamp.

    Raises
    ------
    BlobwatchError
        If there is no image or no date.
    """
    science = science_images(hdus, path)
    header = merge_headers(hdus[0], science[0])
    product, calibration = product_of(science, header, path), read_calibration(header)
    if product == "raw" and calibration.flats != "none":  # a raw is never flat-fielded
        calibration = replace(calibration, flatcorr="OMIT")
    return ExposureFile(
        path=path,
        rootname=get_rootname(header, path),
        expstart=require_time(header, "EXPSTART", path),
        filter=get_upper(header, "FILTER"),
        programme=str(header.get("PROPOSID", "")).strip(),
        samp_seq=get_upper(header, "SAMP_SEQ"),
        product=product,
        calibration=calibration,
        target=str(header.get("TARGNAME", "")).strip(),
    )


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
        compressed_hdu("SCI", planes["SCI"], FLUX_STEP, "ELECTRONS/S"),
        compressed_hdu("ERR", planes["ERR"], ERROR_STEP, "ELECTRONS/S"),
        compressed_hdu("DQ", planes["DQ"].astype(np.int16)),
        compressed_hdu("SAMP", planes["SAMP"].astype(np.int16)),
        compressed_hdu("TIME", planes["TIME"], 2.0**-6, "SECONDS"),
    ]
    for extension in extensions:
        extension.header.update({"EXTVER": 1, "ROOTNAME": header["ROOTNAME"]})
    write_hdus(path, [fits.PrimaryHDU(header=header), *extensions])
