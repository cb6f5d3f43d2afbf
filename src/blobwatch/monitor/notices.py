"""Notices of newly confirmed blobs, of drift and of suspect quality limits, sent once to each channel.

Notices are queued in the ledger, in the transaction that stores a result. Failed ones are sent again later.
"""

import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from blobwatch.images.quality_limits import SUSPECT_BATCH, suspect_message
from blobwatch.monitor.analysis import REJECTED, corner
from blobwatch.monitor.channels import Channel
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import Ledger, Session, now
from blobwatch.monitor.ledger.exposures import is_any_due
from blobwatch.monitor.ledger.queries import (
    PICTURES,
    channels_notified,
    confirming_exposure,
    list_notices,
    unannounced_blobs,
    unannounced_reviews,
    unsent_notices,
    verdicts_of_newest,
)
from blobwatch.monitor.ledger.rows import blob_row, describe_onset, format_depth, format_value, light_curve_of
from blobwatch.monitor.ledger.tables import CONFIRMED, PENDING, SENDING, SENT, UNFIT, Blob, Exposure, Notice
from blobwatch.settings import QualitySettings

MIN_WAIT, MAX_WAIT = 10.0, 3600.0  # seconds after the first failure, doubled after each, and at most
NEWEST = 30  # exposures that the pages consider
SUSPECT = "suspect limits"  # prefix of the subject of a warning about the quality limits
DRAWING = Lock()  # matplotlib is not thread-safe


def queue_notices(
    session: Session,
    result: IngestResult,
    channels: list[Channel],
    drifts: dict[str, str],
    detections: int = 2,
) -> None:
    """Queue the notices of an exposure, in the transaction that stores its result.

    Blobs are announced once no exposure has to be analyzed again. Before that, later exposures may still
    have been compared with an outdated stack.

    Parameters
    ----------
    session : Session
    result : IngestResult
    channels : list of Channel
    drifts : dict of str to str
        Message of each statistic that left its range with this exposure.
    detections : int
        Number of exposures that confirm a blob.
    """
    exposure = result.exposure
    if not is_any_due(session):
        waiting = unannounced_blobs(session)
        blobs = [*result.confirmed, *(one for one in waiting if one not in result.confirmed)]
        for blob in sorted(blobs, key=lambda one: one.id):
            blob.unannounced = False
            if blob.status == CONFIRMED:
                by = confirming_exposure(session, blob, detections) or exposure
                queue_notice(session, channels, f"blob {blob.id}", by, f"confirmed by {by.rootname}", blob)
    for name, text in drifts.items():
        queue_notice(session, channels, f"drift of {name} since {exposure.rootname}", exposure, text)


def queue_notice(
    session: Session,
    channels: list[Channel],
    subject: str,
    exposure: Exposure,
    text: str,
    blob: Blob | None = None,
) -> None:
    """Queue a notice to each channel that has none with this subject."""
    known = channels_notified(session, subject)
    values = {"subject": subject, "exposure": exposure, "text": text, "blob": blob, "state": PENDING}
    for channel in channels:
        if channel.key not in known:
            where = {"channel": channel.key, "shown": channel.label}
            session.add(Notice(**values, **where, model=exposure.model))
    session.flush()


def queue_review_notices(ledger: Ledger, channels: list[Channel]) -> None:
    """Queue notices of blobs that a person confirmed and that have no notice yet."""
    with ledger.reading() as session:
        if not unannounced_reviews(session):
            return
    with ledger.lock(), ledger.writing() as session:
        for review in unannounced_reviews(session):
            review.told, blob = True, review.blob
            if review.verdict == blob.status == CONFIRMED and not list_notices(session, blob.id):
                text = f"confirmed by {review.who}: {review.reason}"
                queue_notice(session, channels, f"blob {blob.id}", blob.last, text, blob)


def send_notices(ledger: Ledger, channels: list[Channel], backoff: bool = False) -> list[tuple[str, str]]:
    """Send the pending notices of some channels, each channel in its own thread.

    Parameters
    ----------
    ledger : Ledger
    channels : list of Channel
    backoff : bool
        Wait longer after each failure before a notice is tried again.

    Returns
    -------
    list of tuple of str
        Subject and error of each notice that was tried; the error is empty on success.

    Notes
    -----
    If the program ends during an attempt, it is unknown whether the notice arrived. It is sent again with the
    same number and marked as a possible repeat, since a lost notice would be worse.
    """
    channels = [channel for channel in channels if pending_notices(ledger, channel, backoff)]
    if not channels:
        return []
    # Only the owner of the lock sends. A notice in the state SENDING was therefore interrupted.
    with ledger.lock(), ThreadPoolExecutor(len(channels)) as pool:
        tried = pool.map(lambda channel: send_to_channel(ledger, channel, backoff), channels)
        return [one for of_channel in list(tried) for one in of_channel]


def send_to_channel(ledger: Ledger, channel: Channel, backoff: bool) -> list[tuple[str, str]]:
    """Send the pending notices of a channel until one fails."""
    tried = []
    for number, subject in pending_notices(ledger, channel, backoff):
        error = send_notice(ledger, number, channel)
        tried.append((subject, f"{channel.label}: {error}" if error else ""))
        if error:
            break
    return tried


