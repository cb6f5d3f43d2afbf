"""What an astronomer brings: files looked at, shapes of blobs taken over."""

from pathlib import Path
from typing import Annotated

import typer

from blobwatch.cli.app import app

PANEL = "Data"


@app.command(rich_help_panel=PANEL)
def import_blobs(
    file: Annotated[Path, typer.Argument(show_default=False, help="The predecessor's blob_dict.npy.")],
    out: Annotated[Path, typer.Option(help="Folder of the templates.")] = Path("data/templates"),
) -> None:
    """Take over cutouts of real blobs as templates for injection, reading them safely."""
    from blobwatch.dataset.predecessor import import_blobs as run

    run(file, out)
