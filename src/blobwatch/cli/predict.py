"""What an analyst asks: is there a new blob?"""

from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import AsJson, Flats, OverrulesFolder, SettingsFile, Workers, app
from blobwatch.overrules import DEFAULT as OVERRULES

PANEL = "Use"


@app.command(rich_help_panel=PANEL)
def predict(
    files: Annotated[list[Path], typer.Argument(show_default=False, help="Difference images or exposures.")],
    model: Annotated[str, typer.Option(help="champion, a version, or the folder of a model.")] = "champion",
    stack: Annotated[Path | None, typer.Option(help="Median stack for exposures.")] = None,
    history: Annotated[Path | None, typer.Option(help="Folder of earlier exposures.")] = None,
    settings: SettingsFile = None,
    flats: Flats = None,
    overrules: OverrulesFolder = OVERRULES,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per file.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Folder for a picture of each answer.")] = None,
) -> None:
    """Tell whether there are new blobs in FITS files, and where."""
    from blobwatch.cli.output.predict import answer_files

    if not answer_files(files, model, stack, history, settings, flats, overrules, as_json, plot):
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def scan(
    source: Annotated[Path, typer.Argument(show_default=False, help="A folder, or a manifest of fetch.")],
    out: Annotated[Path, typer.Option(show_default=False, help="The table, as parquet; goes on with it.")],
    model: Annotated[str, typer.Option(help="champion, a version, or the folder of a model.")] = "champion",
    history: Annotated[Path | None, typer.Option(help="Folder of earlier exposures, if elsewhere.")] = None,
    settings: SettingsFile = None,
    flats: Flats = None,
    overrules: OverrulesFolder = OVERRULES,
    scheduler: Annotated[str | None, typer.Option(help="Of a Dask cluster, like tcp://host:8786.")] = None,
    workers: Workers = 2,
    as_json: AsJson = False,
) -> None:
    """Judge thousands of files, here or on a Dask cluster, and write a table of the answers."""
    import json
    import time

    from blobwatch.archive.scan import scan as run
    from blobwatch.cli.models import find_model_or_version

    start = time.perf_counter()
    folder = find_model_or_version(model)
    found = run(source, out, folder, history, scheduler, workers, settings, flats, overrules)
    seconds = time.perf_counter() - start
    rate = f" ({found['judged'] / seconds:.1f} a second)" if found["judged"] else ""
    typer.echo(
        json.dumps(found | {"seconds": round(seconds, 3), "out": str(out)})
        if as_json
        else f"{found['files']} files, {found['judged']} judged now{rate}: {found['blobs']} blobs, "
        f"{found['errors']} files could not be used; {out} has a row for each"
    )
    if found["errors"]:
        raise typer.Exit(1)
