"""Commands for versions: promote, roll back, list, compare, audit, verify."""

from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import AsJson, app, errors_as

PANEL = "Lineage"

Reason = Annotated[str, typer.Option(show_default=False, help="Stored in models/promotions.jsonl.")]
Version = Annotated[str, typer.Argument(help="champion, or a version number.")]


@app.command(rich_help_panel=PANEL)
def promote(
    version: Annotated[int, typer.Argument(show_default=False)],
    reason: Reason,
    force: Annotated[
        bool, typer.Option("--force", help="Promote despite failed gates; recorded in the log.")
    ] = False,
) -> None:
    """Make a registered version the champion, if it passes the gates."""
    from blobwatch.lineage.promotion.commands import promote as run
    from blobwatch.params import load_params

    record = run(Path.cwd(), version, reason, load_params(), force)
    print_deployed(record)


@app.command(rich_help_panel=PANEL)
def rollback(reason: Reason) -> None:
    """Deploy the previous version again."""
    from blobwatch.lineage.promotion.commands import rollback as run

    print_deployed(run(Path.cwd(), reason))


def print_deployed(record: dict) -> None:
    """Print the deployed version and the files to commit."""
    typer.echo(
        f"version {record['version']} is the champion; commit models/champion and models/promotions.jsonl",
        err=True,
    )


@app.command(rich_help_panel=PANEL)
def models(as_json: AsJson = False) -> None:
    """List every version with its state, metrics and data."""
    from blobwatch.cli.output.lineage import run_models

    run_models(Path.cwd(), as_json)


@app.command(rich_help_panel=PANEL)
def compare(first: Version, second: Version, as_json: AsJson = False) -> None:
    """Show what differs between two versions: parameters, data, and results on the same test subframes."""
    from blobwatch.cli.output.lineage import run_compare

    run_compare(Path.cwd(), first, second, as_json)


@app.command(rich_help_panel=PANEL)
def audit(
    version: Version = "champion",
    exposure: Annotated[
        str | None, typer.Option(metavar="ROOTNAME", help="List the versions that used this exposure.")
    ] = None,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="Write the audit as a self-contained HTML page.")] = None,
) -> None:
    """Check the lineage of a version, down to the hash of each exposure."""
    from blobwatch.cli.output.lineage import run_audit, run_exposure

    with errors_as(2):  # 1 is a mismatch
        if exposure:
            run_exposure(Path.cwd(), exposure, as_json)
        elif not run_audit(Path.cwd(), version, as_json, html):
            raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def verify(version: Version = "champion", as_json: AsJson = False) -> None:
    """Rebuild a version from its commit in a temporary clone, and compare."""
    from blobwatch.cli.output.lineage import run_verify

    with errors_as(2):
        if not run_verify(Path.cwd(), version, as_json):
            raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def gc(
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the objects; otherwise only list them.")
    ] = False,
    lost: Annotated[
        bool, typer.Option("--lost", help="Treat folders without a listing as already lost.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove objects from DVC's cache that neither a promoted version nor the current project needs."""
    from blobwatch.cli.output.lineage import run_gc

    run_gc(Path.cwd(), delete, lost, as_json)


@app.command(rich_help_panel=PANEL)
def sync() -> None:
    """Find or rebuild the MLflow runs and the registered versions of every deployment."""
    from blobwatch.lineage.tracking.sync import sync as run

    run(Path.cwd())
