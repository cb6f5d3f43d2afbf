"""The command line application: options shared by commands, errors and exit statuses."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from blobwatch.errors import BlobwatchError, FileWarning

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# The extra of the package that installs what a command needs; other commands need `train`.
EXTRAS = {
    "archive": ("fetch", "scan"),
    "monitor": ("monitor", "blobs", "review", "overrule", "reviewer", "serve", "report"),
    "plot": ("predict", "inspect"),
}

Folder = Annotated[Path, typer.Argument(show_default=False)]
Flats = Annotated[
    Path | None,
    typer.Option(show_default=False, help="Directory of flat reference files; the flats are undone first."),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", show_default=False, help="Sections difference and monitor, as in params.yaml."
    ),
]
OverrulesFolder = Annotated[
    Path, typer.Option("--overrules", help="Directory of the overrules of exposures.")
]
ModelName = Annotated[str, typer.Option(help="champion, a version, or the directory of a model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]


def print_version(requested: bool) -> None:
    """Print the versions of the program and of the deployed model, and exit."""
    if requested:
        from blobwatch.cli.models import describe_version

        typer.echo(describe_version())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=print_version,
            is_eager=True,
            help="Print the versions of the program and the model, and exit.",
        ),
    ] = False,
) -> None:
    """Watch for new IR blobs in dark-Earth exposures of Hubble's WFC3."""


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
        command = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
        extra = find_extra(library, command)
        typer.echo(f"blobwatch: {library} is not installed. Run: pip install 'blobwatch[{extra}]'", err=True)
        sys.exit(1)


def find_extra(library: str, command: str) -> str:
    """Return the extra of the package that installs a library for a command."""
    if library == "psycopg":
        return "team"
    extra = next((extra for extra, commands in EXTRAS.items() if command in commands), "train")
    if extra == "plot" and library != "matplotlib":
        return "train"  # MLflow, for --model VERSION
    return extra


def print_file_warnings() -> None:
    """Print each `FileWarning` once, as one line; other warnings are unchanged."""
    default = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        if not issubclass(category, FileWarning):
            default(message, category, filename, lineno, file, line)
            return
        from blobwatch.progress import print_file_warning

        print_file_warning(str(message))

    warnings.filterwarnings("always", category=FileWarning)
    warnings.showwarning = show


@contextmanager
def errors_as(status: int) -> Iterator[None]:
    """Print a `BlobwatchError` of the block and exit with a status."""
    try:
        yield
    except BlobwatchError as error:
        typer.echo(f"blobwatch: {error}", err=True)
        raise typer.Exit(status) from None
