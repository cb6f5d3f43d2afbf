"""Report: the pages as static files."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_folder, write_text
from blobwatch.monitor.drift import Reference
from blobwatch.monitor.export import WRITERS
from blobwatch.monitor.ledger.database import Ledger
from blobwatch.monitor.ledger.rows import list_blobs
from blobwatch.monitor.model_status import find_deployed
from blobwatch.monitor.pages import STYLE, Links, Pages, Reader, count_pages
from blobwatch.progress import track

MARK = ".blobwatch-report"  # marks a folder that a newer report may replace


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
        # A single session, so that all pages show the same state.
        pages = Pages(lambda: nullcontext(session), reference, lambda: deployed, Links(static=True))
        reader, rows, numbers = Reader(), list_blobs(session), range(1, count_pages(session) + 1)
        todo: list[tuple[str, Callable[[Reader], str]]]
        todo = [("index", pages.index), ("drift", pages.drift), ("model", pages.model)]
        todo += [(f"blob-{row['id']}", partial(pages.blob, row["id"])) for row in rows]
        todo += [(f"exposures-{n}" if n > 1 else "exposures", partial(pages.exposures, n)) for n in numbers]
        try:
            with atomic_folder(out) as folder:
                for name, make in track(todo, len(todo), "report"):
                    write_text(folder / f"{name}.html", make(reader))
                if deployed.page:
                    write_text(folder / "audit.html", deployed.page)
                write_text(folder / "style.css", STYLE.read_text(encoding="utf-8"))
                for suffix, write in WRITERS.items():
                    write_text(folder / f"blobs{suffix}", write(rows))
                (folder / MARK).touch()
        except OSError as error:
            raise BlobwatchError(f"{out}: not writable ({error.strerror}). Pass another folder") from None
    return len(todo)