def pending_notices(ledger: Ledger, channel: Channel, backoff: bool = False) -> list[tuple[int, str]]:
    """Return id and subject of the notices that are not sent yet."""
    with ledger.reading() as session:
        found = unsent_notices(session, channel.key)
        return [(one.id, one.subject) for one in found if not backoff or is_retry_due(one)]


def is_retry_due(notice: Notice) -> bool:
    """Return whether the wait after the last failed attempt is over."""
    if notice.tried_at is None:
        return True
    wait = min(MAX_WAIT, MIN_WAIT * 2 ** min(notice.attempts - 1, 20))
    return datetime.now(UTC) >= datetime.fromisoformat(notice.tried_at) + timedelta(seconds=wait)


def send_notice(ledger: Ledger, number: int, channel: Channel) -> str:
    """Send one notice; return the error, empty on success."""
    with tempfile.TemporaryDirectory(prefix="blobwatch-") as folder:
        with ledger.reading() as session:
            notice = session.get_one(Notice, number)
            title, body = compose_message(notice)
            blob = notice.blob  # without detections if it is withdrawn
            picture = draw_blob(session, blob, Path(folder)) if blob and blob.detections else None
            if notice.state == SENDING:  # the program ended while it was sent
                body += "\nThis may be a repeat: the program ended while it was sent before."
        with ledger.writing() as session:
            notice = session.get_one(Notice, number)
            notice.state, notice.tried_at = SENDING, now()
            notice.attempts += 1
        error = channel.send(title, body, picture)  # without a transaction, so that others can write
    with ledger.writing() as session:
        notice = session.get_one(Notice, number)
        notice.state, notice.error = (PENDING, error) if error else (SENT, "")
    return error


def compose_message(notice: Notice) -> tuple[str, str]:
    """Return title and text of a notice."""
    version = notice.model.version
    model = f"version {version}" if version else f"model {notice.model.sha256[:12]}"
    end = f"Judged by {model} of blobwatch. Notice {notice.id}."
    if notice.blob is None:
        title = "suspect limits" if notice.subject.startswith(SUSPECT) else "drift"
        return f"blobwatch: {title}", f"{notice.text}\nSince {notice.exposure.rootname}. {end}"
    row = blob_row(notice.blob)
    place = f"x {format_value(row['x'], row['x_error'])}, y {format_value(row['y'], row['y_error'])}"
    lines = [
        f"Place: {place}; radius {row['radius']:.1f} (pixels of the 1024 frame, from 0)",
        f"Appeared: {describe_onset(row)}",
        f"Probability: {row['probability']:.3f}; SNR {row['snr']:.1f}; depth {format_depth(row)} %",
        f"Found in {row['detections']} exposures, {notice.text}",
        end,
    ]
    return f"blobwatch: new blob {row['id']} at ({row['x']:.1f}, {row['y']:.1f})", "\n".join(lines)


def draw_blob(session: Session, blob: Blob, folder: Path) -> Path:
    """Draw a blob; return the path of the picture."""
    from blobwatch.figures.monitor import plot_new_blob

    best = max(blob.detections, key=lambda one: one.snr)
    row, path = blob_row(blob), folder / f"blob-{blob.id}.png"
    title = f"Blob {blob.id} at ({blob.x:.1f}, {blob.y:.1f}), SNR {blob.snr:.1f}, in {best.exposure.rootname}"
    with DRAWING:
        plot_new_blob(
            (blob.x, blob.y, blob.radius),
            (corner(best.x), corner(best.y)),
            {name: getattr(best, name) for name in PICTURES},
            light_curve_of(session, blob),
            (row["last_without"], row["first_seen"]),
            title,
        ).savefig(path, dpi=90)
    return path


def warn_of_rejections(rows: list, settings: QualitySettings) -> str:
    """Return the warning about too many rejections, or an empty string.

    Only rejections by the quality limits count, not those by a person or of other kinds of observation.
    """
    rejected = [one for one in rows if one.outcome == UNFIT and one.reason.startswith(f"{REJECTED}:")]
    return suspect_message(len(rejected), len(rows), settings)


def newest_warning(session: Session, settings: QualitySettings) -> str:
    """Return the warning about the newest exposures of the ledger, or an empty string."""
    return warn_of_rejections(verdicts_of_newest(session, NEWEST), settings)


class RejectionCheck:
    """Checks in each pass of a run whether too many exposures are rejected."""

    def __init__(self, ledger: Ledger, channels: list[Channel], settings: QualitySettings):
        self.ledger, self.channels, self.settings = ledger, channels, settings
        self.is_suspect = False

    def update(self, results: Iterable[IngestResult]) -> str:
        """Return the warning about the exposures of a pass and queue its notice.

        A pass with few exposures is checked together with the newest earlier ones. The warning is returned
        once as long as it holds.
        """
        rows = {one.exposure.rootname: one.exposure for one in results}
        if not rows:
            return ""
        with self.ledger.reading() as session:
            if len(rows) < SUSPECT_BATCH:
                found = newest_warning(session, self.settings)
            else:
                found = warn_of_rejections(list(rows.values()), self.settings)
        is_new, self.is_suspect = bool(found) and not self.is_suspect, bool(found)
        if not is_new:
            return ""
        first = min(rows.values(), key=lambda one: (one.expstart, one.rootname))
        with self.ledger.lock(), self.ledger.writing() as session:
            exposure = session.get_one(Exposure, first.id)
            queue_notice(session, self.channels, f"{SUSPECT} since {first.rootname}", exposure, found)
        return found
