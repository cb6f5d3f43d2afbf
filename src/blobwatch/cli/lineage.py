"""Versions: promoted, gone back from, compared, audited."""

from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import AsJson, app, errors_as

PANEL = "Lineage"

Reason = Annotated[str, typer.Option(show_default=False, help="Kept in models/promotions.jsonl.")]
Version = Annotated[str, typer.Argument(help="champion, or the number of a version.")]


@app.command(rich_help_panel=PANEL)
def promote(
    version: Annotated[int, typer.Argument(show_default=False)],
    reason: Reason,
    force: Annotated[bool, typer.Option("--force", help="Past the gates; the log will say so.")] = False,
) -> None:
    """Make a registered version the champion, if it passes the gates."""
    from blobwatch.lineage.promotion.commands import promote as run
    from blobwatch.params import load_params

    record = run(Path.cwd(), version, reason, load_params(), force)
    tell_deployed(record)


@app.command(rich_help_panel=PANEL)
def rollback(reason: Reason) -> None:
    """Go back to what was deployed before."""
    from blobwatch.lineage.promotion.commands import rollback as run

    tell_deployed(run(Path.cwd(), reason))


def tell_deployed(record: dict) -> None:
    """Say what is deployed now, and what is left to do."""
    typer.echo(
        f"version {record['version']} is the champion; commit models/champion and models/promotions.jsonl",
        err=True,
    )


@app.command(rich_help_panel=PANEL)
def models(as_json: AsJson = False) -> None:
    """List every version: what it is now, how good it is, which data made it."""
    from blobwatch.cli.output.lineage import answer_models

    answer_models(Path.cwd(), as_json)


@app.command(rich_help_panel=PANEL)
def compare(first: Version, second: Version, as_json: AsJson = False) -> None:
    """Show what differs between two versions: parameters, data, and results on the same test subframes."""
    from blobwatch.cli.output.lineage import answer_compare

    answer_compare(Path.cwd(), first, second, as_json)


@app.command(rich_help_panel=PANEL)
def audit(
    version: Version = "champion",
    exposure: Annotated[
        str | None, typer.Option(metavar="ROOTNAME", help="Which versions did this exposure touch?")
    ] = None,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="Write a page that can be read anywhere.")] = None,
) -> None:
    """Check which data trained a version, down to the hash of each exposure."""
    from blobwatch.cli.output.lineage import answer_audit, answer_exposure

    with errors_as(2):  # 1 is a mismatch
        if exposure:
            answer_exposure(Path.cwd(), exposure, as_json)
        elif not answer_audit(Path.cwd(), version, as_json, html):
            raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def verify(version: Version = "champion", as_json: AsJson = False) -> None:
    """Rebuild a version from its commit, in a clone of its own, and compare."""
    from blobwatch.cli.output.lineage import answer_verify

    with errors_as(2):
        if not answer_verify(Path.cwd(), version, as_json):
            raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Really; else it is only listed.")] = False,
    lost: Annotated[bool, typer.Option("--lost", help="What has no listing here is lost anyway.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove from DVC's cache what neither a promoted version nor the project as it lies here needs."""
    from blobwatch.cli.output.lineage import answer_gc

    answer_gc(Path.cwd(), delete, lost, as_json)


@app.command(rich_help_panel=PANEL)
def sync() -> None:
    """Find or rebuild the MLflow runs that DVC took from its cache, and the champion's version."""
    from blobwatch.lineage.tracking.sync import sync as run

    run(Path.cwd())
