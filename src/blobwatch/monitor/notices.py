"""Notices: of each newly confirmed blob and of drift, once to each channel; what fails is sent later."""

import hashlib
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.analysis import corner
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import Ledger, Session, now
from blobwatch.monitor.ledger.exposures import is_any_due
from blobwatch.monitor.ledger.queries import (
    PICTURES,
    channels_with,
    confirming_exposure,
    notices_of,
    unannounced_blobs,
    unsent_notices,
    untold_reviews,
)
from blobwatch.monitor.ledger.rows import appeared, depth_of, light_of, row_of, with_error
from blobwatch.monitor.ledger.tables import CONFIRMED, PENDING, SENDING, SENT, Blob, Exposure, Notice

LONGEST = 3600.0  # seconds between two attempts of a watch that goes on
FIRST = 10.0  # seconds after the first failure; twice as long after each
GIVE_UP = 20.0  # seconds for one attempt
SUSPECT = "suspect limits"  # how the subject of such a notice begins
DRAWING = Lock()  # matplotlib draws one figure at a time


@dataclass(frozen=True)
class Channel:
    """Where notices go.

    Attributes
    ----------
    key : str
        The hash of its address, which may hold a password: the ledger keeps only this.
    shown : str
        Its kind and its host; the rest of the address may be secret.
    service : object
        Apprise's.
    """

    key: str
    shown: str
    service: object

    def send(self, title: str, body: str, picture: Path | None) -> str:
        """Send a message; return what went wrong, empty where it was taken."""
        from apprise import Apprise

        said: list[str] = []
        post = Apprise()
        post.add(self.service)
        taken = post.notify(
            title=title,
            body=body,
            body_format="text",
            attach=str(picture) if picture else None,
            timeout=GIVE_UP,
            log_callback=lambda entry, _: said.append(str(entry.message)),
        )
        return "" if taken else (said[-1] if said else "the channel did not take it")


def channels_of(addresses: list[str]) -> list[Channel]:
    """Return the channels at addresses of apprise, each once.

    Raises
    ------
    BlobwatchError
        If one is not understood; only its beginning is said, the rest may be secret.
    """
    if not addresses:
        return []
    from apprise import Apprise

    channels: dict[str, Channel] = {}
    for number, address in enumerate(addresses, start=1):
        service = Apprise.instantiate(address, suppress_exceptions=True)
        if service is None:
            kind, mark, _ = address.partition("://")
            named = f" ({kind})" if mark and kind.isalnum() else ""
            raise BlobwatchError(
                f"channel {number}{named} is none that notices can go to; give an address of apprise, "
                "like mailto://user:password@host or json://host/path"
            )
        key, shown = hashlib.sha256(address.encode()).hexdigest(), masked(service.url(privacy=True))
        if shown.startswith("mailto"):
            service.request_rate_per_sec = 0  # seconds that apprise waits between two; a mail server need not
        channels[key] = Channel(key, shown, service)
    return list(channels.values())


def masked(address: str) -> str:
    """Return kind and host of an address; what is no host may be the name of a secret topic."""
    kind, _, rest = address.partition("://")
    host = re.split("[/?]", rest)[0].rpartition("@")[2]
    return f"{kind}://{host if '.' in host or host.startswith('localhost') else '…'}"


