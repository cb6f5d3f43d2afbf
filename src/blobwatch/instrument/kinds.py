"""Classification of files as exposures or difference images."""

from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.instrument.fitsfile import FULL_FRAMES, first_image, frame_shape, read_plane
from blobwatch.instrument.keywords import get_upper, is_light, merge_headers

EXPOSURE, DIFFERENCE = "exposure", "difference"
EXPOSURE_KEYWORDS = ("EXPTIME", "IMAGETYP", "OBSMODE", "SAMP_SEQ", "NSAMP", "FILTER", "INSTRUME")
QUALITY_PLANES = ("ERR", "DQ", "SAMP")
LIT_SNR = 5.0  # median over noise above which an image is evenly lit
MIN_NOISE = 1e-4  # fraction of the median; images with less noise are not exposures


def classify_file(hdus, path: Path | str = "the file") -> str:
    """Return ``exposure`` or ``difference``.

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
    if product.startswith("DIFF") or (product != "EXPOSURE" and "DIFF" in hdus):
        return DIFFERENCE
    if product == "EXPOSURE":
        return EXPOSURE
    science = science_image(hdus)
    image = first_image(hdus) if science is None else science
    if image is None:
        return DIFFERENCE  # reading it raises the error
    header = merge_headers(hdus[0], image)
    if get_upper(header, "PRODUCT").startswith("DIFF"):
        return DIFFERENCE
    unit = is_light(header)
    planes = any(hdu.name in QUALITY_PLANES for hdu in hdus)
    if science is not None and (unit or planes):
        return EXPOSURE
    facts = unit or any(key in header for key in EXPOSURE_KEYWORDS)
    if frame_shape(image) not in FULL_FRAMES:
        return EXPOSURE if facts else DIFFERENCE  # rejected later because of its shape
    lit = is_lit(read_plane(image, path))
    if facts and (lit or (lit is None and science is not None)):
        return EXPOSURE
    if (lit is None and not facts) or (lit is False and not unit and (science is None or not facts)):
        return DIFFERENCE
    raise BlobwatchError(ambiguity_message(path, facts, lit))


def science_image(hdus):
    """Return the first SCI extension of a full frame, else the first SCI extension, else None."""
    named = [hdu for hdu in hdus if hdu.name == "SCI"]
    return next((hdu for hdu in named if frame_shape(hdu) in FULL_FRAMES), named[0] if named else None)


def read_keywords(hdus) -> dict[str, object]:
    """Return the keywords of the primary and the science header; the primary one precedes."""
    science = science_image(hdus)
    return merge_headers(hdus[0], *([] if science is None else [science]))


def science_images(hdus, path: Path) -> list:
    """Return the science images of an exposure: SCI extensions of one shape, else the only image.

    Raises
    ------
    BlobwatchError
        If there is none.
    """
    first = science_image(hdus)
    if first is not None and not frame_shape(first):
        raise BlobwatchError(f"{path} holds no image where one is expected; give an exposure or a difference")
    if first is not None:
        return [hdu for hdu in hdus if hdu.name == "SCI" and frame_shape(hdu) == frame_shape(first)]
    image = first_image(hdus, path)
    if image is None:
        raise BlobwatchError(f"{path} has no SCI and DQ extensions; give a raw, ima or flt exposure")
    return [image]


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


def ambiguity_message(path: Path | str, facts: bool, lit: bool | None) -> str:
    """Return the message about a file of ambiguous type."""
    if not facts:
        why = "an image that is lit like an exposure and has no keyword of one"
    elif lit:
        why = "neither a conclusive header nor conclusive pixel values"
    else:
        why = "the header of an exposure, but values that are not those of a lit frame"
    return (
        f"{path}: exposure or difference image? It has {why}. For a difference image, set the keyword "
        "PRODUCT = DIFFERENCE; for an exposure, set PRODUCT = EXPOSURE, BUNIT, EXPSTART and FILTER, and pass "
        "--stack FILE or --history DIR"
    )
