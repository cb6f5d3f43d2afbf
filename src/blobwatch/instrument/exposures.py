"""The one door to FITS: exposures and difference images, read and written."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning

from blobwatch.errors import BlobwatchError
from blobwatch.files import whole_file
from blobwatch.instrument import wfc3ir

# A science value is stored in steps of a power of two, so that it is exact in float32, compresses
# without loss, and comes out equal on every processor.
FLUX_STEP = 2.0**-6  # electrons/s; the noise of a monitor exposure is 7 and more of these steps
ERROR_STEP = 2.0**-9  # electrons/s
FRACTION_STEP = 2.0**-13  # of the background; the noise of a difference is about 80 of these steps

SCIENCE_TYPES = {"flt", "ima", "raw"}


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
    filter, targname, proposid : str
        As in the primary header.
    path : Path
        Where it was read.
    """

    rootname: str
    image: np.ndarray
    dq: np.ndarray
    expstart: float
    exptime: float
    filter: str
    targname: str
    proposid: str
    path: Path


@dataclass(frozen=True)
class Difference:
    """One difference image in the 1024 frame, new blob positive.

    Attributes
    ----------
    rootname : str
        Of the exposure; the file's name where the header holds none.
    image : ndarray, shape (1024, 1024), float32, fraction of the background
        NaN where nothing is known.
    stack, noise : ndarray or None, the same shape and unit
        The median stack, and the noise per pixel; None where the file holds only the image.
    header : dict
        The primary header's cards.
    path : Path
        Where it was read.
    """

    rootname: str
    image: np.ndarray
    stack: np.ndarray | None
    noise: np.ndarray | None
    header: dict
    path: Path


def open_fits(path: Path | str) -> fits.HDUList:
    """Open a FITS file for reading, or say in a sentence why it cannot be.

    Raises
    ------
    BlobwatchError
        If the file is absent, empty, not FITS, or truncated.
    """
    path = Path(path)
    if not path.exists():
        raise BlobwatchError(f"{path} does not exist; check the path")
    if path.is_dir():
        raise BlobwatchError(f"{path} is a folder; give FITS files")
    if path.stat().st_size == 0:
        raise BlobwatchError(f"{path} is empty; fetch or copy it again")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", AstropyUserWarning)  # astropy only warns of a truncated file
            warnings.simplefilter("ignore", VerifyWarning)
            hdus = fits.open(path, memmap=False, lazy_load_hdus=False)
    except (OSError, EOFError, TypeError, ValueError, KeyError, IndexError, fits.VerifyError) as error:
        raise BlobwatchError(
            f"{path} is not a readable FITS file; fetch or copy it again ({error})"
        ) from None
    truncated = [warning for warning in said if issubclass(warning.category, AstropyUserWarning)]
    if truncated:
        hdus.close()
        raise BlobwatchError(f"{path} is truncated; fetch or copy it again ({truncated[0].message})")
    return hdus