def announce(
    session: Session,
    result: IngestResult,
    channels: list[Channel],
    drifts: dict[str, str],
    detections: int = 2,
) -> None:
    """Write the notices that follow from an exposure, in the transaction that stores it.

    Blobs are announced once no exposure has to be analyzed again: before that, later exposures may still
    be compared with an outdated stack.

    Parameters
    ----------
    session : Session
    result : IngestResult
    channels : list of Channel
    drifts : dict of str to str
        Statistics that have left their range with this exposure, each with its message.
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
                post(session, channels, f"blob {blob.id}", by, f"confirmed by {by.rootname}", blob)
    for name, text in drifts.items():
        post(session, channels, f"drift of {name} since {exposure.rootname}", exposure, text)


def post(
    session: Session,
    channels: list[Channel],
    subject: str,
    exposure: Exposure,
    text: str,
    blob: Blob | None = None,
) -> None:
    """Write a notice to each channel that has none of the same subject."""
    known = channels_with(session, subject)
    values = {"subject": subject, "exposure": exposure, "text": text, "blob": blob}
    for channel in channels:
        if channel.key not in known:
            where = {"channel": channel.key, "shown": channel.shown, "state": PENDING}
            session.add(Notice(**values, **where, model=exposure.model))
    session.flush()


def announce_reviews(ledger: Ledger, channels: list[Channel]) -> None:
    """Write down what is to be sent about blobs that a person has confirmed and of which nobody was told."""
    with ledger.reading() as session:
        if not untold_reviews(session):
            return
    with ledger.lock(), ledger.writing() as session:
        for said in untold_reviews(session):
            said.told, blob = True, said.blob
            if said.verdict == blob.status == CONFIRMED and not notices_of(session, blob.id):
                text = f"confirmed by {said.who}: {said.reason}"
                post(session, channels, f"blob {blob.id}", blob.last, text, blob)


def send_pending(ledger: Ledger, channels: list[Channel], patient: bool = False) -> list[tuple[str, str]]:
    """Send what is not sent yet to the channels that are given.

    A channel that fails is left alone until the next call; the others are served meanwhile.

    Parameters
    ----------
    ledger : Ledger
    channels : list of Channel
    patient : bool
        Wait longer after each failure before a notice is tried again.

    Returns
    -------
    list of tuple of str
        The subject of each notice that was tried, and what went wrong; empty where it was taken.

    Notes
    -----
    A notice that was being sent when the program ended may have arrived or not. It is sent again, with the
    same number, and says that it may be a repeat: a notice that is lost would be worse.
    """
    channels = [channel for channel in channels if waiting(ledger, channel, patient)]
    if not channels:
        return []
    # While the ledger is held nobody else is sending: one that is marked as being sent was cut short.
    with ledger.lock(), ThreadPoolExecutor(len(channels)) as pool:
        tried = list(pool.map(lambda channel: serve(ledger, channel, patient), channels))
    return [one for of_channel in tried for one in of_channel]


def serve(ledger: Ledger, channel: Channel, patient: bool) -> list[tuple[str, str]]:
    """Send a channel what waits for it, up to the first that it does not take."""
    tried = []
    for number, subject in waiting(ledger, channel, patient):
        error = send(ledger, number, channel)
        tried.append((subject, f"{channel.shown}: {error}" if error else ""))
        if error:
            break
    return tried


def waiting(ledger: Ledger, channel: Channel, patient: bool = False) -> list[tuple[int, str]]:
    """Return number and subject of the notices that are not sent yet."""
    with ledger.reading() as session:
        found = unsent_notices(session, channel.key)
        return [(one.id, one.subject) for one in found if not patient or is_due(one)]


def is_due(notice: Notice) -> bool:
    """Tell whether it is time to try a notice again."""
    if notice.tried_at is None:
        return True
    wait = min(LONGEST, FIRST * 2 ** min(notice.attempts - 1, 20))
    return datetime.now(UTC) >= datetime.fromisoformat(notice.tried_at) + timedelta(seconds=wait)


def send(ledger: Ledger, number: int, channel: Channel) -> str:
    """Send one notice; return what went wrong."""
    with tempfile.TemporaryDirectory(prefix="blobwatch-") as folder:
        with ledger.reading() as session:
            notice = session.get(Notice, number)
            title, body = message(notice)
            shown = notice.blob and notice.blob.detections  # a withdrawn blob has none
            picture = draw(session, notice.blob, Path(folder)) if shown else None
            if notice.state == SENDING:  # the program ended while it was sent
                body += "\nThis may be a repeat: the program ended while it was sent before."
        with ledger.writing() as session:  # the last moment before: all else is ready
            notice = session.get(Notice, number)
            notice.state, notice.tried_at = SENDING, now()
            notice.attempts += 1
        error = channel.send(title, body, picture)  # others can write to the ledger meanwhile
    with ledger.writing() as session:
        notice = session.get(Notice, number)
        notice.state, notice.error = (PENDING, error) if error else (SENT, "")
    return error


def message(notice: Notice) -> tuple[str, str]:
    """Return title and text of a notice."""
    version = notice.model.version
    model = f"version {version}" if version else f"model {notice.model.sha256[:12]}"
    end = f"Judged by {model} of blobwatch. Notice {notice.id}."
    if notice.blob is None:
        title = "suspect limits" if notice.subject.startswith(SUSPECT) else "drift"
        return f"blobwatch: {title}", f"{notice.text}\nSince {notice.exposure.rootname}. {end}"
    row = row_of(notice.blob)
    place = f"x {with_error(row['x'], row['x_error'])}, y {with_error(row['y'], row['y_error'])}"
    lines = [
        f"Place: {place}; radius {row['radius']:.1f} (pixels of the 1024 frame, from 0)",
        f"Appeared: {appeared(row)}",
        f"Probability: {row['probability']:.3f}; SNR {row['snr']:.1f}; depth {depth_of(row)} %",
        f"Found in {row['detections']} exposures, {notice.text}",
        end,
    ]
    return f"blobwatch: new blob {row['id']} at ({row['x']:.1f}, {row['y']:.1f})", "\n".join(lines)


def draw(session: Session, blob: Blob, folder: Path) -> Path:
    """Draw a blob; return the file of the picture."""
    from blobwatch.figures.monitor import plot_new_blob

    best = max(blob.detections, key=lambda one: one.snr)
    row, path = row_of(blob), folder / f"blob-{blob.id}.png"
    title = f"Blob {blob.id} at ({blob.x:.1f}, {blob.y:.1f}), SNR {blob.snr:.1f}, in {best.exposure.rootname}"
    with DRAWING:
        plot_new_blob(
            (blob.x, blob.y, blob.radius),
            (corner(best.x), corner(best.y)),
            {name: getattr(best, name) for name in PICTURES},
            light_of(session, blob),
            (row["last_without"], row["first_seen"]),
            title,
        ).savefig(path, dpi=90)
    return path
