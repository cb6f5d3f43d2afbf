"""Ground truth: when blobs appear, and which of them a difference image shows."""

from dataclasses import dataclass, replace
from math import erfc, sqrt
from pathlib import Path

from blobwatch.files import read_table
from blobwatch.instrument.blobs import Blob

FRAME_NOISE = 0.0076  # per pixel of one exposure, fraction of the background; measured in a real frame


@dataclass(frozen=True)
class Appearance:
    """A blob and the time (MJD) at which it appeared."""

    mjd: float
    blob: Blob


def read_truth(path: Path) -> list[Appearance]:
    """Read the new blobs of a simulated season, or nothing if the table is missing.

    Parameters
    ----------
    path : Path
        The ``truth.csv`` that ``simulate`` writes next to the exposures.
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
    """Return the fraction of a new blob's depth that a difference image shows.

    It decreases from 1 to 0 with the share of the stack's exposures that contain the blob, because the stack
    is a median.

    Parameters
    ----------
    depth : float
        Of the blob, fraction of the background.
    inside, total : int
        Exposures of the stack that contain the blob, and all exposures of the stack.
    noise : float
        Per pixel of one exposure, fraction of the background.
    """
    share = inside / total

    def below(level: float) -> float:
        """Return the share of the pixels below a level."""
        with_blob = 0.5 * erfc(-(level + depth) / noise / sqrt(2))
        without = 0.5 * erfc(-level / noise / sqrt(2))
        return share * with_blob + (1 - share) * without

    low, high = -depth - 10 * noise, 10 * noise
    for _ in range(60):  # bisection for the median
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < 0.5 else (low, middle)
    return float(min(1.0, max(0.0, (depth + middle) / depth)))


def visible_new_blobs(truth: list[Appearance], expstart: float, stack_times: list[float]) -> list[Blob]:
    """Return the blobs that a difference image shows, with their visible depth."""
    visible = []
    for appearance in truth:
        blob = appearance.blob
        if expstart < appearance.mjd:
            continue
        inside = sum(time >= appearance.mjd for time in stack_times)
        share = visible_fraction(blob.depth, inside, len(stack_times), FRAME_NOISE)
        if share > 0.01:
            visible.append(replace(blob, depth=share * blob.depth))
    return visible
