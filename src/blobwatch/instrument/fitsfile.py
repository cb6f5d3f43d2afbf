"""The one door to FITS: files opened, or a sentence that says what is wrong; planes read, extensions made."""

import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning

from blobwatch.errors import BlobwatchError
from blobwatch.files import whole_file
from blobwatch.instrument import wfc3ir


def open_fits(path: Path | str, only_image: bool = False) -> fits.HDUList:
    """Open a FITS file for reading, or say in a sentence why it cannot be.

    Parameters
    ----------
    path : Path or str
    only_image : bool
        Of a difference image, leave what follows the image unread and unchecked: headers take time.

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
    hdus = None
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", AstropyUserWarning)  # astropy only warns of a truncated file
            warnings.simplefilter("ignore", VerifyWarning)
            hdus = fits.open(path, memmap=False, lazy_load_hdus=True)
            for hdu in hdus:  # a damaged card shows when it is read
                hdu.name, hdu.ver, list(hdu.header.items())
                only_image = only_image and hdu.name != "SCI"  # an exposure needs all that follows
                if only_image and holds_image(hdu):
                    break
    except (OSError, EOFError, TypeError, ValueError, KeyError, IndexError, fits.VerifyError) as error:
        if hdus is not None:
            hdus.close()
        raise BlobwatchError(
            f"{path} is not a readable FITS file; fetch or copy it again ({error})"
        ) from None
    truncated = [warning for warning in said if issubclass(warning.category, AstropyUserWarning)]
    if truncated:
        hdus.close()
        raise BlobwatchError(f"{path} is truncated; fetch or copy it again ({truncated[0].message})")
    return hdus


def holds_image(hdu) -> bool:
    """Tell whether an HDU holds an image, as the science plane of an exposure always should."""
    return hdu.name == "SCI" or (hdu.is_image and hdu.header.get("NAXIS", 0) >= 2)


def first_image(hdus: fits.HDUList):
    """Return the first HDU that holds an image, or None; those behind it are not looked at."""
    return next((hdu for hdu in hdus if holds_image(hdu)), None)


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


def whole_steps(name: str, data: np.ndarray, step: float, unit: str) -> fits.ImageHDU:
    """Return an uncompressed extension of whole ``step``, int16: it is read in a third of the time.

    Values beyond 32767 steps are set to that; NaN stays NaN. Any reader scales it back to float32.
    """
    most = np.iinfo(np.int16).max
    steps = np.clip(np.round(data / step), -most, most)
    hdu = fits.ImageHDU(np.where(np.isnan(steps), -most - 1, steps).astype(np.int16), name=name)
    hdu.header.update({"BSCALE": step, "BZERO": 0.0, "BLANK": -most - 1, "BUNIT": unit})
    return hdu


def save(path: Path | str, hdus: list) -> None:
    """Write HDUs to ``path``, whole or not at all."""
    with whole_file(path) as partial:
        fits.HDUList(hdus).writeto(partial, overwrite=True)
