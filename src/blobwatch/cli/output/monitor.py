"""Output of the monitor's commands: lines of JSON, or tables for people."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

from blobwatch.cli.models import find_model_or_version
from blobwatch.cli.output.monitor_run import print_changes, print_report
from blobwatch.cli.output.printing import print_json, print_table
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.file_search import FileProblem
from blobwatch.instrument.flats import FlatFields
from blobwatch.monitor.drift import read_reference
from blobwatch.monitor.export import write_export
from blobwatch.monitor.incoming import Note
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import NoLedger, open_ledger
from blobwatch.monitor.ledger.rows import depth_of, list_blobs, utc, with_error
from blobwatch.monitor.ledger.tables import CONFIRMED, REJECTED
from blobwatch.monitor.notices import announce_reviews, channels_of, send_pending
from blobwatch.monitor.overrule import overrule, synchronize
from blobwatch.monitor.quality_warning import Batch
from blobwatch.monitor.reanalysis import mark_all, summarize
from blobwatch.monitor.watch import Monitor, Report
from blobwatch.overrules import DEFAULT
from blobwatch.predict import Predictor
from blobwatch.progress import print_message
from blobwatch.settings import load_settings

STYLES = {"candidate": "yellow", "confirmed": "green", "rejected": "dim"}


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
        MJD from which they are analyzed again.
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


def answer_monitor(
    folder: Path, url: str, addresses: list[str], model: str, options: MonitorOptions | None = None
) -> bool:
    """Monitor a folder once, or again every so many seconds; return whether all went well.

    Files that cannot be used and notices that were not sent count as failures.
    """
    options = options or MonitorOptions()
    channels, predictor = channels_of(addresses), Predictor.load(find_model_or_version(model))
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
    synchronize(ledger, options.overrules)
    monitor = Monitor(folder, ledger, predictor, channels, reference, settings, flats)
    if channels and options.every is not None:
        import matplotlib.figure  # noqa: F401  before the first picture is needed
    before = summarize(ledger) if options.rejudge else None
    marked = mark_all(ledger, options.since) if options.rejudge else 0
    well = run_passes(monitor, options)
    if before is not None:
        print_changes(before, summarize(ledger), marked, options.as_json)
    return well or options.every is not None  # problems of a watch have been reported


def run_passes(monitor: Monitor, options: MonitorOptions) -> bool:
    """Run the monitor once or repeatedly; return whether all went well."""
    ledger, channels, every = monitor.ledger, monitor.channels, options.every
    batch = Batch(ledger, channels, monitor.settings.difference.quality)
    well, patient, outcomes = True, False, Counter()
    if every is not None:
        print_message(f"watching {monitor.files.folder} every {every:g} s; Ctrl-C ends it")
    with told_to_stop() as stop:
        while not stop.is_set():
            announce_reviews(ledger, channels)
            well = send(ledger, channels, patient) and well
            results = []
            for one in monitor.run(watching=every is not None):
                print_report(one, options.as_json)
                well = well and not isinstance(one, FileProblem)
                outcomes[kind_of(one)] += 1
                if isinstance(one, IngestResult):
                    results.append(one)
                    well = send(ledger, channels, True) and well
                if stop.is_set():
                    break
            if warning := batch.check(results):
                print_report(Note(warning), options.as_json, "bold red")
                well = send(ledger, channels, True) and well
            if every is None or stop.wait(every):
                break
            patient = True
    outcomes.pop("", None)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    print_message(
        f"{outcomes.total()} new or changed in {monitor.files.folder}{f': {counts}' if counts else ''}"
    )
    return well


def kind_of(one: Report) -> str:
    """Return under what a result is counted; empty for messages."""
    if isinstance(one, IngestResult):
        return one.exposure.outcome
    return "unusable" if isinstance(one, FileProblem) else ""


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
            print_message(
                f"blobwatch: the notice of {subject} was not sent. It is tried again ({error})", "red"
            )
    return not any(error for _, error in tried)


def answer_blobs(url: str, as_json: bool, export: Path | None) -> None:
    """Print the blobs of a ledger, and write them to a file where one is given."""
    ledger = open_ledger(url)
    with ledger.reading() as session:
        rows = list_blobs(session)
    if export:
        write_export(export, rows)
        print_message(f"{len(rows)} blobs: {export}")
    if as_json:
        print_json(rows)
    elif not export:
        print_blobs(rows)


def print_blobs(rows: list[dict]) -> None:
    """Print blobs for people."""
    from rich.box import SIMPLE
    from rich.table import Column

    if not rows:
        print("no blob yet")
        return
    columns = [Column(name, no_wrap=True) for name in ("id", "status", "x", "y", "SNR", "depth, %")]
    columns += [Column("appeared (UTC)", min_width=10), Column("found", no_wrap=True)]
    lines = []
    for row in rows:
        cells = [with_error(row["x"], row["x_error"]), with_error(row["y"], row["y_error"])]
        cells += [f"{row['snr']:.1f}", depth_of(row)]
        before = "" if row["last_without"] is None else utc(row["last_without"])[:10]
        cells += [f"{before} - {utc(row['first_seen'])[:10]}", f"{row['detections']} x"]
        lines.append((str(row["id"]), f"[{STYLES[row['status']]}]{row['status']}[/]", *cells))
    print_table(columns, lines, border=True, box=SIMPLE, padding=0)


def answer_review(
    url: str, labels: Path, number: int, confirm: bool | None, reason: str, as_json: bool
) -> None:
    """Review a blob in the name of who works here, and say what follows."""
    from blobwatch.lineage.git import author
    from blobwatch.monitor.review import review

    if confirm is None:
        raise BlobwatchError("say whether it is a blob: --confirm or --reject")
    verdict = CONFIRMED if confirm else REJECTED
    row = review(open_ledger(url), labels, number, verdict, reason, author(Path.cwd()))
    if as_json:
        print_json(row)
    print_message(f"blob {number} is {verdict}; commit {labels}, and the next `dvc repro` takes it")


def answer_overrule(url: str, folder: Path, rootname: str, verdict: str, reason: str, as_json: bool) -> None:
    """Overrule the verdict about an exposure in the name of the user."""
    from blobwatch.lineage.git import author

    try:
        ledger = open_ledger(url)
    except NoLedger:
        ledger = None
    one = overrule(ledger, folder, rootname, verdict, reason, author(Path.cwd()))
    if as_json:
        print_json(asdict(one))
    done = {"accept": "is accepted", "reject": "is rejected", "clear": "is judged by its quality again"}
    print_message(f"{one.rootname} {done[verdict]} from the next monitor run on; commit {folder}")


def answer_reviewer(url: str, name: str, remove: bool) -> None:
    """Admit or dismiss a reviewer; the token is printed alone on stdout."""
    from blobwatch.monitor.ledger.reviewers import admit, dismiss

    ledger = open_ledger(url)
    if remove:
        print_message(
            f"{name} cannot review on the page any more ({dismiss(ledger, name)} tokens taken away)"
        )
    else:
        token = admit(ledger, name)
        print_message(f"the token of {name}; it is shown only now:")
        print(token)


def answer_serve(
    url: str, host: str, port: int, names: list[str], labels: Path, overrules: Path = DEFAULT
) -> None:
    """Serve the pages until interrupted."""
    from blobwatch.monitor.overrule import write_pending as write_overrules
    from blobwatch.monitor.review import write_pending
    from blobwatch.monitor.web import make_app, names_of, serve

    ledger = open_ledger(url)
    if labels.is_dir():
        write_pending(ledger, labels)
    if overrules.is_dir():
        write_overrules(ledger, overrules)
    shown = f"[{host}]" if ":" in host else host
    app = make_app(ledger, Path.cwd(), labels, read_reference(), names_of(host, names), overrules)
    serve(app, host, port, lambda: print_message(f"the ledger is at http://{shown}:{port}; Ctrl-C ends it"))


def answer_report(url: str, out: Path) -> None:
    """Write the pages as files, and say where."""
    from blobwatch.monitor.report import write_report

    count = write_report(open_ledger(url), out, Path.cwd(), read_reference())
    print_message(f"{count} pages; open {out / 'index.html'}")
