"""Open and check FITS files, read planes, build extensions."""

import bz2
import gzip
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from threading import RLock
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from blobwatch.errors import BlobwatchError, warn_file
from blobwatch.files import atomic_file
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.cards import read_layout
from blobwatch.instrument.keywords import get_number

FULL_FRAMES = ((wfc3ir.SIZE,) * 2, (wfc3ir.FLT_SIZE,) * 2)
ANCILLARY_PLANES = ("ERR", "DQ", "SAMP", "TIME", "WHT")  # other planes of an exposure
PASS_IMAGE = "Pass an exposure (raw, ima or flt) or a difference image"
FETCH_AGAIN = "Check the path, or fetch or copy it again"
UNREADABLE = (OSError, EOFError, TypeError, ValueError, KeyError, IndexError, zlib.error, fits.VerifyError)
_filters = RLock()  # the filters of Python's warnings belong to all threads


def open_fits(path: Path | str, only_image: bool = False) -> fits.HDUList:
    """Open a FITS file for reading.

    Headers that violate the standard are repaired in memory, with a `FileWarning`.

    Parameters
    ----------
    path : Path or str
    only_image : bool
        Stop after the image of our difference product: reading further headers takes time.

    Raises
    ------
    BlobwatchError
        If the file is absent, empty, not FITS, or truncated.
    """
    path = Path(path)
    last = "DIFF" if only_image else None
    hdus = None
    try:
        source, warning = open_source(path, last)
        with astropy_warnings():
            hdus = fits.open(source, memmap=False, lazy_load_hdus=True)
            for hdu in hdus:
                if hdu.name == last and hdu.is_image:
                    break
    except UNREADABLE as error:
        if hdus is not None:
            hdus.close()
        reason = getattr(error, "strerror", None) or error
        raise BlobwatchError(f"{path}: not a readable FITS file ({reason}). {FETCH_AGAIN}") from None
    if warning:
        warn_file(path, warning)
    return hdus


def use_or_open(hdus: fits.HDUList | None, path: Path, only_image: bool = False):
    """Return a context with an open file.

    The context closes the file only if it opened it.
    """
    return open_fits(path, only_image) if hdus is None else nullcontext(hdus)


def open_source(path: Path, last: str | None) -> tuple[Path | BinaryIO, str]:
    """Return a source that astropy opens without errors, and a warning (may be empty)."""
    with path.open("rb") as file:
        start = file.read(9)
        opened: BinaryIO = file
        if start.startswith((b"\x1f\x8b", b"BZh")):
            file.seek(0)
            try:
                opened = BytesIO((gzip if start[:1] == b"\x1f" else bz2).decompress(file.read()))
            except EOFError as error:
                raise ValueError(f"truncated: {error}") from None
            start = opened.read(9)
        if start.upper() != b"SIMPLE  =":
            raise ValueError("it does not begin with the keyword SIMPLE")
        layout = read_layout(opened, opened.seek(0, 2), last.encode() if last else None)
        if not layout.is_clean:
            return BytesIO(layout.repaired(opened)), layout.warning
        if opened is file:
            return path, layout.warning
        opened.seek(0)
        return opened, layout.warning


@contextmanager
def astropy_warnings() -> Iterator[list[str]]:
    """Collect the warnings of astropy; other warnings are re-issued."""
    found: list[str] = []
    with _filters:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AstropyUserWarning)
            try:
                yield found
            finally:
                found += [str(one.message) for one in caught if issubclass(one.category, AstropyUserWarning)]
        for one in caught:
            if not issubclass(one.category, AstropyUserWarning):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def frame_shape(hdu) -> tuple[int, ...]:
    """Return the shape of an HDU's image planes; empty without an image."""
    if not hdu.is_image:
        return ()
    if is_constant(hdu):
        return tuple(int(get_number(hdu.header, key) or wfc3ir.SIZE) for key in ("NPIX2", "NPIX1"))
    return tuple(hdu.shape[-2:]) if len(hdu.shape) >= 2 else ()


def is_constant(hdu) -> bool:
    """Return whether PIXVALUE replaces the image of an HDU.

    PIXVALUE is one value for all pixels.
    """
    return hdu.is_image and not hdu.shape and "PIXVALUE" in hdu.header


def image_hdus(hdus: fits.HDUList) -> list:
    """Return the image HDUs; only full frames if there are any."""
    images = [hdu for hdu in hdus if frame_shape(hdu) and hdu.name not in ANCILLARY_PLANES]
    return [hdu for hdu in images if frame_shape(hdu) in FULL_FRAMES] or images


def warn_unused(hdus: fits.HDUList, images: list, path: Path | str) -> list:
    """Return the images of a file; warn if there are several.

    Only the first image is used.
    """
    if len(images) > 1 and path:
        names = ", ".join(f"{hdus.index_of(hdu)} ({hdu.name or 'unnamed'})" for hdu in images)
        warn_file(path, f"holds several images (extensions {names}); the first of them is used")
    return images


def first_image(hdus: fits.HDUList, path: Path | str = ""):
    """Return the HDU of a difference image: DIFF, else the first full frame, else None.

    STACK and NOISE have the lowest priority; other planes of an exposure are never returned.
    If several images qualify, a warning names the one that is used.
    """
    if "DIFF" in hdus:
        return hdus["DIFF"]
    images = image_hdus(hdus)
    main = [hdu for hdu in images if hdu.name not in ("STACK", "NOISE")]
    return next(iter(warn_unused(hdus, main or images, path)), None)


def read_plane(hdu, path: Path | str) -> np.ndarray:
    """Return the pixels of an HDU.

    A plane that is stored as PIXVALUE is constant.
    """
    if is_constant(hdu):
        value = get_number(hdu.header, "PIXVALUE")
        if value is None:
            raise BlobwatchError(f"{path}: damaged (PIXVALUE is not a number). {FETCH_AGAIN}")
        return np.full(frame_shape(hdu), int(value) if value.is_integer() else value)
    try:
        with astropy_warnings() as found:
            data = hdu.data
    except Exception as error:  # each decoder raises its own exceptions
        raise BlobwatchError(f"{path}: damaged ({error}). {FETCH_AGAIN}") from None
    for text in found:
        warn_file(path, f"{hdu.name or 'image'}: {' '.join(text.split())}")
    if data is None or data.ndim < 2:
        raise BlobwatchError(f"{path}: no image. {PASS_IMAGE}")
    return data


def compressed_hdu(
    name: str, data: np.ndarray, step: float | None = None, unit: str = ""
) -> fits.CompImageHDU:
    """Return a losslessly RICE-compressed extension; floats are first rounded to whole ``step``.

    ds9 and astropy open it as an image. NaN stays NaN. The bytes depend only on the data.
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


def int16_hdu(name: str, data: np.ndarray, step: float, unit: str) -> fits.ImageHDU:
    """Return an uncompressed extension of whole ``step``, int16, for fast reading.

    Values beyond 32767 steps are set to that; NaN stays NaN. Any reader scales it back to float32.
    """
    most = np.iinfo(np.int16).max
    steps = np.clip(np.round(data / step), -most, most)
    hdu = fits.ImageHDU(np.where(np.isnan(steps), -most - 1, steps).astype(np.int16), name=name)
    hdu.header.update({"BSCALE": step, "BZERO": 0.0, "BLANK": -most - 1, "BUNIT": unit})
    return hdu


def write_hdus(path: Path | str, hdus: list) -> None:
    """Write HDUs to ``path`` atomically."""
    with atomic_file(path) as partial:
        fits.HDUList(hdus).writeto(partial, overwrite=True)
