"""The watch: exposures as they come in, the ledger, the page, reviews."""

from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import AsJson, app

PANEL = "Watch"

Ledger = Annotated[
    str,
    typer.Option(envvar="BLOBWATCH_LEDGER", help="Address of the ledger's database, as of SQLAlchemy."),
]
DEFAULT = "sqlite:///blobwatch.db"


@app.command(rich_help_panel=PANEL)
def monitor(
    folder: Annotated[Path, typer.Argument(show_default=False, help="Where exposures come in.")],
    ledger: Ledger = DEFAULT,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            envvar="BLOBWATCH_NOTIFY", show_default=False, help="A channel, as of apprise: mailto://…"
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="champion, a version, or the folder of a model.")] = "champion",
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and take new files as they come.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per exposure.")] = False,
) -> None:
    """Look at the exposures of a folder that the ledger does not know yet, and tell of new blobs."""
    from blobwatch.monitor.answers import answer_monitor

    if not answer_monitor(folder, ledger, notify or [], model, every if watch else None, as_json):
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def blobs(
    ledger: Ledger = DEFAULT,
    as_json: AsJson = False,
    export: Annotated[
        Path | None, typer.Option(help="Write a table (.csv, .ecsv) or regions for ds9 (.reg).")
    ] = None,
) -> None:
    """List the blobs of the ledger: where, since when, how sure."""
    from blobwatch.monitor.answers import answer_blobs

    answer_blobs(ledger, as_json, export)
