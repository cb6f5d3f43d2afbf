"""The commands ``inspect`` and ``import-blobs``: files of an astronomer."""

from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import OverrulesFolder, SettingsFile, app
from blobwatch.overrules import DEFAULT as OVERRULES

PANEL = "Data"


@app.command(rich_help_panel=PANEL)
def inspect(
    files: Annotated[list[Path], typer.Argument(show_default=False, help="FITS files of any kind.")],
    settings: SettingsFile = None,
    overrules: OverrulesFolder = OVERRULES,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per file.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Directory for a figure of each file.")] = None,
) -> None:
    """Describe FITS files, and how blobwatch would use them."""
    from blobwatch.cli.output.predict import run_inspect

    if not run_inspect(files, settings, overrules, as_json, plot):
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def import_blobs(
    file: Annotated[Path, typer.Argument(show_default=False, help="The predecessor's blob_dict.npy.")],
    out: Annotated[Path, typer.Option(help="Directory of the templates.")] = Path("data/templates"),
) -> None:
    """Import cutouts of real blobs as templates for injection."""
    from blobwatch.dataset.blob_dict import import_blobs as run

    run(file, out)
