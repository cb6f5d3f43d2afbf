"""Facts of the WFC3 infrared channel: the frame, data-quality bits, electronics, names.

Notes
-----
Figures are from the WFC3 Data Handbook (sections 2.2, 7.5, 7.9), the Instrument Handbook (7.9.2) and
real headers.
"""

from typing import TypeVar

import numpy as np

from blobwatch.errors import UnusableFile

Coordinate = TypeVar("Coordinate", float, np.ndarray)

SIZE = 1024  # pixels on a side, reference border included
BORDER = 5  # reference pixels on each side, absent from a flt
FLT_SIZE = SIZE - 2 * BORDER

READ_NOISE = 20.5  # electrons, correlated double sampling: 20-21 [DHB]
SATURATION = 77_900  # electrons [DHB]
GAIN = (2.34, 2.37, 2.31, 2.38)  # electrons per DN, amplifiers A-D, from a real header
COSMIC_RAY_RATE = (11.0, 1.5)  # hits per second over the array, and its spread [IHB 7.9.2]
EXPOSURE_TIMES = {4: 202.933, 10: 802.935, 13: 1102.935669}  # SPARS100: NSAMP -> seconds [headers]

# Data-quality bits [DHB 7.9].
DQ_BAD = 4
DQ_HOT = 16
DQ_UNSTABLE = 32
DQ_BAD_REFERENCE = 128
DQ_SATURATED = 256
DQ_BLOB = 512  # never masked: masking would hide the blobs to be detected
DQ_COSMIC_RAY = 8192
# Warm pixels (64) and a signal in the zeroth read (2048) leave the science value usable.
DQ_UNUSABLE = DQ_BAD | DQ_HOT | DQ_UNSTABLE | DQ_BAD_REFERENCE | DQ_SATURATED | DQ_COSMIC_RAY
DQ_UNUSABLE |= 1 | 2 | 8 | 4096 | 16384  # lost and filled, bad zeroth read, cosmic ray (MultiDrizzle), ghost


def embed(image: np.ndarray, fill: float = np.nan, name: str = "the image") -> np.ndarray:
    """Place a 1014 x 1014 ``flt`` plane into the 1024 frame, or return a 1024 plane unchanged.

    Parameters
    ----------
    image : ndarray, shape (1014, 1014) or (1024, 1024)
        One plane.
    fill : float
        Value of the 5-pixel border.
    name : str
        For messages.

    Returns
    -------
    ndarray, shape (1024, 1024), the dtype of ``image`` (float32 if that type has no NaN)

    Raises
    ------
    UnusableFile
        If the plane is of any other shape, as a subarray or a UVIS frame is.
    """
    if image.shape == (SIZE, SIZE):
        return image
    if image.shape != (FLT_SIZE, FLT_SIZE):
        shape = " x ".join(str(n) for n in image.shape)
        raise UnusableFile(
            f"{name} is {shape}; a full WFC3/IR frame is 1024 x 1024 (or 1014 x 1014 for a flt). "
            "Subarrays and UVIS frames cannot be used"
        )
    whole = np.issubdtype(image.dtype, np.floating) or np.isfinite(fill)
    frame = np.full((SIZE, SIZE), fill, dtype=image.dtype if whole else np.float32)  # integers have no NaN
    frame[BORDER:-BORDER, BORDER:-BORDER] = image
    return frame


def normalized(x: Coordinate) -> Coordinate:
    """Return ``(x - 512) / 512``, the variable of the position laws."""
    return (x - SIZE / 2) / (SIZE / 2)
