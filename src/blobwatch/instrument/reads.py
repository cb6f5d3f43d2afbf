"""Reads and planes of an exposure file, their units, and the resulting rate."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError, UnusableFile, warn_file
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.fitsfile import frame_shape, is_constant, read_plane
from blobwatch.instrument.keywords import get_number, get_upper, read_unit, require_time
from blobwatch.instrument.ramp import Ramp, bias_level, fit_rate

CALIBRATION_STEPS = ("BLEVCORR", "ZOFFCORR", "DARKCORR", "NLINCORR", "FLATCORR", "UNITCORR")
GAIN = float(np.mean(wfc3ir.GAIN))  # electrons per DN
FIRST_READ = 2.932  # seconds from the zeroth to the first read [real headers]
TOLERANCE = 0.01  # between EXPTIME and the times of the ramp
REJECTED_IN_RAMP = wfc3ir.DQ_COSMIC_RAY | wfc3ir.DQ_SATURATED


def read_rate(hdus, science: list, header: dict, product: str, path: Path) -> tuple:
    """Return the light per second and the data quality of an exposure.

    Parameters
    ----------
    hdus : HDUList
    science : list of HDUs
        Its science images.
    header : dict
        Its keywords.
    product : str
        ``raw``, ``ima`` or ``flt``.
    path : Path
        For messages.

    Returns
    -------
    image : ndarray, shape (1014, 1014) or (1024, 1024), float64, electrons or DN per second
    dq : ndarray, the same shape, int16
    gain : float
        Electrons per unit of ``image`` times second.
    seconds : float
        Exposure time.

    Raises
    ------
    BlobwatchError
        If reads are missing or out of order, or the exposure time is needed and missing.
    """
    unit, per_second = read_unit(header)
    if unit not in ("ELECTRONS", "COUNTS"):
        unit, per_second = ("COUNTS", False) if product == "raw" else ("ELECTRONS", True)
        warn_file(path, f"has no usable BUNIT; {unit}{'/S' if per_second else ''} is assumed")
    gain = GAIN if unit == "COUNTS" else 1.0
    check_complete(header, science, unit, per_second, path)
    times = [read_time(hdus, one) for one in science]
    seconds = exposure_time(hdus, science[0], header, times, path)
    dq = quality_plane(hdus, science[0], path)
    if dq is None:
        warn_file(path, "has no DQ extension; all pixels count as good")
        dq = np.zeros(frame_shape(science[0]), np.int16)
    if len(science) > 1 and (not per_second or None not in times):
        ends = [time for time in times if time is not None]
        if len(ends) < len(times):  # only the newest and the zeroth read can be used
            science, ends = [science[0], science[-1]], [seconds, 0.0]
        if any(late <= early for late, early in pairwise(ends)):
            raise BlobwatchError(
                f"{path} has its oldest read first; in a raw or ima the newest comes first. Fetch it again"
            )
        reads = [read_plane(one, path) for one in reversed(science)]
        full = [saturated_pixels(hdus, one, path) for one in reversed(science)]
        levels = [bias_level(read, dq) if product == "raw" else 0.0 for read in reads]
        if per_second:
            reads = [read * np.float32(time) for read, time in zip(reads, reversed(ends), strict=True)]
        return *ramp_rate(Ramp(reads, full, levels, ends[::-1], gain), dq), gain, seconds
    image = read_plane(science[0], path).astype(np.float64)
    return image if per_second else image / seconds, dq, gain, seconds


def product_of(science: list, header: dict, path: Path) -> str:
    """Return ``raw``, ``ima`` or ``flt``.

    A ramp in counts is a ``raw`` if it is stored as whole numbers or no step of calibration is complete. A
    single read is a ``flt`` unless it has a reference border and the file's name ends in another product.
    """
    if len(science) == 1:
        named = re.search(r"_(raw|ima)\.fits", path.name.lower())
        return named[1] if named and frame_shape(science[0]) == (wfc3ir.SIZE,) * 2 else "flt"
    unit, per_second = read_unit(header)
    if per_second or unit == "ELECTRONS":
        return "ima"
    whole = any(one.header.get("BITPIX") == 16 for one in science if not is_constant(one))
    calibrated = any(get_upper(header, key) == "COMPLETE" for key in CALIBRATION_STEPS)
    return "ima" if calibrated and not whole else "raw"


def check_complete(header: dict, science: list, unit: str, per_second: bool, path: Path) -> None:
    """Raise an error if a ramp has lost reads.

    In this case its last extension is not the zeroth read.
    """
    expected = get_number(header, "NSAMP")
    ramp = len(science) > 1 or (unit == "COUNTS" and not per_second)
    if expected is None or not ramp or frame_shape(science[0]) == (wfc3ir.FLT_SIZE,) * 2:
        return
    if len(science) != expected:
        raise BlobwatchError(f"{path} holds {len(science)} of {expected:g} reads; fetch or copy it again")
    if len(science) == 1:
        raise BlobwatchError(f"{path} holds a single read; a ramp needs at least two. Fetch it again")


def companion_hdu(hdus, name: str, science):
    """Return the plane of a science image, preferably of the same shape; else None."""
    named = [hdu for hdu in hdus if hdu.name == name and hdu.is_image and frame_shape(hdu)]
    same = [hdu for hdu in named if hdu.ver == science.ver]
    fitting = [hdu for hdu in same or named if frame_shape(hdu) == frame_shape(science)]
    return next(iter(fitting or same), None)


def quality_plane(hdus, science, path: Path) -> np.ndarray | None:
    """Return the data quality of a science image, int16; None where there is none."""
    found = companion_hdu(hdus, "DQ", science)
    return None if found is None else np.nan_to_num(read_plane(found, path)).astype(np.int64).astype(np.int16)


def read_time(hdus, science) -> float | None:
    """Return the seconds at the end of a read: SAMPTIME, or a constant TIME plane."""
    found = get_number(science.header, "SAMPTIME")
    time = companion_hdu(hdus, "TIME", science) if found is None else None
    return get_number(time.header, "PIXVALUE") if time is not None and is_constant(time) else found


def exposure_time(hdus, newest, header: dict, times: list[float | None], path: Path) -> float:
    """Return EXPTIME, or the time of the reads if EXPTIME is missing or contradicts them.

    Raises
    ------
    UnusableFile
        If EXPTIME is 0 and the reads have no times.
    BlobwatchError
        If the exposure time is unknown.
    """
    stated, ramp, sequence = get_number(header, "EXPTIME"), times[0], sequence_time(header)
    if ramp is not None and len(times) > 1:
        ramp = ramp - times[-1] if times[-1] is not None else None
    known = [value for value in (ramp, sequence) if value is not None and value > 0]
    if stated is not None and stated <= 0 and not known:
        raise UnusableFile(f"{path}: EXPTIME is {stated:g} s. Leave the file out")
    if stated is not None and (not known or any(times_agree(stated, value) for value in known)):
        return stated
    measured = ramp or median_time(hdus, newest, path) or sequence or 0.0
    if not measured > 0:
        return require_time(header, "EXPTIME", path)
    if stated is not None and times_agree(stated, measured):
        return stated
    problem = "has no usable EXPTIME" if stated is None else f"EXPTIME is {stated:g} s"
    warn_file(path, f"{problem}; the {measured:g} s of its reads are used")
    return measured


def times_agree(stated: float, known: float) -> bool:
    """Return whether two exposure times are the same within the tolerance."""
    return abs(stated - known) <= TOLERANCE * known


def sequence_time(header: dict) -> float | None:
    """Return the exposure time of a SPARS sequence with NSAMP reads; None for other sequences."""
    found = re.fullmatch(r"SPARS(\d+)", get_upper(header, "SAMP_SEQ"))
    reads = get_number(header, "NSAMP")
    return FIRST_READ + int(found[1]) * (reads - 2) if found and reads and reads >= 2 else None


def median_time(hdus, science, path: Path) -> float | None:
    """Return the median of the TIME plane of a ``flt``, or None."""
    found = companion_hdu(hdus, "TIME", science)
    if found is None:
        return None
    seconds = read_plane(found, path)[::8, ::8].astype(np.float64)
    known = seconds[np.isfinite(seconds) & (seconds > 0)]
    return float(np.median(known)) if known.size else None


def saturated_pixels(hdus, science, path: Path) -> np.ndarray | None:
    """Return which pixels of a read are flagged as saturated; None for none."""
    flags = quality_plane(hdus, science, path)
    full = None if flags is None else flags & wfc3ir.DQ_SATURATED != 0
    return full if full is not None and full.any() else None


def ramp_rate(ramp: Ramp, dq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rate of a ramp, float64, and its data quality.

    If intervals cannot be compared, use the newest read minus the zeroth.
    """
    if (fitted := fit_rate(ramp)) is not None:
        rate, saturated = fitted
        # calwf3's own rejection fails over the whole frame where the background changes.
        dq = dq & ~REJECTED_IN_RAMP
    else:
        signal = ramp.signals[-1].astype(np.float64) - ramp.levels[-1]
        signal -= ramp.signals[0].astype(np.float64) - ramp.levels[0]
        rate, saturated = signal / ramp.seconds, signal >= ramp.full
    dq = np.where(saturated, dq | wfc3ir.DQ_SATURATED, dq)
    return rate.astype(np.float64), dq.astype(np.int16)
