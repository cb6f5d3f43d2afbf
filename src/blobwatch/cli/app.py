"""The program: its options that many verbs share, and how it ends where something is wrong."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from blobwatch.errors import BlobwatchError, FileWarning

app = typer.Typer(
    help="Watch for new IR blobs in dark-Earth exposures of Hubble's WFC3.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# Which extra of the package brings a library that is not there.
EXTRAS = {
    "archive": ("astroquery", "boto3", "dask", "distributed", "pyarrow", "requests", "tenacity"),
    "monitor": ("sqlalchemy", "alembic", "apprise", "fastapi", "uvicorn", "jinja2"),
    "team": ("psycopg",),
}

Folder = Annotated[Path, typer.Argument(show_default=False)]
Flats = Annotated[
    Path | None,
    typer.Option(show_default=False, help="Folder of flat reference files; the flats are undone first."),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", show_default=False, help="Sections difference and monitor, as params.yaml."),
]
OverrulesFolder = Annotated[
    Path, typer.Option("--overrules", help="Folder of the decisions of people about exposures.")
]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]


def main() -> None:
    """Run the command line; errors that the user can correct are one line, with exit status 1."""
    print_file_warnings()
    try:
        app(prog_name="blobwatch")
    except BlobwatchError as error:
        typer.echo(f"blobwatch: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        library = (error.name or "").split(".")[0]
        extra = next((extra for extra, brought in EXTRAS.items() if library in brought), "train")
        typer.echo(
            f"blobwatch: this verb needs {library}; install it with: pip install 'blobwatch[{extra}]'",
            err=True,
        )
        sys.exit(1)


def print_file_warnings() -> None:
    """Let Python's warnings print each `FileWarning` once, as one line; others stay as they are."""
    usual = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        if not issubclass(category, FileWarning):
            usual(message, category, filename, lineno, file, line)
            return
        from blobwatch.progress import print_file_warning

        print_file_warning(str(message))

    warnings.filterwarnings("always", category=FileWarning)
    warnings.showwarning = show


@contextmanager
def errors_as(status: int) -> Iterator[None]:
    """Let what the user can mend end with another exit status than an answer has."""
    try:
        yield
    except BlobwatchError as error:
        typer.echo(f"blobwatch: {error}", err=True)
        raise typer.Exit(status) from None
