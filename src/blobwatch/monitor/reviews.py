"""Reviews: verdicts of people on blobs, stored in the ledger and written as labels for the next training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from blobwatch.dataset.labels import BLOB, LABELS, OTHER, Label, parse_label, read_labels, write_labels
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_lock, lock_path
from blobwatch.monitor.ledger.database import Ledger, now
from blobwatch.monitor.ledger.queries import unlabelled_reviews
from blobwatch.monitor.ledger.rows import blob_row, get_blob
from blobwatch.monitor.ledger.tables import CONFIRMED, REJECTED, Blob, Review
from blobwatch.monitor.overrules import MAX_REASON, is_valid_text

VERDICTS = (CONFIRMED, REJECTED)


def review_blob(ledger: Ledger, labels: Path, number: int, verdict: str, reason: str, who: str) -> dict:
    """Confirm or reject a blob; return its row.

    Parameters
    ----------
    ledger : Ledger
    labels : Path
        The folder ``data/labels`` of the project, where the labels are written.
    number : int
        Id of the blob.
    verdict : str
        ``confirmed`` or ``rejected``.
    reason, who : str

    Raises
    ------
    BlobwatchError
        If an argument is missing or invalid. Nothing has changed then.
    """
    if verdict not in VERDICTS:
        raise BlobwatchError(f"verdict {verdict!r} is unknown. Use {' or '.join(VERDICTS)}")
    reason, who = reason.strip(), who.strip()
    if not is_valid_text(reason, MAX_REASON):
        raise BlobwatchError(f"the reason must have 1 to {MAX_REASON} characters")
    if not who:
        raise BlobwatchError("the name of the reviewer is missing. Set git's user.name")
    if not labels.is_dir():
        raise BlobwatchError(f"{labels}: not a directory. Run in the project's folder, or pass --labels DIR")
    read_labels(labels)  # raises an error if the table is damaged
    with ledger.writing() as session:
        blob = session.get(Blob, number, with_for_update={"of": Blob}) or get_blob(session, number)
        review = Review(blob=blob, verdict=verdict, reason=reason, who=who, at=now(), model=blob.model)
        session.add(review)
        blob.status = verdict
        make_labels(review)  # raises an error if a label is impossible
        row = blob_row(blob)
    write_pending_labels(ledger, labels)
    return row


def write_pending_labels(ledger: Ledger, labels: Path) -> int:
    """Write missing labels of reviews; return the number of reviews.

    Labels are missing, for example, if an earlier process was killed.
    """
    with lock_labels(labels):
        with ledger.reading() as session:
            pending = unlabelled_reviews(session)
            table, numbers = read_labels(labels) if pending else [], [one.id for one in pending]
            for review in pending:
                places, new = labels_of_detections(review), make_labels(review)
                table = [one for one in table if not any(one.overlaps(two) for two in places)] + new
        if numbers:
            write_labels(labels, table)
            with ledger.writing() as session:
                for number in numbers:
                    session.get_one(Review, number).labelled = True
    return len(numbers)


def labels_of_detections(review: Review) -> list[Label]:
    """Return a label for each detection of the reviewed blob, in the order of time."""
    return [
        Label(
            rootname=one.exposure.rootname,
            x=round(one.x, 2),
            y=round(one.y, 2),
            radius=round(one.radius, 2),
            label=BLOB if review.verdict == CONFIRMED else OTHER,
            who=review.who,
            when=review.at,
        )
        for one in sorted(review.blob.detections, key=lambda one: one.exposure.expstart)
    ]


def make_labels(review: Review) -> list[Label]:
    """Return the labels of a review: its first detection if confirmed, else all detections.

    Raises
    ------
    BlobwatchError
        If an exposure does not have a rootname of HST.
    """
    labels = labels_of_detections(review)
    rows = labels[:1] if review.verdict == CONFIRMED else labels
    try:
        return [parse_label({key: str(value) for key, value in asdict(row).items()}) for row in rows]
    except ValueError as error:
        raise BlobwatchError(f"blob {review.blob.id} cannot become a label: {error}") from None


@contextmanager
def lock_labels(labels: Path) -> Iterator[None]:
    """Lock the table of labels against concurrent reviews."""
    try:
        with file_lock(lock_path(labels.resolve())):
            yield
    except OSError as error:
        raise BlobwatchError(
            f"{labels / LABELS}: not accessible ({error.strerror}). Repair that: the next review then writes "
            "this label too"
        ) from None
