"""The answers of ``monitor`` and ``blobs``: lines of JSON, or tables for people."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.drift import read_reference
from blobwatch.monitor.export import write_export
from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.monitor.ledger.entry import Entered
from blobwatch.monitor.ledger.listing import depth_of, list_blobs, utc, with_error
from blobwatch.monitor.ledger.tables import CONFIRMED, JUDGED, REJECTED
from blobwatch.monitor.notices import announce_reviews, channels_of, send_pending
from blobwatch.monitor.watch import Trouble, Watch
from blobwatch.predict import Predictor
from blobwatch.progress import say

STYLES = {"candidate": "yellow", "confirmed": "green", "rejected": "dim"}


def answer_monitor(
    folder: Path, url: str, addresses: list[str], model: str, every: float | None, as_json: bool
) -> bool:
    """Watch a folder once, or again every so many seconds; return whether all went well.

    Nothing is well that a person should see to: a file that cannot be used, a notice that did not go out.
    """
    channels, predictor = channels_of(addresses), Predictor.load(model)
    if not folder.is_dir():
        raise BlobwatchError(f"{folder} is no folder; give the one in which exposures come in")
    reference = read_reference()
    if reference is None or reference.model != predictor.model.sha256:
        say("drift is not told: there is no reference of this model; dvc repro reference makes it", "yellow")
    ledger = open_ledger(url, create=True)
    watch = Watch(folder, ledger, predictor, channels, reference)
    if channels and every is not None:
        import matplotlib.figure  # noqa: F401  now, while nobody waits for a picture
    well, patient, outcomes = True, False, Counter()
    if every is not None:
        say(f"watching {folder} every {every:g} s; Ctrl-C ends it")
    with told_to_stop() as stop:
        while not stop.is_set():
            announce_reviews(ledger, channels)
            well = send(ledger, channels, patient) and well
            for came in watch.go(forgiving=every is not None):
                tell(came, as_json)
                well = well and not isinstance(came, Trouble)
                outcomes[came.exposure.outcome if isinstance(came, Entered) else "of no use"] += 1
                if isinstance(came, Entered):
                    well = send(ledger, channels, True) and well
                if stop.is_set():
                    break
            if every is None or stop.wait(every):
                break
            patient = True
    looked = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    say(f"{outcomes.total()} new in {folder}{f': {looked}' if looked else ''}")
    return well or every is not None  # what a watch met on its way it has said


@contextmanager
def told_to_stop() -> Iterator[Event]:
    """Yield an event that is set when the program is told to end; what is begun is finished first."""
    stop = Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def send(ledger, channels, patient: bool) -> bool:
    """Send what is to be sent; say what failed; return whether nothing did."""
    tried = send_pending(ledger, channels, patient)
    for subject, error in tried:
        if error:
            say(
                f"blobwatch: the notice of {subject} did not go out, and will be tried again ({error})", "red"
            )
    return not any(error for _, error in tried)


def tell(came: Entered | Trouble, as_json: bool) -> None:
    """Say what came of a file."""
    if isinstance(came, Trouble):
        if as_json:
            print(json.dumps({"image": str(came.path), "error": came.error}), flush=True)
        say(f"blobwatch: {came.error}", "red")
        return
    exposure = came.exposure
    if as_json:
        line = {"rootname": exposure.rootname, "expstart": exposure.expstart, "outcome": exposure.outcome}
        line |= {"reason": exposure.reason, "blobs": [one.id for one in came.found]}
        line |= {"new": [one.id for one in came.new], "confirmed": [one.id for one in came.confirmed]}
        print(json.dumps(line), flush=True)
    for blob in came.new:
        say(f"{exposure.rootname}: candidate {blob.id} at ({blob.x:.1f}, {blob.y:.1f}), SNR {blob.snr:.1f}")
    for blob in came.confirmed:
        say(f"{exposure.rootname}: blob {blob.id} at ({blob.x:.1f}, {blob.y:.1f}) is confirmed", "bold green")
    if exposure.outcome != JUDGED:
        say(f"{exposure.rootname}: {exposure.outcome}: {exposure.reason}", "yellow")


def answer_blobs(url: str, as_json: bool, export: Path | None) -> None:
    """Print the blobs of a ledger, and write them to a file where one is given."""
    ledger = open_ledger(url)
    with ledger.reading() as session:
        rows = list_blobs(session)
    if export:
        write_export(export, rows)
        say(f"{len(rows)} blobs: {export}")
    if as_json:
        print(json.dumps(rows))
    elif not export:
        print_blobs(rows)


def print_blobs(rows: list[dict]) -> None:
    """Print blobs for people."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    whole = [Column(name, no_wrap=True) for name in ("id", "status", "x", "y", "SNR", "depth, %")]
    table = Table(
        *whole, Column("appeared (UTC)", min_width=10), Column("found", no_wrap=True), box=SIMPLE, padding=0
    )
    for row in rows:
        cells = [with_error(row["x"], row["x_error"]), with_error(row["y"], row["y_error"])]
        cells += [f"{row['snr']:.1f}", depth_of(row)]
        before = "" if row["last_without"] is None else utc(row["last_without"])[:10]
        cells += [f"{before} - {utc(row['first_seen'])[:10]}", f"{row['detections']} x"]
        table.add_row(str(row["id"]), f"[{STYLES[row['status']]}]{row['status']}[/]", *cells)
    Console().print(table if rows else "no blob yet")


def answer_review(
    url: str, labels: Path, number: int, confirm: bool | None, reason: str, as_json: bool
) -> None:
    """Review a blob in the name of who works here, and say what follows."""
    from blobwatch.lineage.checkout import author
    from blobwatch.monitor.review import review

    if confirm is None:
        raise BlobwatchError("say whether it is a blob: --confirm or --reject")
    verdict = CONFIRMED if confirm else REJECTED
    row = review(open_ledger(url), labels, number, verdict, reason, author(Path.cwd()))
    if as_json:
        print(json.dumps(row))
    say(f"blob {number} is {verdict}; commit {labels}, and the next `dvc repro` takes it")


def answer_reviewer(url: str, name: str, remove: bool) -> None:
    """Admit or dismiss a reviewer; the token is printed alone on stdout."""
    from blobwatch.monitor.ledger.reviewers import admit, dismiss

    ledger = open_ledger(url)
    if remove:
        say(f"{name} cannot review on the page any more ({dismiss(ledger, name)} tokens taken away)")
    else:
        token = admit(ledger, name)
        say(f"the token of {name}; it is shown only now:")
        print(token)


def answer_serve(url: str, host: str, port: int, names: list[str], labels: Path) -> None:
    """Serve the pages until told to end."""
    from blobwatch.monitor.review import write_pending
    from blobwatch.monitor.web import make_app, names_of, serve

    ledger = open_ledger(url)
    if labels.is_dir():
        write_pending(ledger, labels)
    shown = f"[{host}]" if ":" in host else host
    app = make_app(ledger, Path.cwd(), labels, read_reference(), names_of(host, names))
    serve(app, host, port, lambda: say(f"the ledger is at http://{shown}:{port}; Ctrl-C ends it"))


def answer_report(url: str, out: Path) -> None:
    """Write the pages as files, and say where."""
    from blobwatch.monitor.report import write_report

    count = write_report(open_ledger(url), out, Path.cwd(), read_reference())
    say(f"{count} pages; open {out / 'index.html'}")
