"""Flat fields of fetched exposures, from the HST server of the Calibration Reference Data System (CRDS)."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from blobwatch.archive import mast
from blobwatch.archive.download import PartialFile, RequestRange
from blobwatch.archive.fetch import FetchResult, fetch_files, open_download
from blobwatch.archive.headers import print_warning
from blobwatch.archive.manifest import check_output, lock_output
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash
from blobwatch.instrument.calibration import read_calibration
from blobwatch.instrument.exposure_files import find_exposures
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.flats import read_flat
from blobwatch.instrument.kinds import read_keywords

FOLDER = "flats"  # in the directory of the exposures, whose searches skip flats
SERVER = "https://hst-crds.stsci.edu"
REFERENCES = "/unchecked_get/references/hst/"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*\.fits")  # excludes other directories


@dataclass(frozen=True)
class Flat:
    """A flat field of CRDS; its size is unknown before the download."""

    name: str
    size: None = None

    @property
    def uri(self) -> str:
        """Return the address of the file.

        The variable ``CRDS_SERVER_URL`` selects another server, as for the package ``crds``.
        """
        return (os.environ.get("CRDS_SERVER_URL") or SERVER).rstrip("/") + REFERENCES + self.name


def find_flats(folder: Path, names: Iterable[str] | None = None) -> list[Flat]:
    """Return the flats that were applied to the exposures in a directory, sorted by name.

    Parameters
    ----------
    folder : Path
        Unreadable files in it are reported on stderr.
    names : iterable of str, optional
        File names of the exposures; all exposures in the directory by default.

    Raises
    ------
    BlobwatchError
        If the directory is absent or contains no exposure.
    """
    check_output(folder)
    paths = find_exposures(folder, print_warning) if names is None else [folder / name for name in names]
    found: set[str] = set()
    for path in paths:
        try:
            with open_fits(path, only_image=True) as hdus:
                flats = read_calibration(read_keywords(hdus)).flat_files
        except BlobwatchError as error:
            print_warning(str(error))
            continue
        for name in flats:
            if NAME.fullmatch(name):
                found.add(name)
            else:
                print_warning(
                    f"{path}: {name!r} is not a file name of a flat. Restore PFLTFILE, DFLTFILE and LFLTFILE"
                )
    return [Flat(name) for name in sorted(found)]


def flat_state(path: Path) -> str:
    """Return ``here``, ``absent`` or ``altered`` (not a readable flat)."""
    if not path.exists():
        return "absent"
    try:
        read_flat(path)
    except BlobwatchError:
        return "altered"
    return "here"


def fetch_flats(flats: list[Flat], out: Path) -> FetchResult:
    """Fetch missing flats into a directory; resume interrupted downloads.

    Parameters
    ----------
    flats : list of Flat
    out : Path
        The directory of the flats.

    Raises
    ------
    BlobwatchError
        If ``out`` is not writable, or another fetch writes into it.
    """
    result = FetchResult()
    if not flats:
        return result
    with lock_output(out), mast.open_session() as session:
        missing = [one for one in flats if flat_state(out / one.name) != "here"]
        result.kept = [flat_row(one, out / one.name) for one in flats if one not in missing]

        def locate(flat: Flat) -> tuple[str, RequestRange]:
            return flat.uri, partial(mast.request_file, session, flat.uri)

        fetch_files(missing, out, result, locate, check_flat)
    return result


def check_flat(flat: Flat, part: PartialFile) -> dict:
    """Return the row of a downloaded flat; raise if it is incomplete."""
    with open_download(part.path):
        read_flat(part.path)
    return flat_row(flat, part.path)


def flat_row(flat: Flat, path: Path) -> dict:
    """Return the description of a flat for the JSON output."""
    row = {"name": flat.name, "uri": flat.uri, "size": path.stat().st_size}
    return row | {"md5": file_hash(path, "md5"), "path": f"{path.parent.name}/{flat.name}"}
