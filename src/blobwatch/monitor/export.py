"""The ledger's blobs in files that astronomers open: CSV, ECSV with units, regions for ds9."""

import csv
from io import StringIO
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import write_text
from blobwatch.monitor.ledger.rows import COLUMNS

UNITS = {
    "x": "pix",
    "y": "pix",
    "x_error": "pix",
    "y_error": "pix",
    "radius": "pix",
    "first_seen": "d",
    "last_seen": "d",
    "last_without": "d",
}
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
COLOURS = {"candidate": "yellow", "confirmed": "green", "rejected": "red"}


def write_export(path: Path, rows: list[dict]) -> None:
    """Write blobs, as `list_blobs` gives them, in the form that the ending of the file names.

    Raises
    ------
    BlobwatchError
        If the ending is another, or the place cannot be written.
    """
    if path.suffix not in WRITERS:
        raise BlobwatchError(f"{path} names no known form; end it in {', '.join(WRITERS)}")
    if not path.parent.is_dir():
        raise BlobwatchError(f"{path.parent} is no folder; make it, or give another place")
    try:
        write_text(path, WRITERS[path.suffix](rows))
    except OSError as error:
        raise BlobwatchError(f"{path} cannot be written: {error.strerror}; give another place") from None


def csv_of(rows: list[dict]) -> str:
    """Return a plain table."""
    text = StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def ecsv_of(rows: list[dict]) -> str:
    """Return a table of astropy, with units and what each column means; what is unknown is masked."""
    text = StringIO()
    table_of(rows).write(text, format="ascii.ecsv")
    return text.getvalue()


def table_of(rows: list[dict]):
    """Return blobs as a table of astropy."""
    import numpy as np
    from astropy.table import MaskedColumn, Table

    kinds = {"id": int, "detections": int, "model_version": int}
    texts = {
        "status",
        "reviewed_by",
        "first_rootname",
        "last_without_rootname",
        "last_rootname",
        "model_sha256",
        "fingerprint",
    }
    table = Table(meta={"comments": ["IR blobs of WFC3; x and y are pixels of the 1024 frame, from 0"]})
    for name in COLUMNS:
        kind = str if name in texts else kinds.get(name, float)
        values = [row[name] for row in rows]
        filled = [kind() if value is None else value for value in values]
        column = MaskedColumn(
            np.array(filled, dtype=kind), name=name, unit=UNITS.get(name), description=MEANINGS.get(name)
        )
        column.mask = [value is None for value in values]
        table.add_column(column)
    return table


def regions_of(rows: list[dict]) -> str:
    """Return a circle for each blob, in pixels of the 1024 frame, which ds9 counts from 1."""
    lines = [
        "# Region file format: DS9 version 4.1",
        "# pixels of the 1024 frame, from 1 (on a flt, take 5 off x and y)",
        "image",
    ]
    for row in rows:
        circle = f"circle({row['x'] + 1:.2f},{row['y'] + 1:.2f},{row['radius']:.2f})"
        lines.append(
            f"{circle} # color={COLOURS[row['status']]} text={{{row['id']}}} tag={{{row['status']}}}"
        )
    return "\n".join(lines) + "\n"


# The text of a file, by the ending of its name.
WRITERS = {".csv": csv_of, ".ecsv": ecsv_of, ".reg": regions_of}
