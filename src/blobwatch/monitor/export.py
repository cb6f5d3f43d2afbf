"""Export of blobs: CSV, ECSV with units, regions for ds9."""

import csv
from io import StringIO
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import write_text
from blobwatch.monitor.ledger.rows import COLUMNS

UNITS = dict.fromkeys(("x", "y", "x_error", "y_error", "radius"), "pix")
UNITS |= dict.fromkeys(("first_seen", "last_seen", "last_without"), "d")
MEANINGS = {
    "x": "column of the 1024 frame, from 0",
    "y": "row of the 1024 frame, from 0",
    "depth": "fraction of the background, in its best detection",
    "first_seen": "MJD (UTC) of the first exposure with it",
    "last_without": "MJD (UTC) of the last exposure without it",
    "last_seen": "MJD (UTC) of the last exposure that shows it",
    "detections": "exposures in which the model found it",
    "depth_error": "of the noise, and of the scatter of shapes",
    "x_error": "scatter of the detections",
    "y_error": "scatter of the detections",
}
INTEGERS = {"id", "detections", "model_version"}
TEXTS = {"status", "reviewed_by", "first_rootname", "last_without_rootname", "last_rootname"}
TEXTS |= {"model_sha256", "fingerprint"}
COLOURS = {"candidate": "yellow", "confirmed": "green", "rejected": "red"}


def write_export(path: Path, rows: list[dict]) -> None:
    """Write blobs from `list_blobs` in the format of the file name's suffix.

    Raises
    ------
    BlobwatchError
        If the suffix is unknown or the file is not writable.
    """
    if path.suffix not in WRITERS:
        raise BlobwatchError(f"{path}: unknown format. Use the suffix {', '.join(WRITERS)}")
    if not path.parent.is_dir():
        raise BlobwatchError(f"{path.parent}: not a directory. Create it, or pass another path")
    try:
        write_text(path, WRITERS[path.suffix](rows))
    except OSError as error:
        raise BlobwatchError(f"{path}: not writable ({error.strerror}). Pass another path") from None


def to_csv(rows: list[dict]) -> str:
    """Return blobs as CSV."""
    text = StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def to_ecsv(rows: list[dict]) -> str:
    """Return blobs as an astropy table with units and descriptions; unknown values are masked."""
    import numpy as np
    from astropy.table import MaskedColumn, Table

    table = Table(meta={"comments": ["IR blobs of WFC3; x and y are pixels of the 1024 frame, from 0"]})
    for name in COLUMNS:
        kind = str if name in TEXTS else int if name in INTEGERS else float
        values = [row[name] for row in rows]
        data = np.array([kind() if value is None else value for value in values], dtype=kind)
        column = MaskedColumn(data, name=name, unit=UNITS.get(name), description=MEANINGS.get(name))
        column.mask = [value is None for value in values]
        table.add_column(column)
    text = StringIO()
    table.write(text, format="ascii.ecsv")
    return text.getvalue()


def to_regions(rows: list[dict]) -> str:
    """Return a ds9 circle for each blob, in pixels counted from 1."""
    lines = [
        "# Region file format: DS9 version 4.1",
        "# pixels of the 1024 frame, from 1 (on a flt, take 5 off x and y)",
        "image",
    ]
    for row in rows:
        circle = f"circle({row['x'] + 1:.2f},{row['y'] + 1:.2f},{row['radius']:.2f})"
        properties = f"color={COLOURS[row['status']]} text={{{row['id']}}} tag={{{row['status']}}}"
        lines.append(f"{circle} # {properties}")
    return "\n".join(lines) + "\n"


WRITERS = {".csv": to_csv, ".ecsv": to_ecsv, ".reg": to_regions}
