"""Thousands of files described by their headers: exposure or difference image, time, filter."""

import csv
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import read_table
from blobwatch.instrument.differences import is_difference
from blobwatch.instrument.exposure_files import (
    Listed,
    choose_versions,
    find_exposures,
    ignore,
    listed_of,
    stamp_of,
)
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.keywords import merged, moment, word
from blobwatch.progress import print_message, track


@dataclass(frozen=True)
class File:
    """One file of a scan.

    Attributes
    ----------
    path : Path
    stamp : str
        Size and time of the last change; empty where the file is absent.
    expstart : float or None
        MJD; None where the header has no EXPSTART.
    filter : str
    listed : Listed or None
        The exposure; None for a difference image and for an unreadable file.
    """

    path: Path
    stamp: str
    expstart: float | None = None
    filter: str = ""
    listed: Listed | None = None


def files_of(source: Path) -> list[Path]:
    """Return the FITS files below a folder, or those named by a manifest.

    Parameters
    ----------
    source : Path
        A folder; problems in it are reported on stderr. Or a table (.csv) with a column ``path``, relative
        to its folder. Each file is returned once.

    Raises
    ------
    BlobwatchError
        If the source is neither, or names no file.
    """
    if source.is_dir():
        return find_exposures(source, warn)
    if source.suffix != ".csv":
        raise BlobwatchError(f"{source}: neither a directory nor a manifest (.csv). Pass one of these")
    try:
        names = [row.get("path") for row in read_table(source)]
    except (OSError, ValueError, csv.Error) as error:
        raise BlobwatchError(f"{source}: cannot be read as a manifest ({error}). Pass another one") from None
    if not names or not all(names):
        raise BlobwatchError(f"{source}: a row does not name a file. Fill the column path")
    return list(dict.fromkeys(source.parent / name for name in names))


def warn(message: str) -> None:
    """Print a warning on stderr."""
    print_message(message, "yellow")


def survey(paths: list[Path]) -> Iterator[File]:
    """Yield what the header of each file contains; an unreadable file has only path and stamp."""
    for path in track([path.absolute() for path in paths], len(paths), "headers"):  # for remote workers
        stamp = stamp_of(path)
        try:
            yield described(path, stamp)
        except Exception:  # the error of any file is reported when the file is judged
            yield File(path, stamp)


def described(path: Path, stamp: str) -> File:
    """Return a readable file as its header describes it."""
    with open_fits(path, only_image=True) as hdus:
        if not is_difference(hdus, path):
            listed = replace(listed_of(path, hdus), stamp=stamp)
            return File(path, stamp, listed.expstart, listed.filter, listed)
        header = merged(hdus[0])
        expstart = moment(header, "EXPSTART", path) if "EXPSTART" in header else None
        return File(path, stamp, expstart, word(header, "FILTER"))


def in_time(files: Iterable[File]) -> list[File]:
    """Return files in the order of time, those without a date last, in the order of their paths."""
    return sorted(
        files, key=lambda one: (float("inf") if one.expstart is None else one.expstart, str(one.path))
    )


def exposures_of(files: list[File], report: Callable[[str], None] = ignore) -> list[File]:
    """Return the exposures among files, one file per rootname, in the order of ``files``.

    Parameters
    ----------
    files : list of File
    report : callable, optional
        Receives a message for each rootname of several files.
    """
    chosen, messages = choose_versions(one.listed for one in files if one.listed)
    for message in messages:
        report(message)
    used = {id(one) for one in chosen}
    return [one for one in files if id(one.listed) in used]


def before(exposures: list[File], first: float, last: float, days: float) -> list[File]:
    """Return the exposures that may be in a stack of an exposure between two times."""
    start, end = (bisect_left(exposures, when, key=lambda one: one.expstart) for when in (first - days, last))
    return exposures[start:end]
