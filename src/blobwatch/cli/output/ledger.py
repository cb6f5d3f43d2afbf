"""Commands on a ledger: list blobs, review, overrule, admit reviewers, serve, report."""

from dataclasses import asdict
from pathlib import Path

from blobwatch.cli.output.printing import print_json, print_table
from blobwatch.errors import BlobwatchError
from blobwatch.monitor.drift import read_reference
from blobwatch.monitor.export import write_export
from blobwatch.monitor.ledger.database import NoLedger, open_ledger
from blobwatch.monitor.ledger.rows import format_depth, format_utc, format_value, list_blobs
from blobwatch.monitor.ledger.tables import CONFIRMED, REJECTED
from blobwatch.overrules import DEFAULT
from blobwatch.progress import print_message

STYLES = {"candidate": "yellow", "confirmed": "green", "rejected": "dim"}
OVERRULED = {"accept": "is accepted", "reject": "is rejected", "clear": "is judged by its quality again"}


def show_blobs(url: str, as_json: bool, export: Path | None) -> None:
    """Print the blobs of a ledger, or export them to a file."""
    with open_ledger(url).reading() as session:
        rows = list_blobs(session)
    if export:
        write_export(export, rows)
        print_message(f"{len(rows)} blobs: {export}")
    if as_json:
        print_json(rows)
    elif not export:
        print_blobs(rows)


def print_blobs(rows: list[dict]) -> None:
    """Print blobs as a table."""
    from rich.box import SIMPLE
    from rich.table import Column

    if not rows:
        print("no blob yet")
        return
    columns = [Column(name, no_wrap=True) for name in ("id", "status", "x", "y", "SNR", "depth, %")]
    columns += [Column("appeared (UTC)", min_width=10), Column("found", no_wrap=True)]
    lines = []
    for row in rows:
        cells = [format_value(row["x"], row["x_error"]), format_value(row["y"], row["y_error"])]
        cells += [f"{row['snr']:.1f}", format_depth(row)]
        before = "" if row["last_without"] is None else format_utc(row["last_without"])[:10]
        cells += [f"{before} - {format_utc(row['first_seen'])[:10]}", f"{row['detections']} x"]
        lines.append((str(row["id"]), f"[{STYLES[row['status']]}]{row['status']}[/]", *cells))
    print_table(columns, lines, border=True, box=SIMPLE, padding=0)


def run_review(url: str, labels: Path, number: int, confirm: bool | None, reason: str, as_json: bool) -> None:
    """Review a blob as the git user."""
    from blobwatch.lineage.git import author
    from blobwatch.monitor.reviews import review_blob

    if confirm is None:
        raise BlobwatchError("the verdict is missing. Pass --confirm or --reject")
    verdict = CONFIRMED if confirm else REJECTED
    row = review_blob(open_ledger(url), labels, number, verdict, reason, author(Path.cwd()))
    if as_json:
        print_json(row)
    print_message(f"blob {number} is {verdict}. Commit {labels}; the next `dvc repro` uses the label")


def run_overrule(url: str, folder: Path, rootname: str, verdict: str, reason: str, as_json: bool) -> None:
    """Overrule the verdict on an exposure as the git user."""
    from blobwatch.lineage.git import author
    from blobwatch.monitor.overrules import overrule_exposure

    try:
        ledger = open_ledger(url)
    except NoLedger:
        ledger = None
    one = overrule_exposure(ledger, folder, rootname, verdict, reason, author(Path.cwd()))
    if as_json:
        print_json(asdict(one))
    print_message(f"{one.rootname} {OVERRULED[verdict]} from the next monitor run on. Commit {folder}")


def run_reviewer(url: str, name: str, remove: bool) -> None:
    """Add a reviewer and print the token on stdout, or remove the reviewer."""
    from blobwatch.monitor.ledger.reviewers import add_reviewer, remove_reviewer

    ledger = open_ledger(url)
    if remove:
        print_message(
            f"{name} can no longer review on the page ({remove_reviewer(ledger, name)} tokens removed)"
        )
    else:
        token = add_reviewer(ledger, name)
        print_message(f"the token of {name}, shown only once:")
        print(token)


def run_server(
    url: str, host: str, port: int, names: list[str], labels: Path, overrules: Path = DEFAULT
) -> None:
    """Serve the pages until interrupted."""
    from blobwatch.monitor.overrules import write_pending_overrules
    from blobwatch.monitor.reviews import write_pending_labels
    from blobwatch.monitor.web import allowed_hosts, create_app, serve

    ledger = open_ledger(url)
    if labels.is_dir():
        write_pending_labels(ledger, labels)
    if overrules.is_dir():
        write_pending_overrules(ledger, overrules)
    address = f"[{host}]" if ":" in host else host
    app = create_app(ledger, Path.cwd(), labels, read_reference(), allowed_hosts(host, names), overrules)
    serve(
        app,
        host,
        port,
        lambda: print_message(f"the ledger is at http://{address}:{port}. Press Ctrl-C to stop"),
    )


def run_report(url: str, out: Path) -> None:
    """Write the pages as files."""
    from blobwatch.monitor.report import write_report

    count = write_report(open_ledger(url), out, Path.cwd(), read_reference())
    print_message(f"{count} pages; open {out / 'index.html'}")
