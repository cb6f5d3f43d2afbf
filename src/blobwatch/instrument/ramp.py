"""The reads of an exposure: one rate per pixel out of a ramp, or the rate that calibration left.

Notes
-----
The newest read comes first, ``[SCI,1]``; the last one in the file is the zeroth. The bias of each read is
the mean of the reference pixels in the four innermost of the five columns at the left and at the right,
and what it leaves from pixel to pixel is in the zeroth read too [WFC3 Data Handbook 7.3].
"""

from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch.errors import BlobwatchError
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.fitsfile import plane

# Columns of reference pixels that tell the bias; the outermost column follows a pattern of its own.
REFERENCE = [*range(1, wfc3ir.BORDER), *range(wfc3ir.SIZE - wfc3ir.BORDER, wfc3ir.SIZE - 1)]
FULL = wfc3ir.SATURATION / float(np.mean(wfc3ir.GAIN))  # DN above the zeroth read


def read_rate(hdus: fits.HDUList, path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the light per second, the data quality, and how many electrons a unit of it stands for.

    Parameters
    ----------
    hdus : HDUList
        Open ``flt``, ``ima`` or ``raw``.
    path : Path
        For messages.

    Returns
    -------
    rate : ndarray, shape (1014, 1014) or (1024, 1024), float64, electrons per second (a ramp: DN per second)
    dq : ndarray, the same shape, int16
    gain : float
        1, or of a ramp the mean of the electrons per DN of the four amplifiers.

    Raises
    ------
    BlobwatchError
        If reads are missing, out of order, or the file is damaged.
    """
    reads = sum(hdu.name == "SCI" for hdu in hdus)
    unit = str(hdus["SCI", 1].header.get("BUNIT", "")).strip().upper()
    dq = plane(hdus["DQ", 1], path).astype(np.int16)
    refuse_incomplete(hdus, reads, unit, path)
    if unit.startswith("COUNT") and not unit.endswith("/S") and reads > 1:
        signal, seconds = ramp_signal(hdus, reads, dq, path)
        dq = np.where(signal >= FULL, dq | wfc3ir.DQ_SATURATED, dq).astype(np.int16)
        return signal / seconds, dq, float(np.mean(wfc3ir.GAIN))
    science = plane(hdus["SCI", 1], path).astype(np.float64)
    return (science if unit.endswith("/S") else science / float(hdus[0].header["EXPTIME"])), dq, 1.0


def refuse_incomplete(hdus: fits.HDUList, reads: int, unit: str, path: Path) -> None:
    """Refuse a ramp that has lost reads: then its last extension is not the zeroth read."""
    expected = hdus[0].header.get("NSAMP")
    many = reads > 1 or unit in ("COUNTS", "COUNT")
    if many and isinstance(expected, int) and hdus["SCI", 1].shape != (wfc3ir.FLT_SIZE,) * 2:
        if reads != expected:
            raise BlobwatchError(f"{path} holds {reads} of {expected} reads; fetch or copy it again")
        if reads == 1:
            raise BlobwatchError(f"{path} holds a single read; without its zeroth read a ramp says nothing")


def ramp_signal(hdus: fits.HDUList, reads: int, dq: np.ndarray, path: Path) -> tuple[np.ndarray, float]:
    """Return the signal between the zeroth and the newest read, DN, and the seconds between them."""
    newest, zeroth = (plane(hdus["SCI", number], path).astype(np.float64) for number in (1, reads))
    times = [hdus["SCI", number].header.get("SAMPTIME") for number in (1, reads)]
    seconds = float(hdus[0].header["EXPTIME"])
    if all(isinstance(time, int | float) for time in times):
        if times[0] <= times[1]:
            raise BlobwatchError(
                f"{path} has its oldest read first; in a raw or ima the newest comes first. Fetch it again"
            )
        seconds = float(times[0] - times[1])
    return (newest - bias(newest, dq)) - (zeroth - bias(zeroth, dq)), seconds


def bias(read: np.ndarray, dq: np.ndarray) -> float:
    """Return the mean of a read's sound reference pixels; 0 where the frame has none."""
    if read.shape != (wfc3ir.SIZE, wfc3ir.SIZE):
        return 0.0
    inner = slice(wfc3ir.BORDER, -wfc3ir.BORDER)
    level = read[inner, REFERENCE]
    level = level[np.isfinite(level) & (dq[inner, REFERENCE] & wfc3ir.DQ_UNUSABLE == 0)]
    return float(level.mean()) if level.size else 0.0
