"""What is known of the blobs of a season, and which of them a difference image shows as new."""

import csv
from dataclasses import dataclass
from pathlib import Path

from blobwatch.instrument.blobs import Blob


@dataclass(frozen=True)
class Appearance:
    """A blob and the moment (MJD) at which it appeared."""

    moment: float
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
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] == "new"]
    shape = ("half_width", "depth", "axis_ratio", "exponent", "edge", "hole")
    return [
        Appearance(
            float(row["appeared_mjd"]),
            Blob(float(row["x"]), float(row["y"]), **{key: float(row[key]) for key in shape}),
        )
        for row in rows
    ]


def share_visible(appeared: float, expstart: float, stack_times: list[float]) -> float:
    """Return how much of a blob's depth a difference image shows.

    All of it while it is in fewer than half of the stack's exposures; nothing once it is in more:
    then the median has taken it in, and it cancels.
    """
    if expstart < appeared:
        return 0.0
    inside = sum(time >= appeared for time in stack_times)
    outside = len(stack_times) - inside
    return 1.0 if outside > inside else 0.5 if outside == inside else 0.0


def new_in(truth: list[Appearance], expstart: float, stack_times: list[float]) -> list[Blob]:
    """Return the blobs that a difference image shows as new, with the depth they show there."""
    shown = []
    for one in truth:
        share = share_visible(one.moment, expstart, stack_times)
        if share > 0:
            values = one.blob.as_dict()
            shown.append(Blob(**(values | {"depth": share * one.blob.depth})))
    return shown
