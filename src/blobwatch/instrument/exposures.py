"""Read ``flt``, ``ima`` and ``raw`` exposures of the dark Earth; write ``flt``."""

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch.errors import BlobwatchError, UnusableFile, collect_file_warnings, warn_file
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.calibration import Calibration, read_calibration
from blobwatch.instrument.fitsfile import compressed_hdu, open_fits, write_hdus
from blobwatch.instrument.keywords import get_rootname, merge_headers, require_time
from blobwatch.instrument.kinds import is_difference, require_imaging_exposure, science_images
from blobwatch.instrument.reads import product_of, read_rate

# A science value is stored in steps of a power of two, so that it is exact in float32, compresses
# without loss, and is equal on every processor.
FLUX_STEP = 2.0**-6  # electrons/s; the noise of a monitor exposure is 7 and more of these steps
ERROR_STEP = 2.0**-9  # electrons/s


@dataclass(frozen=True)
class Exposure:
    """One exposure of the dark Earth in the 1024 frame.

    Attributes
    ----------
    rootname : str
        For instance ``ich219i8q``.
    image : ndarray, shape (1024, 1024), float64, electrons per second (BUNIT in counts: DN per second)
        NaN in the border.
    dq : ndarray, shape (1024, 1024), int16
        Data-quality bits.
    expstart : float
        Start, MJD (UTC).
    exptime : float
        Seconds.
    gain : float
        Electrons per unit of ``image`` times second: 1, or that of the amplifiers for DN.
    filter, targname, proposid : str
        As in the header; the filter in capitals.
    path : Path
        Path of the file.
    product : str
        ``flt``, ``ima`` or ``raw``.
    samp_seq : str
        Sample sequence, for instance ``SPARS100``; empty if missing.
    calibration : Calibration
        Flat fields and software version.
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
    with (
        collect_file_warnings() as found,
        nullcontext(hdus) if hdus is not None else open_fits(path) as opened,
    ):
        exposure = build_exposure(opened, path)
    if found:
        warn_file(path, "; ".join(text.removeprefix(f"{path}: ") for text in found))
    return exposure


def build_exposure(hdus: fits.HDUList, path: Path) -> Exposure:
    """Return the exposure of an open file."""
    science = science_images(hdus, path)
    if is_difference(hdus, path):
        raise BlobwatchError(f"{path}: difference image. Pass a raw, ima or flt exposure")
    header = merge_headers(hdus[0], science[0])
    require_imaging_exposure(header, path)
    facts = exposure_facts(hdus, path)
    try:
        rate = read_rate(hdus, science, header, path)
        image, dq = wfc3ir.embed(rate.image), wfc3ir.embed(rate.dq, fill=0)
    except BlobwatchError as error:
        message = str(error)
        raise type(error)(message if str(path) in message else f"{path}: {message}") from None
    image = mask_border(image)
    if not np.isfinite(image).any():
        raise UnusableFile(f"{path}: no finite pixel. Leave it out")
    facts |= {"product": rate.product, "calibration": applied_calibration(header, rate.product)}
    return Exposure(
        image=image,
        dq=dq,
        exptime=rate.seconds,
        gain=rate.gain,
        targname=facts.pop("target"),
        proposid=facts.pop("programme"),
        path=path,
        **facts,
    )


def exposure_facts(hdus: fits.HDUList, path: Path) -> dict:
    """Return the facts in the headers of an exposure, without reading its pixels.

    Parameters
    ----------
    hdus : HDUList
    path : Path

    Returns
    -------
    dict
        ``rootname``, ``expstart``, ``filter``, ``programme``, ``samp_seq``, ``product``, ``calibration``,
        ``target``.

    Raises
    ------
    BlobwatchError
        If there is no image or no date.
    """
    science = science_images(hdus, path)
    header = merge_headers(hdus[0], science[0])
    product = product_of(science, header, path)
    return {
        "rootname": get_rootname(header, path),
        "expstart": require_time(header, "EXPSTART", path),
        "filter": str(header.get("FILTER", "")).strip().upper(),
        "programme": str(header.get("PROPOSID", "")).strip(),
        "samp_seq": str(header.get("SAMP_SEQ", "")).strip().upper(),
        "product": product,
        "calibration": applied_calibration(header, product),
        "target": str(header.get("TARGNAME", "")).strip(),
    }


def applied_calibration(header: dict, product: str) -> Calibration:
    """Return the calibration of an exposure; a ``raw`` is never flat-fielded."""
    found = read_calibration(header)
    return replace(found, flatcorr="OMIT") if product == "raw" and found.flats != "none" else found


def mask_border(image: np.ndarray) -> np.ndarray:
    """Return a copy with NaN in the 5-pixel reference border."""
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
        compressed_hdu("SCI", planes["SCI"], FLUX_STEP, "ELECTRONS/S"),
        compressed_hdu("ERR", planes["ERR"], ERROR_STEP, "ELECTRONS/S"),
        compressed_hdu("DQ", planes["DQ"].astype(np.int16)),
        compressed_hdu("SAMP", planes["SAMP"].astype(np.int16)),
        compressed_hdu("TIME", planes["TIME"], 2.0**-6, "SECONDS"),
    ]
    for extension in extensions:
        extension.header["EXTVER"] = 1
        extension.header["ROOTNAME"] = header["ROOTNAME"]
    write_hdus(path, [fits.PrimaryHDU(header=header), *extensions])
