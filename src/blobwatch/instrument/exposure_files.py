"""Exposure files of a folder, sorted by time, one per rootname."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from blobwatch.errors import BlobwatchError, collect_file_warnings
from blobwatch.instrument.calibration import Calibration
from blobwatch.instrument.exposures import exposure_facts
from blobwatch.instrument.file_search import FileProblem as FileProblem
from blobwatch.instrument.file_search import find_image_files
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.keywords import get_upper
from blobwatch.instrument.kinds import is_difference, read_keywords

BLOCK = 2880  # bytes; the size of a FITS file is a multiple of it
PRODUCTS = ("flt", "ima", "raw")  # the preferred one first: its cosmic rays and bad pixels are flagged


@dataclass(frozen=True)
class ExposureFile:
    """One exposure file and the facts from its header.

    Attributes
    ----------
    path : Path
    rootname : str
    expstart : float
        MJD (UTC).
    filter, programme, samp_seq, target : str
        As in the header.
    product : str
        ``flt``, ``ima`` or ``raw``.
    calibration : Calibration
    stamp : str
        Size and modification time of the file; empty if unknown.
    """

    path: Path
    rootname: str
    expstart: float
    filter: str = ""
    programme: str = ""
    samp_seq: str = ""
    product: str = "flt"
    calibration: Calibration = field(default_factory=Calibration)
    stamp: str = ""
    target: str = ""


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
                if only_filter and read_filter(hdus) != only_filter.upper():
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
    found = find_image_files(folder)
    for problem in found.problems:
        report(str(problem))
    if not found.paths:
        raise BlobwatchError(f"{folder}: no FITS file. Put exposures there or run `blobwatch simulate`")
    return found.paths


def read_filter(hdus) -> str:
    """Return FILTER of the primary or the first SCI header, in capitals; empty if missing."""
    return get_upper(hdus[0].header, "FILTER") or get_upper(read_keywords(hdus), "FILTER")


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
    if hdus is None:
        stamp = file_stamp(path)
        with open_fits(path, only_image=True) as opened:
            return replace(describe_file(path, opened), stamp=stamp)

    return ExposureFile(path, stamp=file_stamp(path), **exposure_facts(hdus, path))


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
    versions: dict[str, list[ExposureFile]] = {}
    for one in listed:
        versions.setdefault(one.rootname, []).append(one)
    chosen, messages = [], []
    for name, several in versions.items():
        if len(several) > 1:
            several = sort_by_preference(several)
            messages.append(describe_choice(name, several))
        chosen.append(several[0])
    return chosen, messages


def sort_by_preference(several: list[ExposureFile]) -> list[ExposureFile]:
    """Sort files of one rootname, the preferred one first."""
    ordered = sorted(several, key=lambda one: one.path)
    ordered.sort(key=modification_time, reverse=True)
    ordered.sort(key=lambda one: one.calibration.order, reverse=True)
    return sorted(ordered, key=lambda one: PRODUCTS.index(one.product))


def describe_choice(name: str, ordered: list[ExposureFile]) -> str:
    """Return the message about the selected file of a rootname, with the reason."""
    first, second = ordered[:2]
    (version, _), (other, _) = first.calibration.order, second.calibration.order
    if first.product != second.product:
        reason = f"{first.product} is preferred to {second.product}"
    elif version != other:
        newer, older = (one.calibration.version.partition("(")[0].strip() for one in (first, second))
        reason = f"CAL_VER {newer} is newer than {older}" if older else "the others have no CAL_VER"
    elif first.calibration.date != second.calibration.date:
        older = second.calibration.date or "an unknown date"
        reason = f"calibrated on {first.calibration.date}, another on {older}"
    elif modification_time(first) != modification_time(second):
        reason = "it changed last"
    else:
        reason = "the first by path"
    same_name = len({one.path.name for one in ordered}) < len(ordered)
    used = first.path if same_name else first.path.name
    return f"{name}: {len(ordered)} files; {used} is used ({reason})"


def modification_time(one: ExposureFile) -> int:
    """Return the modification time, ns; 0 if unknown."""
    return int(one.stamp.split()[1]) if one.stamp else 0
