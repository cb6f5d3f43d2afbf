"""Decisions of people on exposures, in the ledger."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from blobwatch.monitor.ledger.exposures import mark_due
from blobwatch.monitor.ledger.tables import OverruleRow
from blobwatch.overrules import CLEAR, Overrule

FIELDS = ("rootname", "verdict", "who", "at", "reason")


def overrule_of(row: OverruleRow) -> Overrule:
    """Return the decision of a row."""
    return Overrule(*(getattr(row, name) for name in FIELDS))


def overrules_in_force(session: Session) -> dict[str, Overrule]:
    """Return the decisions in force by rootname."""
    known = overrules_by_exposure(session)
    return {name: rows[-1] for name, rows in known.items() if rows[-1].verdict != CLEAR}


def overrules_by_exposure(session: Session, rootnames: list[str] | None = None) -> dict[str, list[Overrule]]:
    """Return the decisions about all or some exposures, the oldest first."""
    query = select(OverruleRow)
    query = query if rootnames is None else query.where(OverruleRow.rootname.in_(rootnames))
    found: dict[str, list[Overrule]] = {}
    for row in session.scalars(query.order_by(OverruleRow.at, OverruleRow.id)):
        found.setdefault(row.rootname, []).append(overrule_of(row))
    return found


def store_overrule(session: Session, one: Overrule, written: bool = False) -> None:
    """Store a decision; the next monitor run analyzes the exposure again."""
    before = overrules_in_force(session).get(one.rootname)
    session.add(OverruleRow(**{name: getattr(one, name) for name in FIELDS}, written=written))
    session.flush()
    after = overrules_in_force(session).get(one.rootname)
    if (before and before.verdict) != (after and after.verdict):
        mark_due(session, f"overruled: {one.verdict}", rootname=one.rootname)


def unwritten_overrules(session: Session) -> list[OverruleRow]:
    """Return the decisions that the table of the project lacks, the oldest first."""
    return list(session.scalars(select(OverruleRow).where(~OverruleRow.written).order_by(OverruleRow.id)))
