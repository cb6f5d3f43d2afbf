"""Flat fields of fetched exposures, from the HST server of the Calibration Reference Data System (CRDS)."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from blobwatch.archive import mast
from blobwatch.archive.download import WAIT, Part, complete
from blobwatch.archive.fetch import Outcome, fetch_missing, is_sound
from blobwatch.archive.folder import check_folder, lock_folder
from blobwatch.archive.headers import warn
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash
from blobwatch.instrument.calibration import read_calibration
from blobwatch.instrument.exposure_files import find_exposures
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.flats import read_flat
from blobwatch.instrument.kinds import keywords_of

FOLDER = "flats"  # in the folder of the exposures, whose searches skip flats
SERVER = "https://hst-crds.stsci.edu"
REFERENCES = "/unchecked_get/references/hst/"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*\.fits")  # it becomes the name of a file here


@dataclass(frozen=True)
class Flat:
    """A flat field that headers name; the size is unknown before the download."""

    name: str
    size: None = None

    @property
    def uri(self) -> str:
        """Return the address of the file.

        The variable ``CRDS_SERVER_URL`` names another server, as for the package ``crds``.
        """
        return (os.environ.get("CRDS_SERVER_URL") or SERVER).rstrip("/") + REFERENCES + self.name


def find_flats(folder: Path, names: Iterable[str] | None = None) -> list[Flat]:
    """Return the flats that the exposures in a folder were divided by, sorted by name.

    Parameters
    ----------
    folder : Path
        Unreadable files in it are reported on stderr.
    names : iterable of str, optional
        File names of the exposures; all of the folder by default.

    Raises
    ------
    BlobwatchError
        If the folder is absent or holds no exposure.
    """
    check_folder(folder)
    paths = find_exposures(folder, warn) if names is None else [folder / name for name in names]
    found: set[str] = set()
    for path in paths:
        try:
            with open_fits(path, only_image=True) as hdus:
                named = read_calibration(keywords_of(hdus)).flat_files
        except BlobwatchError as error:
            warn(str(error))
            continue
        for name in named:
            if NAME.fullmatch(name):
                found.add(name)
            else:
                warn(
                    f"{path}: {name!r} is not a file name of a flat. Restore PFLTFILE, DFLTFILE and LFLTFILE"
                )
    return [Flat(name) for name in sorted(found)]


def flat_states(out: Path, flats: Iterable[Flat]) -> dict[str, str]:
    """Return ``here``, ``absent`` or ``altered`` (not a readable flat) for each flat by its name."""
    states = {}
    for one in flats:
        path = out / one.name
        try:
            states[one.name] = "here" if path.exists() and read_flat(path) is not None else "absent"
        except BlobwatchError:
            states[one.name] = "altered"
    return states


def fetch_flats(flats: list[Flat], out: Path, wait=WAIT) -> Outcome:
    """Fetch the flats that are not here yet; an interrupted download is continued.

    Parameters
    ----------
    flats : list of Flat
    out : Path
        The folder of the flats.
    wait : tenacity wait strategy
        Between tries.

    Raises
    ------
    BlobwatchError
        If nothing can be written to ``out``, or another fetch writes there.
    """
    with lock_folder(out):
        states = flat_states(out, flats)
        outcome = Outcome(kept=[row_of(out / one.name, one) for one in flats if states[one.name] == "here"])
        missing = [one for one in flats if states[one.name] != "here"]
        try:
            with mast.open_session() as session:
                fetch_missing(missing, outcome, partial(fetch_flat, session, out, wait))
        except KeyboardInterrupt:
            outcome.interrupted = True
    return outcome


def fetch_flat(session, out: Path, wait, flat: Flat, came: Callable[[int], None]) -> dict:
    """Fetch and check one flat; return its row."""
    part = Part(out / flat.name, flat.uri, None)
    try:
        complete(part, lambda *where: mast.ask_url(session, flat.uri, flat.name, *where), came, wait)
        try:
            check_flat(part.path)
        except BlobwatchError:
            part.drop()
            raise
        part.finish()
        return row_of(out / flat.name, flat)
    finally:
        part.close()


def check_flat(path: Path) -> None:
    """Raise unless a download is a whole flat whose data have the sums in its headers."""
    try:
        read_flat(path)
        with open_fits(path) as hdus:
            sound = all(is_sound(hdu) for hdu in hdus)
    except BlobwatchError as error:
        raise BlobwatchError(f"not a flat: {str(error).replace(str(path), 'the file')}") from None
    if not sound:
        raise BlobwatchError("damaged: a DATASUM in it is not that of its data. Fetch it again")


def row_of(path: Path, flat: Flat) -> dict:
    """Return a flat as a row of the answer."""
    row = {"name": flat.name, "uri": flat.uri, "size": path.stat().st_size}
    return row | {"md5": file_hash(path, "md5"), "path": f"{path.parent.name}/{path.name}"}
