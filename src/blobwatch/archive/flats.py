"""Flat fields of fetched exposures, from the HST server of the Calibration Reference Data System (CRDS)."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from blobwatch.archive import mast
from blobwatch.archive.download import WAIT, PartialFile, fetch_file
from blobwatch.archive.fetch import FetchResult, datasum_matches, fetch_files
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


def flat_states(out: Path, flats: Iterable[Flat]) -> dict[str, str]:
    """Return ``here``, ``absent`` or ``altered`` (not a readable flat) for each flat by name."""
    states = {}
    for one in flats:
        path = out / one.name
        try:
            states[one.name] = "here" if path.exists() and read_flat(path) is not None else "absent"
        except BlobwatchError:
            states[one.name] = "altered"
    return states


def fetch_flats(flats: list[Flat], out: Path, wait=WAIT) -> FetchResult:
    """Fetch the flats that are not in a directory yet; interrupted downloads are resumed.

    Parameters
    ----------
    flats : list of Flat
    out : Path
        The directory of the flats.
    wait : tenacity wait strategy
        Between tries.

    Raises
    ------
    BlobwatchError
        If ``out`` is not writable, or another fetch writes into it.
    """
    with lock_output(out):
        states = flat_states(out, flats)
        result = FetchResult(kept=[flat_row(out / name) for name, state in states.items() if state == "here"])
        missing = [one for one in flats if states[one.name] != "here"]
        try:
            with mast.open_session() as session:
                fetch_files(missing, result, partial(fetch_flat, session, out, wait))
        except KeyboardInterrupt:
            result.interrupted = True
    return result


def fetch_flat(session, out: Path, wait, flat: Flat, report: Callable[[int], None]) -> dict:
    """Fetch and check one flat, and return its row."""
    part = PartialFile(out / flat.name, flat.uri, None)
    request = partial(mast.request_file, session, flat.uri, flat.name)
    fetch_file(part, request, report, lambda complete: check_flat(complete.path), wait)
    return flat_row(out / flat.name)


def check_flat(path: Path) -> None:
    """Raise unless a download is a complete flat whose data match its checksums."""
    try:
        read_flat(path)
        with open_fits(path) as hdus:
            intact = all(datasum_matches(hdu) for hdu in hdus)
    except BlobwatchError as error:
        raise BlobwatchError(f"not a flat: {str(error).replace(str(path), 'the file')}") from None
    if not intact:
        raise BlobwatchError("damaged: the data do not match their DATASUM. Fetch the file again")


def flat_row(path: Path) -> dict:
    """Return the description of a flat for the JSON output."""
    row = {"name": path.name, "uri": Flat(path.name).uri, "size": path.stat().st_size}
    return row | {"md5": file_hash(path, "md5"), "path": f"{path.parent.name}/{path.name}"}
