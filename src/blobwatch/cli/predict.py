"""The commands ``predict`` and ``scan``: new blobs in FITS files."""

from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import AsJson, Flats, ModelName, OverrulesFolder, SettingsFile, Workers, app
from blobwatch.overrules import DEFAULT as OVERRULES

PANEL = "Use"


@app.command(rich_help_panel=PANEL)
def predict(
    files: Annotated[list[Path], typer.Argument(show_default=False, help="Difference images or exposures.")],
    model: ModelName = "champion",
    stack: Annotated[Path | None, typer.Option(help="Median stack for exposures.")] = None,
    history: Annotated[Path | None, typer.Option(help="Directory of earlier exposures.")] = None,
    settings: SettingsFile = None,
    flats: Flats = None,
    overrules: OverrulesFolder = OVERRULES,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per file.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Directory for a figure of each result.")] = None,
) -> None:
    """Find new blobs in FITS files."""
    from blobwatch.cli.output.predict import run_predict

    if not run_predict(files, model, stack, history, settings, flats, overrules, as_json, plot):
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def scan(
    source: Annotated[Path, typer.Argument(show_default=False, help="A directory, or a manifest of fetch.")],
    out: Annotated[Path, typer.Option(show_default=False, help="Table (.parquet); may exist already.")],
    model: ModelName = "champion",
    history: Annotated[Path | None, typer.Option(help="Earlier exposures; default: SOURCE.")] = None,
    settings: SettingsFile = None,
    flats: Flats = None,
    overrules: OverrulesFolder = OVERRULES,
    scheduler: Annotated[str | None, typer.Option(help="Of a Dask cluster, like tcp://host:8786.")] = None,
    workers: Workers = 2,
    as_json: AsJson = False,
) -> None:
    """Find new blobs in thousands of files and write a table."""
    import time

    from blobwatch.archive.scan import scan as run
    from blobwatch.cli.models import find_model_or_version
    from blobwatch.cli.output.printing import print_json

    start = time.perf_counter()
    folder = find_model_or_version(model)
    found = run(source, out, folder, history, scheduler, workers, settings, flats, overrules)
    seconds = time.perf_counter() - start
    if as_json:
        print_json(found | {"seconds": round(seconds, 3), "out": str(out)})
    else:
        rate = f" ({int(found['judged']) / seconds:.1f} per second)" if found["judged"] else ""
        typer.echo(
            f"{found['files']} files, {found['judged']} new predictions{rate}: {found['blobs']} blobs, "
            f"{found['errors']} unusable files; table: {out}"
        )
    if found["errors"]:
        raise typer.Exit(1)
