"""Classification of files: exposure or difference image, and whether a frame can be used."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError, UnusableFile
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.fitsfile import (
    FULL_FRAMES,
    PASS_IMAGE,
    first_image,
    frame_shape,
    read_plane,
    warn_unused,
)
from blobwatch.instrument.keywords import get_upper, merge_headers, read_unit

EXPOSURE_KEYWORDS = ("EXPTIME", "IMAGETYP", "OBSMODE", "SAMP_SEQ", "NSAMP", "FILTER", "INSTRUME")
GRISMS = ("G102", "G141")
QUALITY_PLANES = ("ERR", "DQ", "SAMP")
LIT_SNR = 5.0  # median over noise above which an image is evenly lit
MIN_NOISE = 1e-4  # fraction of the median; images with less noise are not exposures


def is_difference(hdus, path: Path | str = "the file") -> bool:
    """Return whether a file is a difference image; otherwise it is an exposure.

    PRODUCT = DIFFERENCE or EXPOSURE in the header decides, else the names of the extensions, else units and
    keywords together with the values: an exposure is lit, a difference image is around zero.

    Parameters
    ----------
    hdus : HDUList
    path : Path or str
        For messages.

    Raises
    ------
    BlobwatchError
        If header and pixels are contradictory or inconclusive.
    """
    product = get_upper(hdus[0].header, "PRODUCT")
    if product == "EXPOSURE" or product.startswith("DIFF") or "DIFF" in hdus:
        return product != "EXPOSURE"
    science = science_image(hdus)
    image = first_image(hdus) if science is None else science
    if image is None:
        return True  # reading it raises the error
    header = merge_headers(hdus[0], image)
    if get_upper(header, "PRODUCT").startswith("DIFF"):
        return True
    unit = read_unit(header)[0] in ("ELECTRONS", "COUNTS")
    if science is not None and (unit or any(hdu.name in QUALITY_PLANES for hdu in hdus)):
        return False
    facts = unit or any(key in header for key in EXPOSURE_KEYWORDS)
    if frame_shape(image) not in FULL_FRAMES:
        return not facts  # rejected later because of its shape
    lit = is_lit(read_plane(image, path))
    if facts and (lit or (lit is None and science is not None)):
        return False
    if (lit is None and not facts) or (lit is False and not unit and (science is None or not facts)):
        return True
    raise BlobwatchError(
        f"{path}: exposure or difference image? Header ({'exposure' if facts else 'no keyword'}) and pixels "
        f"({'lit' if lit else 'not lit'}) are not conclusive. For a difference image, set the keyword "
        "PRODUCT = DIFFERENCE; for an exposure, set PRODUCT = EXPOSURE, BUNIT, EXPSTART and FILTER, and pass "
        "--stack FILE or --history DIR"
    )


def science_image(hdus):
    """Return the first SCI extension of a full frame, else the first SCI extension, else None."""
    named = [hdu for hdu in hdus if hdu.name == "SCI"]
    return next((hdu for hdu in named if frame_shape(hdu) in FULL_FRAMES), named[0] if named else None)


def read_keywords(hdus) -> dict[str, object]:
    """Return the keywords of the primary and the science header; the primary one precedes."""
    science = science_image(hdus)
    return merge_headers(hdus[0], *([] if science is None else [science]))


def science_images(hdus, path: Path) -> list:
    """Return the science images of an exposure, newest read first: SCI extensions, else the only image.

    A file with several images that are not the reads of a ramp is used as its first image, with a warning.

    Raises
    ------
    BlobwatchError
        If there is none.
    """
    science = science_image(hdus)
    first = first_image(hdus, path) if science is None else science
    if first is None or not frame_shape(first):
        raise BlobwatchError(f"{path}: no image. {PASS_IMAGE}")
    if science is None:
        return [first]
    reads = [hdu for hdu in hdus if hdu.name == "SCI" and frame_shape(hdu) == frame_shape(first)]
    if len({one.ver for one in reads}) == len(reads):
        reads = sorted(reads, key=lambda one: one.ver)
    timed = all("SAMPTIME" in one.header or "SAMPNUM" in one.header for one in reads)
    if frame_shape(first)[0] == wfc3ir.SIZE or timed:
        return reads
    return warn_unused(hdus, reads, path)[:1]


def is_lit(image: np.ndarray) -> bool | None:
    """Return whether an image is evenly lit (True), around zero (False), or neither (None).

    Parameters
    ----------
    image : ndarray, shape (..., 1024, 1024) or (..., 1014, 1014)
        Plane 0 of a cube is used.
    """
    while image.ndim > 2:
        image = image[0]
    sample = np.asarray(image[8:-8:3, 8:-8], dtype=np.float64)
    known = sample[np.isfinite(sample)]
    if not known.size:
        return None
    steps = np.diff(sample, axis=1)
    steps = steps[np.isfinite(steps)]
    noise = np.median(np.abs(steps - np.median(steps))) / 0.954 if steps.size else 0.0  # 0.6745 * sqrt(2)
    median, negative = np.median(known), np.mean(known < 0)
    if median > 0 and negative < 0.01 and noise > MIN_NOISE * median:
        return True if median > LIT_SNR * noise else None
    return False if median <= 0 or negative > 0.05 else None


def require_ir_frame(header: Mapping, path: Path) -> None:
    """Raise `UnusableFile` unless a frame is a full one of the WFC3 infrared channel."""
    instrument, channel = get_upper(header, "INSTRUME") or "WFC3", get_upper(header, "DETECTOR") or "IR"
    subarray = get_upper(header, "SUBARRAY") in ("T", "TRUE")
    if (instrument, channel, subarray) != ("WFC3", "IR", False):
        found = f"{instrument} {channel} {'subarray' if subarray else 'frame'}"
        raise UnusableFile(f"{path}: {found}. Pass a full 1024 x 1024 frame of the WFC3 IR channel")


def require_imaging_exposure(header: Mapping, path: Path) -> None:
    """Raise `UnusableFile` unless an exposure is a WFC3/IR image of an evenly lit field.

    A dark-Earth exposure (target ``DARK-EARTH-CALIB``) does not count as a dark.
    """
    require_ir_frame(header, path)
    chosen, kinds = get_upper(header, "FILTER"), {get_upper(header, key) for key in ("IMAGETYP", "TARGNAME")}
    grism = chosen in GRISMS or get_upper(header, "OBSTYPE") == "SPECTROSCOPIC"
    if grism or kinds & {"DARK", "BIAS"} or chosen == "BLANK":
        found = f"grism exposure ({chosen})" if grism else "bias" if "BIAS" in kinds else "dark"
        raise UnusableFile(f"{path}: {found}. Pass an exposure of an evenly lit field through a filter")
