"""A folder of exposures, in the order of time."""

from dataclasses import dataclass, field
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.instrument.calibration import Calibration
from blobwatch.instrument.exposures import moment, rootname
from blobwatch.instrument.fitsfile import open_fits


@dataclass(frozen=True)
class Listed:
    """One exposure file as its header describes it.

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
        Size and time of the last change of the file; empty where unknown.
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


def list_exposures(folder: Path, only_filter: str) -> list[Listed]:
    """Return the exposures of one filter in the order of time.

    Raises
    ------
    BlobwatchError
        If there is none, one has no date, or two carry the same rootname.
    """
    listed = []
    for path in find_exposures(folder):
        with open_fits(path) as hdus:
            header = hdus[0].header
        if str(header.get("FILTER", "")).strip() != only_filter:
            continue
        programme = str(header.get("PROPOSID", "")).strip()
        when = moment(header, "EXPSTART", path)
        listed.append(Listed(path, rootname(header, path), when, only_filter, programme))
    if not listed:
        raise BlobwatchError(f"{folder} holds no exposure in {only_filter}; set data.filter or add exposures")
    names = [one.rootname for one in listed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BlobwatchError(f"{folder} holds more than one file of {', '.join(twice)}; keep one of each")
    return sorted(listed, key=lambda one: (one.expstart, one.rootname))


def find_exposures(folder: Path | str) -> list[Path]:
    """Return the FITS files of a folder in the order of their names.

    Raises
    ------
    BlobwatchError
        If the folder is absent or holds none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BlobwatchError(f"{folder} is not a folder; give the folder that holds the exposures")
    endings = (".fits", ".fits.gz", ".fits.fz")
    found = sorted(path for path in folder.iterdir() if path.name.endswith(endings) and path.is_file())
    if not found:
        raise BlobwatchError(f"{folder} holds no FITS file; put exposures there or run `blobwatch simulate`")
    return found
