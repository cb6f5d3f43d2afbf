"""Labels of real exposures: ``data/labels/labels.csv``, one row per position and exposure.

Blobs are permanent. A position labelled ``blob`` therefore contains a blob in every later exposure; earlier
exposures are ambiguous. A position labelled ``other`` contains no blob in that exposure.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from blobwatch.dataset.ground_truth import Appearance
from blobwatch.dataset.splits import Source
from blobwatch.errors import BlobwatchError
from blobwatch.files import read_table, write_table
from blobwatch.images.blob_fit import fit_blob
from blobwatch.images.scaling import level_and_noise
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import Blob, half_width_at, radius_at

LABELS = "labels.csv"
BLOB: Final = "blob"
OTHER: Final = "other"
MAX_RADIUS = 60.0  # pixels; blobs are 10-20 pixels wide, so a larger radius is a mistake
Coordinate = Annotated[float, Field(ge=-0.5, lt=wfc3ir.SIZE - 0.5)]


def check_date(text: str) -> str:
    """Return an ISO date, with or without a time."""
    datetime.fromisoformat(text)
    return text


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

    rootname: Annotated[str, Field(pattern=r"^[a-z0-9]{9}$")]
    x: Coordinate
    y: Coordinate
    radius: Annotated[float, Field(gt=0, le=MAX_RADIUS)]
    label: Literal["blob", "other"]
    who: Annotated[str, Field(min_length=1)]
    when: Annotated[str, AfterValidator(check_date)]

    def holds(self, x: float, y: float) -> bool:
        """Return whether a position is within the radius."""
        return float(np.hypot(self.x - x, self.y - y)) <= self.radius

    def overlaps(self, other: "Label") -> bool:
        """Return whether another label is of the same position in the same exposure."""
        near = self.holds(other.x, other.y) or other.holds(self.x, self.y)
        return self.rootname == other.rootname and near


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
    labels: list[Label] = []
    for line, row in enumerate(rows, start=2):
        try:
            label = parse_label(row)
        except ValueError as error:
            raise BlobwatchError(f"{path}, line {line}: {error}") from None
        if other := next((one for one in labels if one.overlaps(label)), None):
            raise BlobwatchError(
                f"{path}, line {line}: ({label.x:g}, {label.y:g}) in {label.rootname} is labelled "
                f"{other.label!r} by {other.who} on {other.when}. Keep one of the two labels"
            )
        labels.append(label)
    return labels


def parse_label(row: dict[str, str]) -> Label:
    """Convert a row to a label; raise a ValueError if it is invalid."""
    row = {str(key): value.strip() if isinstance(value, str) else value for key, value in row.items()}
    if set(row) != set(COLUMNS):  # a row that is too long has the key None
        raise ValueError(f"columns {', '.join(row)}. Use {', '.join(COLUMNS)}")
    try:
        return TypeAdapter(Label).validate_python(row)
    except ValidationError as invalid:
        problems = [f"{error['loc'][0]} is {error['input']!r}; {error['msg']}" for error in invalid.errors()]
        raise ValueError("; ".join(problems)) from None


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
