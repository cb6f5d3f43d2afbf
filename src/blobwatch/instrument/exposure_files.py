"""Exposure files of a folder, sorted by time, one per rootname."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError, collect_file_warnings
from blobwatch.instrument.exposures import ExposureFile, parse_exposure_file
from blobwatch.instrument.file_search import find_fits_files
from blobwatch.instrument.fitsfile import open_fits, use_or_open
from blobwatch.instrument.keywords import get_upper
from blobwatch.instrument.kinds import is_difference, read_keywords

BLOCK = 2880  # bytes; the size of a FITS file is a multiple of it
PRODUCTS = ("flt", "ima", "raw")  # the preferred one first: its cosmic rays and bad pixels are flagged


def ignore_message(message: str) -> None:
    """Drop a message."""


def list_exposures(
    folder: Path, only_filter: str = "", report: Callable[[str], None] = ignore_message, strict: bool = True
) -> list[ExposureFile]:
    """Return the exposures of a folder in the order of time, one per rootname.

    Parameters
    ----------
    folder : Path
        Nested folders are searched.
    only_filter : str
        Empty for all filters.
    report : callable, optional
        Receives a message for each file or folder that cannot be read and for each rootname of several
        files.
    strict : bool
        Whether a damaged or undated file is an error; else it is reported and left out.

    Raises
    ------
    BlobwatchError
        If there is no exposure, or a file is damaged or has no date.
    """
    listed, differences = [], 0
    for path in find_exposures(folder, report):
        try:
            with open_fits(path, only_image=True) as hdus:
                if only_filter and get_upper(read_keywords(hdus), "FILTER") != only_filter.upper():
                    continue
                if is_difference(hdus, path):
                    differences += 1
                else:
                    listed.append(describe_file(path, hdus))
        except BlobwatchError as error:
            if strict:
                raise
            report(str(error))
    if differences:
        report(f"{folder}: {differences} difference images are not used as exposures")
    if not listed:
        remedy = f" in {only_filter}. Set data.filter or add" if only_filter else ". Add"
        raise BlobwatchError(f"{folder}: no exposure{remedy} exposures")
    chosen, messages = select_versions(listed)
    for message in messages:
        report(message)
    return sorted(chosen, key=lambda one: (one.expstart, one.rootname))


def find_exposures(folder: Path | str, report: Callable[[str], None] = ignore_message) -> list[Path]:
    """Return the FITS files below a folder in the order of their paths.

    Parameters
    ----------
    folder : Path or str
    report : callable, optional
        Receives a message for each file or folder that cannot be read.

    Raises
    ------
    BlobwatchError
        If the folder is absent or holds none.
    """
    paths, problems = find_fits_files(folder)
    for problem in problems:
        report(str(problem))
    if not paths:
        raise BlobwatchError(f"{folder}: no FITS file. Put exposures there or run `blobwatch simulate`")
    return paths


def describe_file(path: Path, hdus=None) -> ExposureFile:
    """Read the header facts of an exposure file.

    Parameters
    ----------
    path : Path
    hdus : HDUList, optional
        The file if already open.

    Raises
    ------
    BlobwatchError
        If the file is unreadable or has no date.
    """
    stamp = file_stamp(path)
    with use_or_open(hdus, path, only_image=True) as opened:
        return replace(parse_exposure_file(opened, path), stamp=stamp)


def file_stamp(path: Path) -> str:
    """Return size and modification time of a file; empty if absent."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def is_incomplete(path: Path, seconds: float) -> bool:
    """Return whether a file is incomplete and changed less than ``seconds`` ago.

    Parameters
    ----------
    path : Path
    seconds : float
        Files older than this count as complete.
    """
    try:
        status = path.stat()
        if abs(time.time() - status.st_mtime) >= seconds:
            return False
        if status.st_size % BLOCK and path.suffix.lower() != ".gz":
            return True
        with collect_file_warnings(), open_fits(path) as hdus:  # they are reported when the file is used
            extensions = hdus[0].header.get("NEXTEND")
            return isinstance(extensions, int) and len(hdus) - 1 < extensions
    except (BlobwatchError, OSError):
        return True


def select_versions(listed: Iterable[ExposureFile]) -> tuple[list[ExposureFile], list[str]]:
    """Select one file per rootname.

    The order of preference is: ``flt``, ``ima``, ``raw``; the newest calibration; the file that changed
    last; the first by path.

    Parameters
    ----------
    listed : iterable of ExposureFile

    Returns
    -------
    chosen : list of ExposureFile
        In the order of ``listed``.
    messages : list of str
        One per rootname of several files, with the reason of the choice.
    """
    listed = list(listed)
    versions: dict[str, list[ExposureFile]] = {}
    for one in sorted(listed, key=lambda one: one.path):
        versions.setdefault(one.rootname, []).append(one)
    chosen, messages = [], []
    for name in dict.fromkeys(one.rootname for one in listed):
        first, *others = sorted(versions[name], key=lambda one: [*criteria(one).values()], reverse=True)
        chosen.append(first)
        if others:
            pairs = zip(criteria(first).items(), criteria(others[0]).values(), strict=True)
            reasons = (f"{key} {a[1]}, not {b[1] or 'none'}" for (key, a), b in pairs if a != b)
            used = first.path if first.path.name in {one.path.name for one in others} else first.path.name
            reason = next(reasons, "the first by path")
            messages.append(f"{name}: {len(versions[name])} files; {used} is used ({reason})")
    return chosen, messages


def criteria(one: ExposureFile) -> dict[str, tuple]:
    """Return the criteria of preference by name: each a value to sort by, and its text."""
    numbers, date = one.calibration.order
    changed = int(one.stamp.split()[1]) if one.stamp else 0
    return {
        "product": (-PRODUCTS.index(one.product), one.product),
        "CAL_VER": (numbers, one.calibration.version.partition("(")[0].strip()),
        "calibration date": (date, date),
        "time of change": (changed, str(np.datetime64(changed, "ns"))),
    }
