"""Overrules: a person accepts or rejects an exposure, in the ledger and in the project's table."""

import re
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_lock, lock_path
from blobwatch.monitor.ledger.database import Ledger, now
from blobwatch.monitor.ledger.overrules import (
    add_overrule,
    all_rows,
    overrule_of,
    overrules_in_force,
    unwritten,
)
from blobwatch.monitor.ledger.tables import OverruleRow
from blobwatch.overrules import (
    ACCEPT,
    CLEAR,
    OVERRULES,
    REJECT,
    Overrule,
    append_overrules,
    read_all_overrules,
    read_overrules,
)

VERDICTS = (ACCEPT, REJECT, CLEAR)
LONGEST = 2000  # characters of a reason
NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")  # what a database cannot store
ROOTNAME = re.compile(r"[a-z0-9_+.-]{1,64}")


def overrule(
    ledger: Ledger | None, folder: Path, rootname: str, verdict: str, reason: str, who: str
) -> Overrule:
    """Accept or reject an exposure, whatever its quality measures, or clear such a decision.

    Parameters
    ----------
    ledger : Ledger or None
        Without one, only the table of the project is written.
    folder : Path
        The folder ``data/overrules`` of the project; it is created where its parent exists.
    rootname, verdict, reason, who : str
        ``verdict`` is ``accept``, ``reject`` or ``clear``.

    Raises
    ------
    BlobwatchError
        If something is missing or invalid; nothing has changed then.
    """
    one = Overrule(rootname.strip().lower(), verdict, who.strip(), now(), " ".join(reason.split()))
    require_valid(one)
    if not folder.is_dir() and not folder.parent.is_dir():
        raise BlobwatchError(
            f"{folder}: no such directory. Run in the project's folder, or pass --overrules DIR"
        )
    if verdict == CLEAR and one.rootname not in all_in_force(ledger, folder):
        raise BlobwatchError(f"{one.rootname}: no decision to clear")
    if ledger is None:
        write(folder, [one])
        return one
    with ledger.writing() as session:
        add_overrule(session, one)
    write_pending(ledger, folder)
    return one


def require_valid(one: Overrule) -> None:
    """Raise an error where a decision is incomplete or cannot be stored."""
    if one.verdict not in VERDICTS:
        raise BlobwatchError(f"verdict {one.verdict!r} is unknown. Use {', '.join(VERDICTS)}")
    if not ROOTNAME.fullmatch(one.rootname):
        raise BlobwatchError(f"{one.rootname!r} is not a rootname. Pass one like ich219i8q")
    if not one.reason or len(one.reason) > LONGEST or NO_TEXT.search(one.reason):
        raise BlobwatchError(f"the reason must have 1 to {LONGEST} characters")
    if not one.who or NO_TEXT.search(one.who):
        raise BlobwatchError("the name of the person is missing. Set git's user.name")


def all_in_force(ledger: Ledger | None, folder: Path) -> dict[str, Overrule]:
    """Return the decisions in force, of the ledger and of the project's table."""
    found = read_overrules(folder)
    if ledger is not None:
        with ledger.reading() as session:
            found |= overrules_in_force(session)
    return found


def write(folder: Path, new: list[Overrule]) -> None:
    """Append decisions to the project's table."""
    folder = folder.resolve()
    try:
        folder.mkdir(exist_ok=True)
        with file_lock(lock_path(folder)):
            append_overrules(folder, new)
    except OSError as error:
        raise BlobwatchError(
            f"{folder / OVERRULES}: cannot be written ({error.strerror}). Repair that: the next overrule or "
            "monitor run appends this decision too"
        ) from None


def write_pending(ledger: Ledger, folder: Path) -> int:
    """Append the decisions that are not in the project's table yet, as after a kill; return how many."""
    with ledger.reading() as session:
        rows = [(row.id, overrule_of(row)) for row in unwritten(session)]
    if rows:
        write(folder, [one for _, one in rows])
        with ledger.writing() as session:
            for number, _ in rows:
                session.get_one(OverruleRow, number).written = True
    return len(rows)


def synchronize(ledger: Ledger, folder: Path) -> int:
    """Import decisions of the project's table that the ledger lacks, and append those that the table lacks.

    Returns
    -------
    int
        Number of imported decisions.
    """
    if not folder.is_dir():
        return 0
    write_pending(ledger, folder)
    table = read_all_overrules(folder)
    if not table:
        return 0
    if not missing(ledger, table):
        return 0
    with ledger.lock():
        new = missing(ledger, table)  # another monitor may have imported them meanwhile
        with ledger.writing() as session:
            for one in new:
                add_overrule(session, one, written=True)
    return len(new)


def missing(ledger: Ledger, table: list[Overrule]) -> list[Overrule]:
    """Return the decisions of the project's table that a ledger lacks."""
    with ledger.reading() as session:
        known = {overrule_of(row) for row in all_rows(session)}
    return [one for one in table if one not in known]
