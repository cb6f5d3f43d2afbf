"""Labels of real exposures: ``data/labels/labels.csv``, one row per position and exposure.

Blobs are permanent. A position labelled ``blob`` therefore contains a blob in every later exposure; earlier
exposures are ambiguous. A position labelled ``other`` contains no blob in that exposure.
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
MAX_RADIUS = 60.0  # pixels; blobs are 10-20 pixels wide, so a larger radius is a mistake
ROOTNAME = re.compile(r"[a-z0-9]{9}")


@dataclass(frozen=True)
class Label:
    """One person's label of one position in one exposure.

    Attributes
    ----------
    rootname : str
    x, y, radius : float
        Pixels of the 1024 frame.
    label : str
        ``blob``, or ``other`` for a feature that can be mistaken for one.
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
        """Return whether a position is within the radius."""
        return float(np.hypot(self.x - x, self.y - y)) <= self.radius


COLUMNS = [field.name for field in fields(Label)]


def read_labels(folder: Path) -> list[Label]:
    """Read the labels of a folder; a missing table means no labels.

    Raises
    ------
    BlobwatchError
        If a row is invalid. The message contains the file and the line.
    """
    path = folder / LABELS
    if not path.is_file():
        return []
    try:
        rows = read_table(path)
    except UnicodeDecodeError:
        raise BlobwatchError(f"{path}: not a text file. Write it as CSV in UTF-8") from None
    if rows and set(rows[0]) != set(COLUMNS):
        found = ", ".join(map(str, rows[0]))
        raise BlobwatchError(f"{path}: unexpected columns {found}. Use {', '.join(COLUMNS)}")
    labels = []
    for line, row in enumerate(rows, start=2):
        try:
            labels.append(parse_label(row))
            check_duplicate(labels[-1], labels[:-1])
        except ValueError as error:
            raise BlobwatchError(f"{path}, line {line}: {error}") from None
    return labels


def parse_label(row: dict[str, str]) -> Label:
    """Convert a row to a label; raise a ValueError if it is invalid."""
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
    if not 0 < numbers["radius"] <= MAX_RADIUS:
        raise ValueError(f"radius is {row['radius']}; give pixels, above 0 and up to {MAX_RADIUS:g}")
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
    """Raise a ValueError if an earlier row labels the same position."""
    for other in before:
        same_place = other.holds(label.x, label.y) or label.holds(other.x, other.y)
        if other.rootname == label.rootname and same_place:
            same = "the same" if other.label == label.label else f"{other.label!r}"
            raise ValueError(
                f"({label.x:g}, {label.y:g}) in {label.rootname} is there already: {other.who} said {same} "
                f"of it on {other.when}; keep one"
            )


def write_labels(folder: Path, labels: list[Label]) -> None:
    """Write the table of labels atomically."""
    write_table(folder / LABELS, [asdict(label) for label in labels], COLUMNS)


@dataclass(frozen=True)
class LabelledSources:
    """Labels joined with the exposures that are used.

    Attributes
    ----------
    appearances : list of Appearance
        Each labelled blob once, with the time of its first label.
    others : dict of str to ndarray, shape (k, 2)
        Positions ``x, y`` without a blob, by rootname.
    used : list of Label
        Labels whose exposure is among the sources.
    """

    appearances: list[Appearance]
    others: dict[str, np.ndarray]
    used: list[Label]


def apply_labels(
    labels: list[Label],
    sources: list[Source],
    truth: list[Appearance],
    read: Callable[[Path], np.ndarray],
) -> LabelledSources:
    """Join labels with the difference images that are used.

    Parameters
    ----------
    labels : list of Label
    sources : list of Source
    truth : list of Appearance
        Blobs of a simulated season. A label on one of them is ignored.
    read : callable
        Function that returns the difference image of a path, fraction of the background.
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
    return LabelledSources(appearances, others, used)


def estimate_blob(label: Label, image: np.ndarray) -> Blob:
    """Return the blob at a label, with the label's size and the measured depth."""
    level, noise = level_and_noise(image)
    found = fit_blob(image, label.x, label.y, level, noise)
    half_width = half_width_at(label.x, label.y) * label.radius / radius_at(label.x, label.y)
    return Blob(label.x, label.y, max(1.5, half_width), max(found.depth, 1e-6))
