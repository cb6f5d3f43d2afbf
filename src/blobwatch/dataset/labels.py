"""What people saw in real exposures: ``data/labels/labels.csv``, one row per place in one exposure.

A blob stays once it is there. So a place that was labelled ``blob`` holds one in every later exposure; in
earlier ones nobody knows. A place labelled ``other`` holds none in that exposure, whatever it looks like.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

import numpy as np

from blobwatch.dataset.ground_truth import Appearance
from blobwatch.dataset.splits import Source
from blobwatch.errors import BlobwatchError
from blobwatch.files import read_table, write_table
from blobwatch.images.blob_fit import fit_blob
from blobwatch.images.scaling import level_and_noise
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import Blob, half_width_at, radius_at

LABELS = "labels.csv"
BLOB, OTHER = "blob", "other"
LARGEST = 60.0  # pixels; a larger radius is a slip, blobs are 10-20 pixels across
ROOTNAME = re.compile(r"[a-z0-9]{9}")


@dataclass(frozen=True)
class Label:
    """What one person saw at one place of one exposure.

    Attributes
    ----------
    rootname : str
    x, y, radius : float
        Pixels of the 1024 frame.
    label : str
        ``blob``, or ``other`` for what could be taken for one.
    who : str
    when : str
        ISO date, with or without a time.
    """

    rootname: str
    x: float
    y: float
    radius: float
    label: str
    who: str
    when: str

    def holds(self, x: float, y: float) -> bool:
        """Tell whether a place is within the radius."""
        return float(np.hypot(self.x - x, self.y - y)) <= self.radius


COLUMNS = [field.name for field in fields(Label)]


def read_labels(folder: Path) -> list[Label]:
    """Return the labels of a folder; none where it holds no table.

    Raises
    ------
    BlobwatchError
        If a row is wrong: names the file, the line and what is wrong in it.
    """
    path = folder / LABELS
    if not path.is_file():
        return []
    try:
        rows = read_table(path)
    except UnicodeDecodeError:
        raise BlobwatchError(f"{path} is no text; write it as CSV in UTF-8") from None
    if rows and set(rows[0]) != set(COLUMNS):
        given = ", ".join(map(str, rows[0]))
        raise BlobwatchError(f"{path} has the columns {given}; give {', '.join(COLUMNS)}")
    labels = []
    for line, row in enumerate(rows, start=2):
        try:
            labels.append(parse_label(row))
            check_duplicate(labels[-1], labels[:-1])
        except ValueError as wrong:
            raise BlobwatchError(f"{path}, line {line}: {wrong}") from None
    return labels


def parse_label(row: dict[str, str]) -> Label:
    """Return the label of a row, or raise a ValueError that says what is wrong in it."""
    if None in row or None in row.values():
        raise ValueError(f"give {len(COLUMNS)} cells: {', '.join(COLUMNS)}")
    row = {key: value.strip() for key, value in row.items()}
    numbers = {}
    for key in ("x", "y", "radius"):
        try:
            numbers[key] = float(row[key])
        except ValueError:
            raise ValueError(f"{key} is {row[key]!r}; give pixels of the 1024 frame") from None
    if not all(-0.5 <= numbers[key] < wfc3ir.SIZE - 0.5 for key in ("x", "y")):
        raise ValueError(f"the place ({row['x']}, {row['y']}) lies outside the 1024 frame, which begins at 0")
    if not 0 < numbers["radius"] <= LARGEST:
        raise ValueError(f"radius is {row['radius']}; give pixels, above 0 and up to {LARGEST:g}")
    if not ROOTNAME.fullmatch(row["rootname"]):
        raise ValueError(f"rootname is {row['rootname']!r}; give the nine characters, like ich219i8q")
    if row["label"] not in (BLOB, OTHER):
        raise ValueError(f"label is {row['label']!r}; give {BLOB} or {OTHER}")
    if not row["who"]:
        raise ValueError("who is empty; give the name of who saw it")
    try:
        datetime.fromisoformat(row["when"])
    except ValueError:
        raise ValueError(f"when is {row['when']!r}; give a date like 2026-11-24") from None
    return Label(**(row | numbers))


def check_duplicate(label: Label, before: list[Label]) -> None:
    """Raise a ValueError if an earlier row says otherwise, or the same, of this place."""
    for other in before:
        same_place = other.holds(label.x, label.y) or label.holds(other.x, other.y)
        if other.rootname == label.rootname and same_place:
            same = "the same" if other.label == label.label else f"{other.label!r}"
            raise ValueError(
                f"({label.x:g}, {label.y:g}) in {label.rootname} is there already: {other.who} said {same} "
                f"of it on {other.when}; keep one"
            )


def write_labels(folder: Path, labels: list[Label]) -> None:
    """Write the table, whole or not at all."""
    write_table(folder / LABELS, [asdict(label) for label in labels], COLUMNS)


@dataclass(frozen=True)
class Labelled:
    """What the labels say of the exposures that are used.

    Attributes
    ----------
    appearances : list of Appearance
        Each blob once, from its first label on.
    others : dict of str to ndarray, shape (k, 2)
        Places ``x, y`` of each exposure that hold no blob.
    used : list of Label
        Those whose exposure is among the sources; labels of other exposures say nothing here.
    """

    appearances: list[Appearance]
    others: dict[str, np.ndarray]
    used: list[Label]


def apply_labels(
    labels: list[Label],
    sources: list[Source],
    truth: list[Appearance],
    read: Callable[[Path], np.ndarray],
) -> Labelled:
    """Join the labels with the difference images that are used.

    Parameters
    ----------
    labels : list of Label
    sources : list of Source
    truth : list of Appearance
        What is known of a simulated season; a label on one of its blobs adds nothing.
    read : callable
        Gives the difference image, fractions of the background, of a path.
    """
    by_name = {source.rootname: source for source in sources}
    used = [label for label in labels if label.rootname in by_name]
    appearances: list[Appearance] = []
    for label in sorted(used, key=lambda one: by_name[one.rootname].expstart):
        known = [one.blob for one in truth + appearances]
        if label.label == BLOB and not any(label.holds(blob.x, blob.y) for blob in known):
            source = by_name[label.rootname]
            appearances.append(Appearance(source.expstart, estimate_blob(label, read(source.path))))
    others = {
        name: np.array([(one.x, one.y) for one in used if one.rootname == name and one.label == OTHER])
        for name in {one.rootname for one in used if one.label == OTHER}
    }
    return Labelled(appearances, others, used)


def estimate_blob(label: Label, image: np.ndarray) -> Blob:
    """Return the blob at a label: of the size that the label gives, as deep as the image shows it there."""
    level, noise = level_and_noise(image)
    found = fit_blob(image, label.x, label.y, level, noise)
    half_width = half_width_at(label.x, label.y) * label.radius / radius_at(label.x, label.y)
    return Blob(label.x, label.y, max(1.5, half_width), max(found.depth, 1e-6))