def plane(hdu, path: Path) -> np.ndarray:
    """Return the pixels of an HDU; a constant plane stored as PIXVALUE is filled in."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            data = hdu.data
    except Exception as error:  # each decoder raises kinds of its own
        raise BlobwatchError(f"{path} is damaged; fetch or copy it again ({error})") from None
    if data is None and "PIXVALUE" in hdu.header:
        shape = (hdu.header.get("NPIX2", wfc3ir.SIZE), hdu.header.get("NPIX1", wfc3ir.SIZE))
        return np.full(shape, hdu.header["PIXVALUE"])
    if data is None or data.ndim < 2:
        raise BlobwatchError(f"{path} holds no image where one is expected; give an exposure or a difference")
    return data


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
    BlobwatchError
        If the file is unreadable, is no full WFC3/IR frame, or lacks a keyword that is needed.
    """
    path = Path(path)
    if hdus is None:
        with open_fits(path) as opened:
            return read_exposure(path, opened)
    header = hdus[0].header
    if not is_exposure(hdus):
        raise BlobwatchError(f"{path} has no SCI and DQ extensions; give a raw, ima or flt exposure")
    refuse_other_modes(header, path)
    begin, seconds = moment(header, "EXPSTART", path), moment(header, "EXPTIME", path)
    if not seconds > 0:
        raise BlobwatchError(f"{path} has EXPTIME {seconds:g} in its header; leave it out, it saw nothing")
    try:
        image = wfc3ir.embed(science_rate(hdus, path))
        dq = wfc3ir.embed(plane(hdus["DQ", 1], path).astype(np.int16), fill=0)
    except BlobwatchError as error:
        message = str(error)
        raise BlobwatchError(message if str(path) in message else f"{path}: {message}") from None
    if image.shape == (wfc3ir.SIZE, wfc3ir.SIZE):
        image = outside_border_nan(image)
    if not np.isfinite(image).any():
        raise BlobwatchError(f"{path} holds no finite pixel; leave it out")
    return Exposure(
        rootname=rootname(header, path),
        image=image,
        dq=dq,
        expstart=begin,
        exptime=seconds,
        filter=str(header.get("FILTER", "")).strip(),
        targname=str(header.get("TARGNAME", "")).strip(),
        proposid=str(header.get("PROPOSID", "")).strip(),
        path=path,
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


def refuse_other_modes(header: fits.Header, path: Path) -> None:
    """Refuse by name what is not a full frame of the infrared channel."""
    if str(header.get("DETECTOR", "IR")).strip() != "IR":
        raise BlobwatchError(
            f"{path} is a {str(header['DETECTOR']).strip()} frame; only the IR channel has IR blobs"
        )
    if header.get("SUBARRAY") is True:
        raise BlobwatchError(f"{path} is a subarray; give a full 1024 x 1024 frame")


def science_rate(hdus: fits.HDUList, path: Path) -> np.ndarray:
    """Return the science plane per second, float64; a raw ramp is its last read minus its zeroth."""
    science = plane(hdus["SCI", 1], path).astype(np.float64)
    reads = sum(hdu.name == "SCI" for hdu in hdus)
    unit = str(hdus["SCI", 1].header.get("BUNIT", "")).strip().upper()
    if unit.endswith("/S"):
        return science
    if reads > 1 and unit.startswith("COUNT"):
        science = science - plane(hdus["SCI", reads], path)  # the newest read comes first
    return science / float(hdus[0].header["EXPTIME"])


def outside_border_nan(image: np.ndarray) -> np.ndarray:
    """Return a copy whose 5-pixel reference border is NaN: it is not sky."""
    framed = np.full(image.shape, np.nan)
    inner = slice(wfc3ir.BORDER, -wfc3ir.BORDER)
    framed[inner, inner] = image[inner, inner]
    return framed


def read_difference(path: Path | str, hdus: fits.HDUList | None = None) -> Difference:
    """Read a difference image: a plain image, plane 0 of a cube, or the first image extension.

    Raises
    ------
    BlobwatchError
        If the file is unreadable, holds no 1024 x 1024 image, or no finite pixel.
    """
    path = Path(path)
    if hdus is None:
        with open_fits(path) as opened:
            return read_difference(path, opened)
    images = [hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2]
    if not images:
        raise BlobwatchError(f"{path} holds no image; give a difference image or an exposure")
    refuse_other_modes(hdus[0].header, path)
    image = frame_of(images[0], path)
    if not np.isfinite(image).any():
        raise BlobwatchError(f"{path} holds no finite pixel; leave it out")
    named = {hdu.name: hdu for hdu in images}
    header = {key: value for key, value in hdus[0].header.items() if key not in ("COMMENT", "HISTORY", "")}
    return Difference(
        rootname=str(header.get("ROOTNAME", path.name.split(".")[0])).strip().lower(),
        image=image,
        stack=frame_of(named["STACK"], path) if "STACK" in named else None,
        noise=frame_of(named["NOISE"], path) if "NOISE" in named else None,
        header=header,
        path=path,
    )


def frame_of(hdu, path: Path) -> np.ndarray:
    """Return an HDU's image, float32, in the 1024 frame; of a cube its plane 0."""
    data = plane(hdu, path)
    while data.ndim > 2:
        data = data[0]
    try:
        return wfc3ir.embed(np.asarray(data, dtype=np.float32))
    except BlobwatchError as error:
        raise BlobwatchError(f"{path}: {error}") from None


def compressed(name: str, data: np.ndarray, step: float | None = None, unit: str = "") -> fits.CompImageHDU:
    """Return a losslessly RICE-compressed extension; floats are first rounded to whole ``step``.

    ds9 and astropy open it as an image. NaN stays NaN. The bytes depend on nothing but the data.
    """
    if step is not None:
        data = (np.round(data / step) * step).astype(np.float32)
    header = fits.Header()
    if unit:
        header["BUNIT"] = unit
    return fits.CompImageHDU(
        data,
        header=header,
        name=name,
        compression_type="RICE_1",
        tile_shape=(min(64, data.shape[0]), data.shape[1]),
        quantize_level=-step if step is not None else 16.0,
        quantize_method=-1,  # no dither: decoding gives back the rounded values
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


def write_difference(
    path: Path | str, header: fits.Header, image: np.ndarray, stack: np.ndarray, noise: np.ndarray
) -> None:
    """Write a difference product: extensions DIFF, STACK and NOISE, provenance in the primary header.

    Parameters
    ----------
    path : Path or str
    header : astropy Header
        The primary header, provenance included.
    image, stack, noise : ndarray, shape (1024, 1024), fraction of the background
        Rounded to ``FRACTION_STEP`` on disk.
    """
    unit = "FRACTION"
    planes = {"DIFF": image, "STACK": stack, "NOISE": noise}
    save(
        path,
        [
            fits.PrimaryHDU(header=header),
            *(compressed(name, data, FRACTION_STEP, unit) for name, data in planes.items()),
        ],
    )


def save(path: Path | str, hdus: list) -> None:
    """Write HDUs to ``path``, whole or not at all."""
    with whole_file(path) as partial:
        fits.HDUList(hdus).writeto(partial, overwrite=True)
