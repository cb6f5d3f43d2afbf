"""Command ``monitor``: analyze a directory once or repeatedly, and print the results."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from blobwatch.cli.models import find_model_or_version
from blobwatch.cli.output.printing import print_json
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.file_search import FileProblem
from blobwatch.instrument.flats import FlatFields
from blobwatch.monitor.channels import Channel, open_channels
from blobwatch.monitor.drift import read_reference
from blobwatch.monitor.incoming import Note
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import Ledger, open_ledger
from blobwatch.monitor.ledger.exposures import REJUDGE, mark_due
from blobwatch.monitor.ledger.queries import count_outcomes
from blobwatch.monitor.ledger.rows import list_blobs
from blobwatch.monitor.ledger.tables import JUDGED
from blobwatch.monitor.monitor import Monitor, Report
from blobwatch.monitor.notices import RejectionCheck, queue_review_notices, send_notices
from blobwatch.monitor.overrules import synchronize_overrules
from blobwatch.overrules import DEFAULT
from blobwatch.predict import Predictor
from blobwatch.progress import print_message
from blobwatch.settings import load_settings

COMPARED = ("status", "first_rootname", "last_without_rootname", "last_rootname", "detections")
Summary = tuple[dict[str, int], dict[int, dict]]


@dataclass(frozen=True)
class MonitorOptions:
    """Options of the command ``monitor``.

    Attributes
    ----------
    every : float or None
        Seconds between two passes; None for a single pass.
    rejudge : bool
        Analyze the exposures of the ledger again.
    since : float or None
        MJD; analyze only exposures taken later again.
    settings, flats : Path or None
    overrules : Path
        Folder of the project's table of overrules.
    """

    every: float | None = None
    as_json: bool = False
    rejudge: bool = False
    since: float | None = None
    settings: Path | None = None
    flats: Path | None = None
    overrules: Path = DEFAULT


def run_monitor(
    folder: Path, url: str, addresses: list[str], model: str, options: MonitorOptions | None = None
) -> bool:
    """Monitor a directory once or repeatedly; return False after a problem.

    Problems are unusable files and notices that were not sent.
    """
    options = options or MonitorOptions()
    channels, predictor = open_channels(addresses), Predictor.load(find_model_or_version(model))
    if not folder.is_dir():
        raise BlobwatchError(f"{folder}: not a directory. Pass the directory that receives new exposures")
    if options.since is not None and not options.rejudge:
        raise BlobwatchError("--since needs --rejudge")
    if options.rejudge and options.every is not None:
        raise BlobwatchError("--rejudge is done once. Run it without --watch")
    settings = load_settings(options.settings)
    flats = FlatFields(options.flats) if options.flats else None
    reference = read_reference()
    if reference is None or reference.model != predictor.model.sha256:
        print_message("drift is not checked: no reference of this model. Run `dvc repro reference`", "yellow")
    ledger = open_ledger(url, create=True)
    synchronize_overrules(ledger, options.overrules)
    monitor = Monitor(folder, ledger, predictor, channels, reference, settings, flats)
    if channels and options.every is not None:
        import matplotlib.figure  # noqa: F401  before the first picture is needed
    if options.rejudge:
        before = summarize(ledger)
        with ledger.lock(), ledger.writing() as session:
            marked = mark_due(session, REJUDGE, options.since)  # stored: the next run completes this one
    succeeded = run_passes(monitor, options)
    if options.rejudge:
        print_changes(before, summarize(ledger), marked, options.as_json)
    return succeeded or options.every is not None  # problems of a watch have been reported


def run_passes(monitor: Monitor, options: MonitorOptions) -> bool:
    """Run the monitor once or repeatedly; return False after a problem."""
    ledger, channels, every = monitor.ledger, monitor.channels, options.every
    check = RejectionCheck(ledger, channels, monitor.settings.difference.quality)
    succeeded, backoff = True, False
    outcomes: Counter[str] = Counter()
    if every is not None:
        print_message(f"watching {monitor.files.folder} every {every:g} s. Press Ctrl-C to stop")
    with stop_on_signal() as stop:
        while not stop.is_set():
            queue_review_notices(ledger, channels)
            succeeded = send(ledger, channels, backoff) and succeeded
            results = []
            for one in monitor.run(watching=every is not None):
                print_report(one, options.as_json)
                if isinstance(one, IngestResult):
                    outcomes[one.exposure.outcome] += 1
                    results.append(one)
                    succeeded = send(ledger, channels, True) and succeeded
                elif isinstance(one, FileProblem):
                    outcomes["unusable"] += 1
                    succeeded = False
                if stop.is_set():
                    break
            if warning := check.update(results):
                print_report(Note(warning), options.as_json, "bold red")
                succeeded = send(ledger, channels, True) and succeeded
            if every is None or stop.wait(every):
                break
            backoff = True
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    print_message(
        f"{outcomes.total()} new or changed in {monitor.files.folder}{f': {counts}' if counts else ''}"
    )
    return succeeded


@contextmanager
def stop_on_signal() -> Iterator[Event]:
    """Yield an event that SIGINT or SIGTERM sets.

    The monitor finishes the current exposure before it stops.
    """
    stop = Event()
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def send(ledger: Ledger, channels: list[Channel], backoff: bool) -> bool:
    """Send the pending notices and print failures; return whether there was none."""
    failed = [(subject, error) for subject, error in send_notices(ledger, channels, backoff) if error]
    for subject, error in failed:
        print_message(
            f"blobwatch: the notice of {subject} was not sent and will be tried again ({error})", "red"
        )
    return not failed


def print_report(one: Report, as_json: bool, style: str = "yellow") -> None:
    """Print the result of a file, or a message."""
    if isinstance(one, IngestResult):
        print_result(one, as_json)
    elif isinstance(one, FileProblem):
        if as_json:
            print_json({"image": str(one.path), "error": str(one)})
        print_message(f"blobwatch: {one}", "red")
    else:
        if as_json:
            print_json({"warning": one.text})
        print_message(f"blobwatch: {one.text}", style)


def print_result(result: IngestResult, as_json: bool) -> None:
    """Print what an exposure changed."""
    exposure = result.exposure
    if as_json:
        line = {"rootname": exposure.rootname, "expstart": exposure.expstart, "outcome": exposure.outcome}
        line |= {"reason": exposure.reason, "blobs": [one.id for one in result.found]}
        line |= {"new": [one.id for one in result.new], "confirmed": [one.id for one in result.confirmed]}
        line |= {"again": result.why, "withdrawn": list(result.withdrawn)}
        print_json(line)
    if result.why:
        print_message(f"{exposure.rootname}: analyzed again ({result.why})")
    for blob in result.new:
        print_message(
            f"{exposure.rootname}: candidate {blob.id} at ({blob.x:.1f}, {blob.y:.1f}), SNR {blob.snr:.1f}"
        )
    for blob in result.confirmed:
        print_message(
            f"{exposure.rootname}: blob {blob.id} at ({blob.x:.1f}, {blob.y:.1f}) is confirmed", "bold green"
        )
    for number in result.withdrawn:
        print_message(
            f"{exposure.rootname}: blob {number} is withdrawn, no exposure shows it any more", "yellow"
        )
    if exposure.outcome != JUDGED:
        print_message(f"{exposure.rootname}: {exposure.outcome}: {exposure.reason}", "yellow")
    if result.unreadable:
        names = ", ".join(result.unreadable[:5]) + (" ..." if len(result.unreadable) > 5 else "")
        print_message(
            f"{exposure.rootname}: light curves lack {len(result.unreadable)} missing files ({names})",
            "yellow",
        )


def summarize(ledger: Ledger) -> Summary:
    """Return exposure counts by outcome, and compared columns by blob."""
    with ledger.reading() as session:
        rows = list_blobs(session)
        blobs = {row["id"]: {name: row[name] for name in ("id", "x", "y", *COMPARED)} for row in rows}
        return count_outcomes(session), blobs


def print_changes(before: Summary, after: Summary, count: int, as_json: bool) -> None:
    """Print the differences from the results before the new analysis."""
    (old_counts, old), (new_counts, new) = before, after
    lines = {number: describe_change(old.get(number), new.get(number)) for number in sorted(old | new)}
    lines = {number: line for number, line in lines.items() if line}
    if as_json:
        sides = {
            name: {"outcomes": counts, "blobs": [blobs[number] for number in lines if number in blobs]}
            for name, counts, blobs in (("before", old_counts, old), ("after", new_counts, new))
        }
        print_json({"rejudged": count} | sides)
    changes = list(lines.values())
    for name in sorted(old_counts | new_counts):
        if old_counts.get(name) != new_counts.get(name):
            changes.append(f"exposures {name}: {old_counts.get(name, 0)} -> {new_counts.get(name, 0)}")
    result = "these results differ" if changes else "no result differs"
    print_message(f"{count} exposures analyzed again: {result}")
    for line in changes:
        print_message(line)


def describe_change(old: dict | None, new: dict | None) -> str:
    """Describe the change of a blob; empty if there is none."""
    one = new or old or {}
    place = f"blob {one['id']} at ({one['x']:.1f}, {one['y']:.1f})"
    if not old:
        return f"{place}: new, {one['status']}, first in {one['first_rootname']}"
    if not new:
        return f"{place}: removed; it was {one['status']}, first in {one['first_rootname']}"
    changes = [f"{name} {old[name]} -> {new[name]}" for name in COMPARED if old[name] != new[name]]
    return f"{place}: {', '.join(changes)}" if changes else ""
