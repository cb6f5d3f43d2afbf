"""Files in the watched folder: find new ones and choose one per rootname."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.instrument.exposure_files import (
    PRODUCTS,
    ExposureFile,
    describe_file,
    file_stamp,
    is_incomplete,
    select_versions,
)
from blobwatch.instrument.file_search import FileProblem, find_fits_files
from blobwatch.progress import track

LAST_DAY = 1e5  # MJD, in 2132; later or negative dates are invalid
LONGEST = {"rootname": 64, "filter": 16}  # letters, as the ledger keeps them


@dataclass(frozen=True)
class Note:
    """A message about files or verdicts that does not count as an error."""

    text: str


@dataclass
class IncomingFiles:
    """The exposure files below a folder, each header read once.

    Attributes
    ----------
    folder : Path
    incomplete : float
        Seconds after its last change during which an unreadable file counts as still being written.
    watching : bool
        Whether the folder is searched again later: incomplete files are then not reported.
    """

    folder: Path
    incomplete: float = 60.0
    watching: bool = False
    headers: dict[tuple[Path, str], ExposureFile] = field(default_factory=dict)
    reported: set[object] = field(default_factory=set)

    def survey(
        self, known: Iterable[ExposureFile]
    ) -> tuple[dict[str, ExposureFile], list[FileProblem | Note]]:
        """Return the file to use of each rootname, and the new messages.

        Headers of files in ``known`` (files of the ledger) are read only if these changed.
        """
        found, problems = find_fits_files(self.folder)
        messages: list[FileProblem | Note] = [one for one in problems if self.is_new(one)]
        paths = [path.absolute() for path in found]
        keys = [(path, stamp) for path, stamp in zip(paths, map(file_stamp, paths), strict=True) if stamp]
        by_file = {(one.path, one.stamp): one for one in known}
        unseen = [key for key in keys if key not in self.headers and key not in by_file]
        messages += self.read(unseen)
        listed = [by_file.get(key) or self.headers.get(key) for key in keys]
        chosen, reasons = select_versions(one for one in listed if one is not None)
        messages += [Note(text) for text in reasons if self.is_new(text)]
        return {one.rootname: one for one in chosen}, messages

    def read(self, keys: list[tuple[Path, str]]) -> Iterator[FileProblem | Note]:
        """Read headers; yield the files that cannot be used."""
        for path, stamp in track(keys, len(keys), "headers") if keys else ():
            if (path, stamp) in self.reported:
                continue
            if is_incomplete(path, self.incomplete):
                if not self.watching:
                    yield Note(f"{path}: still being written. It is left for the next run")
                continue
            try:
                listed = describe_file(path)
            except BlobwatchError as error:
                yield self.problem(path, stamp, str(error))
            except Exception as error:  # a damaged header can raise anything
                yield self.problem(path, stamp, f"cannot be read ({error}). Fetch or copy it again")
            else:
                if fault := header_fault(listed):
                    yield self.problem(path, stamp, fault)
                else:
                    self.headers[path, stamp] = listed

    def problem(self, path: Path, stamp: str, message: str) -> FileProblem:
        """Return a problem that is reported once, until the file is replaced."""
        self.reported.add((path, stamp))
        return problem_of(path, message)

    def is_new(self, message: object) -> bool:
        """Return whether a message is reported for the first time."""
        is_new = message not in self.reported
        self.reported.add(message)
        return is_new


def problem_of(path: Path, message: str) -> FileProblem:
    """Return the problem of a file, with its path once."""
    return FileProblem(path, message.removeprefix(str(path)).removeprefix(":").strip())


def header_fault(listed: ExposureFile) -> str:
    """Return why the ledger rejects the header of an exposure.

    Return an empty string if it accepts the header.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in str(listed.path)):
        return "its name is not valid text. Rename it"
    if not 0 <= listed.expstart <= LAST_DAY:
        return f"EXPSTART {listed.expstart:g} is not a date (MJD). Restore the keyword"
    for key, longest in LONGEST.items():
        value = getattr(listed, key)
        if len(value) > longest or (key == "rootname" and not value):
            return f"{key.upper()} is {value!r}. Restore the keyword"
    return ""


def is_older(one: ExposureFile, other: ExposureFile) -> bool:
    """Return whether another file of a rootname is preferred.

    Compare the products, then the calibrations.
    """
    ranks = PRODUCTS.index(one.product), PRODUCTS.index(other.product)
    return ranks[0] > ranks[1] or (ranks[0] == ranks[1] and one.calibration.order < other.calibration.order)
