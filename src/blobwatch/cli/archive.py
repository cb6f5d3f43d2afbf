"""The command ``fetch``: real exposures from the archive."""

from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import AsJson, app

PANEL = "Archive"


@app.command(rich_help_panel=PANEL)
def fetch(
    target: Annotated[
        str | None,
        typer.Option(help="Default: DARK-EARTH-CALIB, or any with --proposal or --rootname."),
    ] = None,
    filter: Annotated[str | None, typer.Option(help="For instance F153M; default: any.")] = None,
    start: Annotated[str | None, typer.Option(metavar="DAY", help="First day, as 2016-01-01.")] = None,
    end: Annotated[str | None, typer.Option(metavar="DAY", help="Last day.")] = None,
    proposal: Annotated[list[str] | None, typer.Option(help="Programme; may be repeated.")] = None,
    rootname: Annotated[list[str] | None, typer.Option(help="Exposure; may be repeated.")] = None,
    product: Annotated[str, typer.Option(help="flt, ima or raw.")] = "flt",
    out: Annotated[Path, typer.Option(help="Output directory.")] = Path("data/raw/archive"),
    cloud: Annotated[bool, typer.Option("--cloud", help="Use the public copy on S3.")] = False,
    flats: Annotated[
        bool,
        typer.Option(
            "--flats",
            help="Also fetch the flat fields of the exposures, into the subdirectory flats/. Without days, "
            "programmes and rootnames: only those of the exposures in the directory.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the files and their sizes.")] = False,
    dvc: Annotated[bool, typer.Option("--dvc", help="Then run `dvc add` on the directory.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch real exposures from MAST and check them; run it again to resume."""
    from blobwatch.archive.query import parse_query
    from blobwatch.cli.output.archive import run_fetch

    query = parse_query(target, filter, start, end, proposal, rootname, product)
    try:
        complete = run_fetch(query, out, cloud, dry_run, as_json, dvc, flats)
    except KeyboardInterrupt:
        typer.echo("blobwatch: interrupted. Run the same command again to resume", err=True)
        raise typer.Exit(130) from None  # the exit status of shells after Ctrl-C
    if not complete:
        raise typer.Exit(1)
