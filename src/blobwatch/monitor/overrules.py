"""Overrules: decisions of people on exposures, in the ledger and in the project's table."""

import re
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_lock, lock_path
from blobwatch.monitor.ledger.database import Ledger, now
from blobwatch.monitor.ledger.overrules import (
    overrule_of,
    overrules_by_exposure,
    overrules_in_force,
    store_overrule,
    unwritten_overrules,
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
MAX_REASON = 2000  # characters
INVALID_TEXT = re.compile(r"[\x00\ud800-\udfff]")  # characters that a database cannot store
ROOTNAME = re.compile(r"[a-z0-9_+.-]{1,64}")


def is_valid_text(text: str, longest: int) -> bool:
    """Return whether a text is not empty, not too long, and can be stored."""
    return 0 < len(text) <= longest and not INVALID_TEXT.search(text)


def overrule_exposure(
    ledger: Ledger | None, folder: Path, rootname: str, verdict: str, reason: str, who: str
) -> Overrule:
    """Accept or reject an exposure regardless of its quality, or clear such a decision.

    Parameters
    ----------
    ledger : Ledger or None
        None to write only the table of the project.
    folder : Path
        The folder ``data/overrules`` of the project; it is created if its parent exists.
    rootname, verdict, reason, who : str
        ``verdict`` is ``accept``, ``reject`` or ``clear``.

    Raises
    ------
    BlobwatchError
        If an argument is missing or invalid. Nothing has changed then.
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
        append_to_table(folder, [one])
        return one
    with ledger.writing() as session:
        store_overrule(session, one)
    write_pending_overrules(ledger, folder)
    return one


def require_valid(one: Overrule) -> None:
    """Raise an error if a decision is incomplete or cannot be stored."""
    if one.verdict not in VERDICTS:
        raise BlobwatchError(f"verdict {one.verdict!r} is unknown. Use {', '.join(VERDICTS)}")
    if not ROOTNAME.fullmatch(one.rootname):
        raise BlobwatchError(f"{one.rootname!r} is not a rootname. Pass one like ich219i8q")
    if not is_valid_text(one.reason, MAX_REASON):
        raise BlobwatchError(f"the reason must have 1 to {MAX_REASON} characters")
    if not is_valid_text(one.who, MAX_REASON):
        raise BlobwatchError("the name of the person is missing. Set git's user.name")


def all_in_force(ledger: Ledger | None, folder: Path) -> dict[str, Overrule]:
    """Return the decisions in force, from the ledger and the project's table."""
    found = read_overrules(folder)
    if ledger is not None:
        with ledger.reading() as session:
            found |= overrules_in_force(session)
    return found


def append_to_table(folder: Path, new: list[Overrule]) -> None:
    """Append decisions to the project's table."""
    folder = folder.resolve()
    try:
        folder.mkdir(exist_ok=True)
        with file_lock(lock_path(folder)):
            append_overrules(folder, new)
    except OSError as error:
        raise BlobwatchError(
            f"{folder / OVERRULES}: not writable ({error.strerror}). Repair that: the next overrule or "
            "monitor run then appends this decision too"
        ) from None


def write_pending_overrules(ledger: Ledger, folder: Path) -> int:
    """Append missing decisions to the table; return how many.

    Decisions are missing, for example, if an earlier process was killed.
    """
    with ledger.reading() as session:
        rows = [(row.id, overrule_of(row)) for row in unwritten_overrules(session)]
    if rows:
        append_to_table(folder, [one for _, one in rows])
        with ledger.writing() as session:
            for number, _ in rows:
                session.get_one(OverruleRow, number).written = True
    return len(rows)


def synchronize_overrules(ledger: Ledger, folder: Path) -> int:
    """Copy missing decisions between the ledger and the table; return how many were imported."""
    if not folder.is_dir():
        return 0
    write_pending_overrules(ledger, folder)
    table = read_all_overrules(folder)
    if not missing_overrules(ledger, table):
        return 0
    with ledger.lock():
        new = missing_overrules(ledger, table)  # another monitor may have imported them since
        with ledger.writing() as session:
            for one in new:
                store_overrule(session, one, written=True)
    return len(new)


def missing_overrules(ledger: Ledger, table: list[Overrule]) -> list[Overrule]:
    """Return the decisions of the table that the ledger lacks."""
    with ledger.reading() as session:
        known = overrules_by_exposure(session)
    return [one for one in table if one not in known.get(one.rootname, [])]
