"""Read difference images in all accepted forms; write our difference products."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch.errors import BlobwatchError
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.fitsfile import (
    PASS_IMAGE,
    compressed_hdu,
    first_image,
    int16_hdu,
    read_plane,
    use_or_open,
    write_hdus,
)
from blobwatch.instrument.keywords import merge_headers
from blobwatch.instrument.kinds import require_ir_frame

# Of the background. The noise of a difference is about 80 of these steps; the int16 of a difference
# covers +-4 times the background, more than any loss of light.
FRACTION_STEP = 2.0**-13


@dataclass(frozen=True)
class Difference:
    """One difference image in the 1024 frame, new blob positive.

    Attributes
    ----------
    rootname : str
        Of the exposure; the file's name where the header has none.
    image : ndarray, shape (1024, 1024), float32, fraction of the background
        NaN where unknown.
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


def read_difference(
    path: Path | str, hdus: fits.HDUList | None = None, only_image: bool = False
) -> Difference:
    """Read a difference image: a plain image, plane 0 of a cube, or the first image extension.

    Parameters
    ----------
    path : Path or str
    hdus : HDUList, optional
        The file where it is open already.
    only_image : bool
        Leave stack and noise unread.

    Raises
    ------
    BlobwatchError
        If the file is unreadable, holds no 1024 x 1024 image, or no finite pixel.
    """
    path = Path(path)
    with use_or_open(hdus, path, only_image) as opened:
        return parse_difference(opened, path, only_image)


def parse_difference(hdus: fits.HDUList, path: Path, only_image: bool) -> Difference:
    """Return the difference image of an open file."""
    first = first_image(hdus, path)
    if first is None:
        raise BlobwatchError(f"{path}: no image. {PASS_IMAGE}")
    keywords = merge_headers(hdus[0], first)
    require_ir_frame(keywords, path)
    image = read_frame(first, path)
    if not np.isfinite(image).any():
        raise BlobwatchError(f"{path}: no finite pixel. Leave it out")
    named = {} if only_image else {hdu.name: hdu for hdu in hdus if hdu.is_image}
    header = {key: value for key, value in hdus[0].header.items() if key not in ("COMMENT", "HISTORY", "")}
    return Difference(
        rootname=(str(keywords.get("ROOTNAME", "")) or path.name.split(".")[0]).lower(),
        image=image,
        stack=read_frame(named["STACK"], path) if "STACK" in named else None,
        noise=read_frame(named["NOISE"], path) if "NOISE" in named else None,
        header=header,
        path=path,
    )


def read_frame(hdu, path: Path) -> np.ndarray:
    """Return an HDU's image (plane 0 of a cube), float32, in the 1024 frame."""
    data = read_plane(hdu, path)
    while data.ndim > 2:
        data = data[0]
    return wfc3ir.embed(np.asarray(data, dtype=np.float32), name=f"{path}: the image")


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
        Rounded to ``FRACTION_STEP`` on disk. The image is stored uncompressed for fast reading.
    """
    unit = "FRACTION"
    planes = [
        int16_hdu("DIFF", image, FRACTION_STEP, unit),
        compressed_hdu("STACK", stack, FRACTION_STEP, unit),
        compressed_hdu("NOISE", noise, FRACTION_STEP, unit),
    ]
    write_hdus(path, [fits.PrimaryHDU(header=header), *planes])
