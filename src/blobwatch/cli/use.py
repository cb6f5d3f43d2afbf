"""What an analyst asks: is there a new blob?"""

from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import app

PANEL = "Use"


@app.command(rich_help_panel=PANEL)
def predict(
    files: Annotated[list[Path], typer.Argument(show_default=False, help="Difference images or exposures.")],
    model: Annotated[str, typer.Option(help="champion, a version, or the folder of a model.")] = "champion",
    stack: Annotated[Path | None, typer.Option(help="Median stack for exposures.")] = None,
    history: Annotated[Path | None, typer.Option(help="Folder of earlier exposures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per file.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Folder for a picture of each answer.")] = None,
) -> None:
    """Tell whether there are new blobs in FITS files, and where."""
    from blobwatch.answers import answer_files

    if not answer_files(files, model, stack, history, as_json, plot):
        raise typer.Exit(1)
