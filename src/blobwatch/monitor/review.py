"""Reviews: what a person said of a blob, kept in the ledger and made a label that the next training takes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from blobwatch.dataset.labels import BLOB, LABELS, OTHER, Label, parse_label, read_labels, write_labels
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_lock, lock_path
from blobwatch.monitor.ledger.database import Ledger, now
from blobwatch.monitor.ledger.queries import unlabelled_reviews
from blobwatch.monitor.ledger.rows import find_blob, row_of
from blobwatch.monitor.ledger.tables import CONFIRMED, REJECTED, Blob, Review

VERDICTS = (CONFIRMED, REJECTED)
LONGEST = 2000  # characters of a reason
NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")  # what a database cannot keep


def review(ledger: Ledger, labels: Path, number: int, verdict: str, reason: str, who: str) -> dict:
    """Confirm or reject a blob; return its row.

    Parameters
    ----------
    ledger : Ledger
    labels : Path
        The folder ``data/labels`` of the project: the review becomes labels there.
    number : int
        Of the blob.
    verdict : str
        ``confirmed`` or ``rejected``.
    reason, who : str

    Raises
    ------
    BlobwatchError
        If something is missing or wrong; then nothing has changed.
    """
    if verdict not in VERDICTS:
        raise BlobwatchError(f"{verdict!r} is no verdict; say {' or '.join(VERDICTS)}")
    reason, who = reason.strip(), who.strip()
    if not reason or len(reason) > LONGEST or NO_TEXT.search(reason):
        raise BlobwatchError(f"give the reason in up to {LONGEST} characters")
    if not who:
        raise BlobwatchError("say who reviews; set git's user.name")
    if not labels.is_dir():
        raise BlobwatchError(
            f"{labels} is no folder, so the review cannot become a label; run in the project's folder, "
            "or give --labels DIR"
        )
    read_labels(labels)  # a table that is wrong is to be mended first
    with ledger.writing() as session:
        blob = session.get(Blob, number, with_for_update={"of": Blob}) or find_blob(session, number)
        said = Review(blob=blob, verdict=verdict, reason=reason, who=who, at=now(), model=blob.model)
        session.add(said)
        blob.status = verdict
        labels_of(blob, said)  # or say why none can be made
        row = row_of(blob)
    write_pending(ledger, labels)
    return row


def write_pending(ledger: Ledger, labels: Path) -> int:
    """Write the labels of reviews that have not become labels yet, as after a kill; return how many."""
    with lock_labels(labels):
        with ledger.reading() as session:
            pending = unlabelled_reviews(session)
            table, numbers = read_labels(labels) if pending else [], [one.id for one in pending]
            for said in pending:
                places, new = places_of(said.blob, said), labels_of(said.blob, said)
                table = [one for one in table if not any(same_place(one, other) for other in places)] + new
        if numbers:
            write_labels(labels, table)
            with ledger.writing() as session:
                for number in numbers:
                    session.get(Review, number).labelled = True
    return len(numbers)


def places_of(blob: Blob, said: Review) -> list[Label]:
    """Return what a review says of each detection, in the order of time."""
    label = BLOB if said.verdict == CONFIRMED else OTHER
    return [
        Label(
            one.exposure.rootname,
            *(round(value, 2) for value in (one.x, one.y, one.radius)),
            *(label, said.who, said.at),
        )
        for one in sorted(blob.detections, key=lambda one: one.exposure.expstart)
    ]


def labels_of(blob: Blob, said: Review) -> list[Label]:
    """Return the labels of a review: a blob from its first detection on, or no blob in any of them.

    Raises
    ------
    BlobwatchError
        If a detection's exposure has no rootname of HST.
    """
    places = places_of(blob, said)
    rows = places[:1] if said.verdict == CONFIRMED else places
    try:
        return [parse_label({key: str(value) for key, value in asdict(row).items()}) for row in rows]
    except ValueError as wrong:
        raise BlobwatchError(f"blob {blob.id} cannot become a label: {wrong}") from None


def same_place(one: Label, other: Label) -> bool:
    """Tell whether two labels speak of the same place in the same exposure: then the later one counts."""
    near = one.holds(other.x, other.y) or other.holds(one.x, one.y)
    return one.rootname == other.rootname and near


@contextmanager
def lock_labels(labels: Path) -> Iterator[None]:
    """Lock the table of labels, so that two reviews do not undo each other."""
    labels = labels.resolve()
    try:
        with file_lock(lock_path(labels)):
            yield
    except OSError as error:
        raise BlobwatchError(
            f"{labels / LABELS} cannot be read or written ({error.strerror}); mend that, and the next review "
            "makes this one a label too"
        ) from None
