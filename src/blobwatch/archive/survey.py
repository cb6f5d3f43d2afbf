"""What thousands of files are, by their headers: exposures or differences, when, through which filter."""

import csv
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import read_table
from blobwatch.instrument.differences import is_difference
from blobwatch.instrument.exposures import exposure_facts
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.folder import Listed, find_exposures
from blobwatch.instrument.keywords import merged, moment
from blobwatch.progress import track


@dataclass(frozen=True)
class File:
    """One file of a scan.

    Attributes
    ----------
    path : Path
    stamp : str
        Size and time of change: what tells an altered file without reading it.
    expstart : float or None
        MJD, where the header has it.
    filter : str
    listed : Listed or None
        Where it is an exposure.
    """

    path: Path
    stamp: str
    expstart: float | None = None
    filter: str = ""
    listed: Listed | None = None


def files_of(source: Path) -> list[Path]:
    """Return the files of a folder, or those that a manifest names, each once; it needs no other column.

    Raises
    ------
    BlobwatchError
        If it is neither, or names no file.
    """
    if source.is_dir():
        return find_exposures(source)
    if source.suffix != ".csv":
        raise BlobwatchError(f"{source} is neither a folder nor a manifest (.csv); give one of these")
    try:
        names = [row.get("path") for row in read_table(source)]
    except (OSError, ValueError, csv.Error) as error:
        raise BlobwatchError(f"{source} cannot be read as a manifest ({error}); give another") from None
    if not names or not all(names):
        raise BlobwatchError(f"{source} does not name a file in each row; fill its column path")
    return list(dict.fromkeys(source.parent / name for name in names))  # a path is relative to its folder


def survey(paths: list[Path]) -> Iterator[File]:
    """Yield what is known of each file by its header; a file that cannot be read is as good as any here."""
    for path in track([path.absolute() for path in paths], len(paths), "headers"):  # for workers elsewhere
        try:
            about = path.stat()
            stamp = f"{about.st_size} {about.st_mtime_ns}"
        except OSError:
            stamp = ""
        try:
            with open_fits(path, only_image=True) as hdus:
                if is_difference(hdus, path):
                    header = merged(hdus[0])
                    when = moment(header, "EXPSTART", path) if "EXPSTART" in header else None
                    file = File(path, stamp, when, str(header.get("FILTER", "")))
                else:
                    listed = Listed(path, **exposure_facts(hdus, path), stamp=stamp)
                    file = File(path, stamp, listed.expstart, listed.filter, listed)
        except Exception:  # the row of the file has the reason
            file = File(path, stamp)
        yield file


def in_time(files: Iterable[File]) -> list[File]:
    """Return files in the order of time, those without a date last, in the order of their names."""
    return sorted(
        files, key=lambda one: (float("inf") if one.expstart is None else one.expstart, str(one.path))
    )


def exposures_of(files: list[File]) -> list[File]:
    """Return the exposures among files, each rootname once, though it may be there as raw and flt."""
    found: dict[str, File] = {}
    for one in files:
        if one.listed:
            found.setdefault(one.listed.rootname, one)  # so they stay in time
    return list(found.values())


def before(exposures: list[File], first: float, last: float, days: float) -> list[File]:
    """Return the exposures that may be in the stack of one between two moments."""
    start, end = (bisect_left(exposures, when, key=lambda one: one.expstart) for when in (first - days, last))
    return exposures[start:end]
