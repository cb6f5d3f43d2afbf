"""The pages as files that need no server, for a shared disk or an archive."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_folder, write_text
from blobwatch.monitor.drift import Reference
from blobwatch.monitor.export import WRITERS
from blobwatch.monitor.ledger.database import Ledger, Session
from blobwatch.monitor.ledger.queries import span_of
from blobwatch.monitor.ledger.rows import list_blobs
from blobwatch.monitor.model_status import find_deployed
from blobwatch.monitor.pages import PER_PAGE, STYLE, Links, Pages, Reader
from blobwatch.progress import track

MARK = ".blobwatch-report"  # a folder that has it may be replaced by a newer report


@dataclass(frozen=True)
class Held:
    """A ledger of which one state is read: else a page could lead to a blob that was found a moment ago."""

    session: Session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield always the same session."""
        yield self.session


def write_report(ledger: Ledger, out: Path, root: Path, reference: Reference | None) -> int:
    """Write a page for each of the server's, and the exports; return how many pages.

    Parameters
    ----------
    ledger : Ledger
    out : Path
        A new folder, or one that an earlier report made: it is replaced as a whole.
    root : Path
        Of the project, whose deployed model is audited.
    reference : Reference or None

    Raises
    ------
    BlobwatchError
        If the folder holds other things.
    """
    if out.exists() and not (out.is_dir() and ((out / MARK).exists() or not any(out.iterdir()))):
        raise BlobwatchError(f"{out} holds other things than a report; give a new folder")
    deployed = find_deployed(root)
    with ledger.reading() as session:
        pages = Pages(Held(session), reference, lambda: deployed, Links(static=True))
        return write_pages(pages, session, out)


def write_pages(pages: Pages, session: Session, out: Path) -> int:
    """Write all pages to a folder, whole or not at all; return how many."""
    deployed, nobody = pages.deployed(), Reader()
    rows, last = list_blobs(session), max(1, -(-span_of(session)[2] // PER_PAGE))
    todo = [(name, getattr(pages, name)) for name in ("index", "drift", "model")]
    makers = [(f"{name}.html", lambda make=make: make(nobody)) for name, make in todo]
    makers += [(f"blob-{row['id']}.html", lambda n=row["id"]: pages.blob(n, nobody)) for row in rows]
    makers += [
        (f"exposures-{n}.html" if n > 1 else "exposures.html", lambda n=n: pages.exposures(n, nobody))
        for n in range(1, last + 1)
    ]
    try:
        with atomic_folder(out) as folder:
            for name, make in track(makers, len(makers), "report"):
                write_text(folder / name, make())
            if deployed.page:
                write_text(folder / "audit.html", deployed.page)
            write_text(folder / "style.css", STYLE.read_text(encoding="utf-8"))
            for form, write in WRITERS.items():
                write_text(folder / f"blobs{form}", write(rows))
            (folder / MARK).touch()
    except OSError as error:
        raise BlobwatchError(f"{out} cannot be written: {error.strerror}; give another place") from None
    return len(makers)
