"""Real exposures, from the archive."""

from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import AsJson, app

PANEL = "Archive"


@app.command(rich_help_panel=PANEL)
def fetch(
    target: Annotated[
        str | None,
        typer.Option(help="Default: DARK-EARTH-CALIB, or any where programmes or rootnames are given."),
    ] = None,
    filter: Annotated[str | None, typer.Option(help="For instance F153M; default: any.")] = None,
    start: Annotated[str | None, typer.Option(metavar="DAY", help="First day, as 2016-01-01.")] = None,
    end: Annotated[str | None, typer.Option(metavar="DAY", help="Last day.")] = None,
    proposal: Annotated[list[str] | None, typer.Option(help="Programme; may be repeated.")] = None,
    rootname: Annotated[list[str] | None, typer.Option(help="Exposure; may be repeated.")] = None,
    product: Annotated[str, typer.Option(help="flt, ima or raw.")] = "flt",
    out: Annotated[Path, typer.Option(help="Folder.")] = Path("data/raw/archive"),
    cloud: Annotated[bool, typer.Option("--cloud", help="From the public copy on S3.")] = False,
    flats: Annotated[
        bool,
        typer.Option(
            "--flats",
            help="Also the flat fields of the exposures, into flats/ of the folder. Without days, programmes "
            "and rootnames: only those of the exposures in the folder.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the files and their sizes.")] = False,
    dvc: Annotated[bool, typer.Option("--dvc", help="Then `dvc add` the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch real exposures from MAST, each whole and checked; run it again to go on after a break."""
    from blobwatch.archive.query import wanted_from
    from blobwatch.cli.output.archive import answer_fetch

    given = {"target": target, "filter": filter, "start": start, "end": end, "product": product}
    wanted = wanted_from(given | {"proposals": proposal or [], "rootnames": rootname or []})
    try:
        well = answer_fetch(wanted, out, cloud, dry_run, as_json, dvc, flats)
    except KeyboardInterrupt:
        typer.echo("blobwatch: interrupted; run the same command again, it goes on from here", err=True)
        raise typer.Exit(130) from None  # as a shell calls what Ctrl-C ended
    if not well:
        raise typer.Exit(1)
