"""The files of a scan, described by their headers: exposure or difference image, time, filter."""

import csv
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from blobwatch.errors import BlobwatchError
from blobwatch.files import read_table
from blobwatch.instrument.exposure_files import (
    ExposureFile,
    describe_file,
    file_stamp,
    find_exposures,
    ignore_message,
    select_versions,
)
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.keywords import get_upper, merge_headers, require_time
from blobwatch.instrument.kinds import is_difference
from blobwatch.progress import print_message, track


@dataclass(frozen=True)
class ScanFile:
    """One file of a scan.

    Attributes
    ----------
    path : Path
    stamp : str
        Size and modification time; empty if the file is absent.
    expstart : float or None
        MJD; None without EXPSTART.
    filter : str
    listed : ExposureFile or None
        The exposure; None for a difference image and for an unreadable file.
    """

    path: Path
    stamp: str
    expstart: float | None = None
    filter: str = ""
    listed: ExposureFile | None = None


def list_files(source: Path) -> list[Path]:
    """Return the FITS files in a directory or in a manifest.

    Parameters
    ----------
    source : Path
        A directory, searched recursively; problems in it are reported on stderr. Or a table (.csv) with a
        column ``path``, relative to its directory. Each file is returned once.

    Raises
    ------
    BlobwatchError
        If the source is neither, or contains no file.
    """
    if source.is_dir():
        return find_exposures(source, print_warning)
    if source.suffix != ".csv":
        raise BlobwatchError(f"{source}: neither a directory nor a manifest (.csv). Pass one of these")
    try:
        names = [row.get("path") for row in read_table(source)]
    except (OSError, ValueError, csv.Error) as error:
        raise BlobwatchError(f"{source}: not readable as a manifest ({error}). Pass another one") from None
    if not names or not all(names):
        raise BlobwatchError(f"{source}: a row does not name a file. Fill the column path")
    return list(dict.fromkeys(source.parent / name for name in names if name))


def print_warning(message: str) -> None:
    """Print a warning on stderr."""
    print_message(message, "yellow")


def read_headers(paths: list[Path]) -> Iterator[ScanFile]:
    """Yield each file with the content of its header.

    An unreadable file has only path and stamp.
    """
    # Workers may run in another directory, so the paths are absolute.
    for path in track([path.absolute() for path in paths], len(paths), "headers"):
        stamp = file_stamp(path)
        try:
            yield read_file_header(path, stamp)
        except Exception:  # the prediction reports the error of the file
            yield ScanFile(path, stamp)


def read_file_header(path: Path, stamp: str) -> ScanFile:
    """Return a file with the content of its header."""
    with open_fits(path, only_image=True) as hdus:
        if not is_difference(hdus, path):
            listed = replace(describe_file(path, hdus), stamp=stamp)
            return ScanFile(path, stamp, listed.expstart, listed.filter, listed)
        header = merge_headers(hdus[0])
        expstart = require_time(header, "EXPSTART", path) if "EXPSTART" in header else None
        return ScanFile(path, stamp, expstart, get_upper(header, "FILTER"))


def sort_by_time(files: Iterable[ScanFile]) -> list[ScanFile]:
    """Return files in order of time and path, files without a date last."""
    return sorted(
        files, key=lambda one: (float("inf") if one.expstart is None else one.expstart, str(one.path))
    )


def select_exposures(files: list[ScanFile], report: Callable[[str], None] = ignore_message) -> list[ScanFile]:
    """Return the exposures among files, one file per rootname, in the order of ``files``.

    Parameters
    ----------
    files : list of ScanFile
    report : callable, optional
        Receives a message for each rootname with several files.
    """
    chosen, messages = select_versions(one.listed for one in files if one.listed)
    for message in messages:
        report(message)
    used = {id(one) for one in chosen}
    return [one for one in files if id(one.listed) in used]


def select_window(exposures: list[ScanFile], first: float, last: float, days: float) -> list[ScanFile]:
    """Return the exposures from ``days`` before ``first`` until before ``last`` (MJD)."""
    times = (first - days, last)
    start, end = (bisect_left(exposures, when, key=lambda one: cast(float, one.expstart)) for when in times)
    return exposures[start:end]
