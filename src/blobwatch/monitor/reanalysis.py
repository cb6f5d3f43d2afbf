"""New analysis of the exposures of a ledger, and the differences from the earlier results."""

from dataclasses import dataclass

import numpy as np

from blobwatch.monitor.ledger.database import Ledger
from blobwatch.monitor.ledger.exposures import REJUDGE, mark_due
from blobwatch.monitor.ledger.queries import count_outcomes
from blobwatch.monitor.ledger.rows import list_blobs

COMPARED = ("status", "first_rootname", "last_without_rootname", "last_rootname", "detections")


@dataclass(frozen=True)
class Summary:
    """State of a ledger: number of exposures by outcome, and the rows of its blobs."""

    outcomes: dict[str, int]
    blobs: dict[int, dict]

    def as_json(self, numbers: set[int]) -> dict:
        """Return the outcomes and some of the blobs as plain data."""
        keys = ("id", "x", "y", *COMPARED)
        rows = [self.blobs[number] for number in sorted(numbers & set(self.blobs))]
        return {"outcomes": self.outcomes, "blobs": [{name: row[name] for name in keys} for row in rows]}


def summarize(ledger: Ledger) -> Summary:
    """Return the present state of a ledger."""
    with ledger.reading() as session:
        return Summary(count_outcomes(session), {row["id"]: row for row in list_blobs(session)})


def mark_all_due(ledger: Ledger, since: float | None) -> int:
    """Mark all exposures, or those since a date (MJD), to be analyzed again; return how many.

    The marks are stored, so that the next run completes an interrupted one.
    """
    with ledger.lock(), ledger.writing() as session:
        return mark_due(session, REJUDGE, -np.inf if since is None else since)


def changed_blobs(before: Summary, after: Summary) -> set[int]:
    """Return the ids of blobs that differ, are new, or were removed."""

    def facts(summary: Summary, number: int) -> list | None:
        row = summary.blobs.get(number)
        return row and [row[name] for name in COMPARED]

    numbers = set(before.blobs) | set(after.blobs)
    return {number for number in numbers if facts(before, number) != facts(after, number)}


def describe_changes(before: Summary, after: Summary) -> list[str]:
    """Describe the differences, one per line."""
    lines = []
    for number in sorted(changed_blobs(before, after)):
        old, new = before.blobs.get(number), after.blobs.get(number)
        place = f"blob {number} at ({(new or old)['x']:.1f}, {(new or old)['y']:.1f})"
        if old is None:
            lines.append(f"{place}: new, {new['status']}, first in {new['first_rootname']}")
        elif new is None:
            lines.append(f"{place}: removed; it was {old['status']}, first in {old['first_rootname']}")
        else:
            changes = [f"{name} {old[name]} -> {new[name]}" for name in COMPARED if old[name] != new[name]]
            lines.append(f"{place}: {', '.join(changes)}")
    outcomes = sorted(set(before.outcomes) | set(after.outcomes))
    counts = [(name, before.outcomes.get(name, 0), after.outcomes.get(name, 0)) for name in outcomes]
    lines += [f"exposures {name}: {old} -> {new}" for name, old, new in counts if old != new]
    return lines
