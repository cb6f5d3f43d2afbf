"""Decisions of people about exposures, which take precedence over the quality measures.

The table ``data/overrules/overrules.csv`` is in git. It is append-only; the last row of a rootname counts.
"""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import read_table, write_table

OVERRULES = "overrules.csv"
DEFAULT = Path("data/overrules")
ACCEPT, REJECT, CLEAR = "accept", "reject", "clear"
COLUMNS = ["rootname", "verdict", "who", "at", "reason"]


@dataclass(frozen=True)
class Overrule:
    """One decision: ``verdict`` is accept, reject or clear; ``at`` is ISO 8601, UTC."""

    rootname: str
    verdict: str
    who: str
    at: str
    reason: str


def read_overrules(folder: Path | str = DEFAULT) -> dict[str, Overrule]:
    """Return the decisions in force by rootname; none if the table is missing.

    Raises
    ------
    BlobwatchError
        If the table cannot be read, or a row is incomplete.
    """
    in_force = {one.rootname: one for one in read_all_overrules(folder)}
    return {name: one for name, one in in_force.items() if one.verdict != CLEAR}


def read_all_overrules(folder: Path | str) -> list[Overrule]:
    """Return every row of the table, the oldest first."""
    path = Path(folder) / OVERRULES
    if not path.is_file():
        return []
    try:
        rows = [Overrule(*(row[column] or "" for column in COLUMNS)) for row in read_table(path)]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise BlobwatchError(f"{path}: cannot be read ({error}). Restore it from git") from None
    for number, one in enumerate(rows, start=2):
        if one.verdict not in (ACCEPT, REJECT, CLEAR) or not (one.rootname and one.who and one.reason):
            raise BlobwatchError(
                f"{path}, line {number}: needs rootname, verdict ({ACCEPT}, {REJECT} or {CLEAR}), who, reason"
            )
    return rows


def append_overrules(folder: Path | str, new: list[Overrule]) -> None:
    """Append decisions that are not in the table."""
    known = read_all_overrules(folder)
    added = [one for one in new if one not in known]
    if added:
        write_table(Path(folder) / OVERRULES, [asdict(one) for one in known + added], COLUMNS)
