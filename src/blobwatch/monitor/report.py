"""Report: the pages as static files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_folder, write_text
from blobwatch.monitor.drift import Reference
from blobwatch.monitor.export import WRITERS
from blobwatch.monitor.ledger.database import Ledger, Session
from blobwatch.monitor.ledger.rows import list_blobs
from blobwatch.monitor.model_status import find_deployed
from blobwatch.monitor.pages import STYLE, Links, Pages, Reader, count_pages
from blobwatch.progress import track

MARK = ".blobwatch-report"  # marks a folder that a newer report may replace


@dataclass(frozen=True)
class SnapshotLedger:
    """A ledger read in a single session, so that all pages show the same state."""

    session: Session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield the session."""
        yield self.session


def write_report(ledger: Ledger, out: Path, root: Path, reference: Reference | None) -> int:
    """Write all pages and exports of a ledger; return the number of pages.

    Parameters
    ----------
    ledger : Ledger
    out : Path
        A new folder, or that of an earlier report, which is replaced.
    root : Path
        Project whose deployed model is audited.
    reference : Reference or None

    Raises
    ------
    BlobwatchError
        If the folder contains other files or is not writable.
    """
    if out.exists() and not (out.is_dir() and ((out / MARK).exists() or not any(out.iterdir()))):
        raise BlobwatchError(f"{out}: contains other files than a report. Pass a new folder")
    deployed = find_deployed(root)
    with ledger.reading() as session:
        pages = Pages(SnapshotLedger(session), reference, lambda: deployed, Links(static=True))
        return write_pages(pages, session, out)


def write_pages(pages: Pages, session: Session, out: Path) -> int:
    """Write all pages to a folder, whole or not at all; return the number of pages."""
    deployed, reader, rows = pages.deployed(), Reader(), list_blobs(session)
    todo = [(name, getattr(pages, name), ()) for name in ("index", "drift", "model")]
    todo += [(f"blob-{row['id']}", pages.blob, (row["id"],)) for row in rows]
    numbers = range(1, count_pages(session) + 1)
    todo += [(f"exposures-{n}" if n > 1 else "exposures", pages.exposures, (n,)) for n in numbers]
    try:
        with atomic_folder(out) as folder:
            for name, make, number in track(todo, len(todo), "report"):
                write_text(folder / f"{name}.html", make(*number, reader))
            if deployed.page:
                write_text(folder / "audit.html", deployed.page)
            write_text(folder / "style.css", STYLE.read_text(encoding="utf-8"))
            for suffix, write in WRITERS.items():
                write_text(folder / f"blobs{suffix}", write(rows))
            (folder / MARK).touch()
    except OSError as error:
        raise BlobwatchError(f"{out}: not writable ({error.strerror}). Pass another folder") from None
    return len(todo)
