"""Commands of the monitor: exposures, ledger, pages, reviews, overrules."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import AsJson, Flats, ModelName, OverrulesFolder, SettingsFile, app
from blobwatch.errors import BlobwatchError
from blobwatch.overrules import DEFAULT as OVERRULES

PANEL = "Watch"
OVERRULED = {"accept": "accepts {}", "reject": "rejects {}", "clear": "checks the quality of {} again"}

Ledger = Annotated[
    str,
    typer.Option(envvar="BLOBWATCH_LEDGER", help="Database of the ledger, an SQLAlchemy URL."),
]
DEFAULT = "sqlite:///blobwatch.db"


@app.command(rich_help_panel=PANEL)
def monitor(
    folder: Annotated[Path, typer.Argument(show_default=False, help="Directory that receives exposures.")],
    ledger: Ledger = DEFAULT,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            envvar="BLOBWATCH_NOTIFY", show_default=False, help="Channel as an apprise URL: mailto://…"
        ),
    ] = None,
    model: ModelName = "champion",
    watch: Annotated[bool, typer.Option("--watch", help="Keep running and analyze new files.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two passes of --watch.")] = 10.0,
    rejudge: Annotated[
        bool,
        typer.Option("--rejudge", help="Analyze all exposures of the ledger again, with the deployed model."),
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], show_default=False, help="With --rejudge: only those taken since."
        ),
    ] = None,
    settings: SettingsFile = None,
    flats: Flats = None,
    overrules: OverrulesFolder = OVERRULES,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per exposure.")] = False,
) -> None:
    """Analyze the exposures of a directory that the ledger lacks, and announce new blobs."""
    from blobwatch.cli.output.monitor import MonitorOptions, run_monitor

    begin = None if since is None else (since - datetime(1858, 11, 17)).days
    options = MonitorOptions(every if watch else None, as_json, rejudge, begin, settings, flats, overrules)
    if not run_monitor(folder, ledger, notify or [], model, options):
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def blobs(
    ledger: Ledger = DEFAULT,
    as_json: AsJson = False,
    export: Annotated[
        Path | None, typer.Option(help="Write a table (.csv, .ecsv) or regions for ds9 (.reg).")
    ] = None,
) -> None:
    """List the blobs of the ledger: position, onset, status."""
    from blobwatch.cli.output.ledger import print_blobs
    from blobwatch.cli.output.printing import print_json
    from blobwatch.monitor.export import write_export
    from blobwatch.monitor.ledger.database import open_ledger
    from blobwatch.monitor.ledger.rows import list_blobs
    from blobwatch.progress import print_message

    with open_ledger(ledger).reading() as session:
        rows = list_blobs(session)
    if export:
        write_export(export, rows)
        print_message(f"{len(rows)} blobs: {export}")
    if as_json:
        print_json(rows)
    elif not export:
        print_blobs(rows)


Labels = Annotated[Path, typer.Option(help="Directory of the labels.")]
LABELS = Path("data/labels")


@app.command(rich_help_panel=PANEL)
def review(
    number: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**31 - 1, show_default=False)],
    reason: Annotated[str, typer.Option(show_default=False, help="Stored with the review.")],
    confirm: Annotated[
        bool | None, typer.Option("--confirm/--reject", show_default=False, help="Is it a blob?")
    ] = None,
    ledger: Ledger = DEFAULT,
    labels: Labels = LABELS,
    as_json: AsJson = False,
) -> None:
    """Confirm or reject a blob; the next training uses it as a label."""
    from blobwatch.cli.output.printing import print_json
    from blobwatch.lineage.git import author
    from blobwatch.monitor.ledger.database import open_ledger
    from blobwatch.monitor.reviews import review_blob
    from blobwatch.progress import print_message

    if confirm is None:
        raise BlobwatchError("the verdict is missing. Pass --confirm or --reject")
    verdict = "confirmed" if confirm else "rejected"
    row = review_blob(open_ledger(ledger), labels, number, verdict, reason, author(Path.cwd()))
    if as_json:
        print_json(row)
    print_message(f"blob {number} is {verdict}. Commit {labels}; the next `dvc repro` uses the label")


@app.command(rich_help_panel=PANEL)
def overrule(
    rootname: Annotated[str, typer.Argument(show_default=False, help="Rootname of the exposure.")],
    reason: Annotated[str, typer.Option(show_default=False, help="Stored with the decision.")],
    accept: Annotated[bool, typer.Option("--accept", help="Use it regardless of its quality.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Do not use it.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Use its quality again.")] = False,
    ledger: Ledger = DEFAULT,
    overrules: OverrulesFolder = OVERRULES,
    as_json: AsJson = False,
) -> None:
    """Accept or reject an exposure in later runs and in dvc repro."""
    from blobwatch.cli.output.printing import print_json
    from blobwatch.lineage.git import author
    from blobwatch.monitor.ledger.database import NoLedger, open_ledger
    from blobwatch.monitor.overrules import overrule_exposure
    from blobwatch.progress import print_message

    chosen = [name for name, on in (("accept", accept), ("reject", reject), ("clear", clear)) if on]
    if len(chosen) != 1:
        raise typer.BadParameter("pass one of --accept, --reject and --clear")
    try:
        opened = open_ledger(ledger)
    except NoLedger:
        opened = None
    one = overrule_exposure(opened, overrules, rootname, chosen[0], reason, author(Path.cwd()))
    if as_json:
        print_json(asdict(one))
    print_message(f"the next monitor run {OVERRULED[one.verdict].format(one.rootname)}. Commit {overrules}")


@app.command(rich_help_panel=PANEL)
def reviewer(
    name: Annotated[
        str, typer.Argument(show_default=False, help="Name of the person, stored with each review.")
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the person's tokens.")] = False,
    ledger: Ledger = DEFAULT,
) -> None:
    """Create a token with which a person can review on the page."""
    from blobwatch.monitor.ledger.database import open_ledger
    from blobwatch.monitor.ledger.reviewers import add_reviewer, remove_reviewer
    from blobwatch.progress import print_message

    opened = open_ledger(ledger)
    if remove:
        count = remove_reviewer(opened, name)
        print_message(f"{name} can no longer review on the page ({count} tokens removed)")
    else:
        token = add_reviewer(opened, name)
        print_message(f"the token of {name}, shown only once:")
        print(token)


@app.command(rich_help_panel=PANEL)
def serve(
    ledger: Ledger = DEFAULT,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    name: Annotated[
        list[str] | None, typer.Option(show_default=False, help="Another host name of this machine.")
    ] = None,
    labels: Labels = LABELS,
    overrules: OverrulesFolder = OVERRULES,
) -> None:
    """Serve web pages of the ledger: blobs, exposures, drift, deployed model."""
    from blobwatch.monitor import web
    from blobwatch.monitor.drift import read_reference
    from blobwatch.monitor.ledger.database import open_ledger
    from blobwatch.monitor.overrules import write_pending_overrules
    from blobwatch.monitor.reviews import write_pending_labels
    from blobwatch.progress import print_message

    opened = open_ledger(ledger)
    if labels.is_dir():
        write_pending_labels(opened, labels)
    if overrules.is_dir():
        write_pending_overrules(opened, overrules)
    hosts = web.allowed_hosts(host, name or [])
    pages = web.create_app(opened, Path.cwd(), labels, read_reference(), hosts, overrules)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    web.serve(pages, host, port, lambda: print_message(f"the ledger is at {address}. Press Ctrl-C to stop"))


@app.command(rich_help_panel=PANEL)
def report(
    out: Annotated[Path, typer.Option(show_default=False, help="New directory, or an earlier report.")],
    ledger: Ledger = DEFAULT,
) -> None:
    """Write the pages as static files."""
    from blobwatch.monitor.drift import read_reference
    from blobwatch.monitor.ledger.database import open_ledger
    from blobwatch.monitor.report import write_report
    from blobwatch.progress import print_message

    count = write_report(open_ledger(ledger), out, Path.cwd(), read_reference())
    print_message(f"{count} pages; open {out / 'index.html'}")
