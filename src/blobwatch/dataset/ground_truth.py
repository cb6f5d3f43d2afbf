"""What is known of the blobs of a season, and which of them a difference image shows as new."""

from dataclasses import dataclass
from math import erfc, sqrt
from pathlib import Path

from blobwatch.files import read_table
from blobwatch.instrument.blobs import Blob

FRAME_NOISE = 0.0076  # per pixel of one exposure, fraction of the background; measured in a real frame


@dataclass(frozen=True)
class Appearance:
    """A blob and the moment (MJD) at which it appeared."""

    mjd: float
    blob: Blob


def read_truth(path: Path) -> list[Appearance]:
    """Read the new blobs of a simulated season; real exposures have no such table, so none.

    Parameters
    ----------
    path : Path
        The ``truth.csv`` that ``simulate`` writes beside the exposures.
    """
    if not path.is_file():
        return []
    rows = [row for row in read_table(path) if row["kind"] == "new"]
    shape = ("half_width", "depth", "axis_ratio", "exponent", "edge", "hole")
    return [
        Appearance(
            float(row["appeared_mjd"]),
            Blob(float(row["x"]), float(row["y"]), **{key: float(row[key]) for key in shape}),
        )
        for row in rows
    ]


def visible_fraction(depth: float, inside: int, total: int, noise: float) -> float:
    """Return how much of a new blob's depth a difference image shows.

    Nearly all of it while few of the stack's exposures hold it, nearly nothing once most do; between,
    the median of the stack lies between the two levels.

    Parameters
    ----------
    depth : float
        Of the blob, fraction of the background.
    inside, total : int
        Exposures of the stack that hold it, and all.
    noise : float
        Per pixel of one exposure, fraction of the background.
    """
    share = inside / total

    def below(level: float) -> float:
        """Share of the exposures' pixels below a level, when the blob takes ``depth`` from some."""
        with_blob = 0.5 * erfc(-(level + depth) / noise / sqrt(2))
        without = 0.5 * erfc(-level / noise / sqrt(2))
        return share * with_blob + (1 - share) * without

    low, high = -depth - 10 * noise, 10 * noise
    for _ in range(60):  # bisection for the median
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < 0.5 else (low, middle)
    return float(min(1.0, max(0.0, (depth + middle) / depth)))


def visible_new_blobs(truth: list[Appearance], expstart: float, stack_times: list[float]) -> list[Blob]:
    """Return the blobs that a difference image shows as new, with the depth they show there."""
    shown = []
    for one in truth:
        if expstart < one.mjd:
            continue
        inside = sum(time >= one.mjd for time in stack_times)
        share = visible_fraction(one.blob.depth, inside, len(stack_times), FRAME_NOISE)
        if share > 0.01:
            shown.append(Blob(**(one.blob.as_dict() | {"depth": share * one.blob.depth})))
    return shown
