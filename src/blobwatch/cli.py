"""``blobwatch <verb>``, in the order of the flow. Heavy libraries are loaded by the verb that needs them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from blobwatch.errors import BlobwatchError

app = typer.Typer(
    help="Watch for new IR blobs in dark-Earth exposures of Hubble's WFC3.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
STAGES, USE, LINEAGE = "Stages of the pipeline (dvc repro runs them)", "Use", "Lineage"

Folder = Annotated[Path, typer.Argument(show_default=False)]
Reason = Annotated[str, typer.Option(show_default=False, help="Kept in models/promotions.jsonl.")]
Version = Annotated[str, typer.Argument(help="champion, or the number of a version.")]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]


def main() -> None:
    """Run the command line; what the user can mend is said in a sentence, with exit status 1."""
    try:
        app(prog_name="blobwatch")
    except BlobwatchError as error:
        typer.echo(f"blobwatch: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = "monitor" if error.name in ("sqlalchemy", "apprise") else "train"
        typer.echo(
            f"blobwatch: this verb needs {error.name}; install it with: pip install 'blobwatch[{extra}]'",
            err=True,
        )
        sys.exit(1)


@contextmanager
def errors_as(status: int) -> Iterator[None]:
    """Let what the user can mend end with another exit status than an answer has."""
    try:
        yield
    except BlobwatchError as error:
        typer.echo(f"blobwatch: {error}", err=True)
        raise typer.Exit(status) from None


@app.command(rich_help_panel=STAGES)
def simulate(out: Folder, workers: Workers = 2) -> None:
    """Make a season of dark-Earth exposures, as flt files, with a table of the truth."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.simulate import simulate as run

    params = load_params()
    with witnessed(Path.cwd(), "simulate", out):
        run(out, params.simulate, params.seed, workers)


@app.command(rich_help_panel=STAGES)
def difference(exposures: Folder, out: Folder, workers: Workers = 2) -> None:
    """Make the difference image of each exposure against the median stack of the trailing days."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.difference import difference as run

    params = load_params()
    with witnessed(Path.cwd(), "difference", exposures, out):
        run(exposures, out, params.difference, params.data.filter, workers)


@app.command(rich_help_panel=STAGES)
def subframes(differences: Folder, exposures: Folder, out: Folder, workers: Workers = 2) -> None:
    """Cut labelled subframes for train, val and test out of the difference images."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.subframes import subframes as run

    params = load_params()
    with witnessed(Path.cwd(), "subframes", differences, exposures, out):
        run(differences, exposures, out, params.subframes, params.seed, workers)


@app.command(rich_help_panel=STAGES)
def train(subframes: Folder, candidate: Folder, reports: Folder) -> None:
    """Train the network; write the candidate and log the run."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.train import train as run

    params = load_params()
    with witnessed(Path.cwd(), "train", subframes, candidate, reports):
        run(Path.cwd(), subframes, candidate, reports, params)


@app.command(rich_help_panel=STAGES)
def baseline(subframes: Folder, out: Folder, reports: Folder) -> None:
    """Train the public predecessor's network on the same subframes, for comparison."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.baseline import baseline as run

    params = load_params()
    with witnessed(Path.cwd(), "baseline", subframes, out, reports):
        run(subframes, out, reports, params.baseline, params.seed, params.threads)


@app.command(rich_help_panel=STAGES)
def evaluate(
    candidate: Folder, baseline: Folder, subframes: Folder, train_reports: Folder, out: Folder
) -> None:
    """Judge the candidate beside the baselines, with intervals, by slice, in pictures, and a model card."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.evaluate import evaluate as run

    params = load_params()
    with witnessed(Path.cwd(), "evaluate", candidate, baseline, subframes, train_reports, out):
        run(Path.cwd(), candidate, baseline, subframes, train_reports, out, params.evaluate, params.seed)


@app.command(rich_help_panel=STAGES)
def register(candidate: Folder, reports: Folder, out: Folder) -> None:
    """Register the candidate; promote it to champion if it passes the gates."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.register import register as run

    params = load_params()
    with witnessed(Path.cwd(), "register", candidate, reports, out):
        run(Path.cwd(), candidate, reports, out, params)


@app.command(rich_help_panel=USE)
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


@app.command(rich_help_panel=LINEAGE)
def promote(
    version: Annotated[int, typer.Argument(show_default=False)],
    reason: Reason,
    force: Annotated[bool, typer.Option("--force", help="Past the gates; the log will say so.")] = False,
) -> None:
    """Make a registered version the champion, if it passes the gates."""
    from blobwatch.lineage.promotion.verbs import promote as run
    from blobwatch.params import load_params

    record = run(Path.cwd(), version, reason, load_params(), force)
    tell_deployed(record)


@app.command(rich_help_panel=LINEAGE)
def rollback(reason: Reason) -> None:
    """Go back to what was deployed before."""
    from blobwatch.lineage.promotion.verbs import rollback as run

    tell_deployed(run(Path.cwd(), reason))


def tell_deployed(record: dict) -> None:
    """Say what is deployed now, and what is left to do."""
    typer.echo(
        f"version {record['version']} is the champion; commit models/champion and models/promotions.jsonl",
        err=True,
    )


@app.command(rich_help_panel=LINEAGE)
def models(as_json: AsJson = False) -> None:
    """List every version: what it is now, how good it is, which data made it."""
    from blobwatch.lineage.answers import answer_models

    answer_models(Path.cwd(), as_json)


@app.command(rich_help_panel=LINEAGE)
def compare(first: Version, second: Version, as_json: AsJson = False) -> None:
    """Show what differs between two versions: parameters, data, and results on the same test subframes."""
    from blobwatch.lineage.answers import answer_compare

    answer_compare(Path.cwd(), first, second, as_json)


@app.command(rich_help_panel=LINEAGE)
def audit(
    version: Version = "champion",
    exposure: Annotated[
        str | None, typer.Option(metavar="ROOTNAME", help="Which versions did this exposure touch?")
    ] = None,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="Write a page that can be read anywhere.")] = None,
) -> None:
    """Check which data trained a version, down to the hash of each exposure."""
    from blobwatch.lineage.answers import answer_audit, answer_exposure

    with errors_as(2):  # 1 is a mismatch
        if exposure:
            answer_exposure(Path.cwd(), exposure, as_json)
        elif not answer_audit(Path.cwd(), version, as_json, html):
            raise typer.Exit(1)


@app.command(rich_help_panel=LINEAGE)
def verify(version: Version = "champion", as_json: AsJson = False) -> None:
    """Rebuild a version from its commit, in a clone of its own, and compare."""
    from blobwatch.lineage.answers import answer_verify

    with errors_as(2):
        if not answer_verify(Path.cwd(), version, as_json):
            raise typer.Exit(1)


@app.command(rich_help_panel=LINEAGE)
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Really; else it is only listed.")] = False,
    lost: Annotated[bool, typer.Option("--lost", help="What has no listing here is lost anyway.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove from DVC's cache what neither a promoted version nor the project as it lies here needs."""
    from blobwatch.lineage.answers import answer_gc

    answer_gc(Path.cwd(), delete, lost, as_json)


@app.command(rich_help_panel=LINEAGE)
def sync() -> None:
    """Find or rebuild the MLflow runs that DVC took from its cache, and the champion's version."""
    from blobwatch.lineage.tracking.sync import sync as run

    run(Path.cwd())


if __name__ == "__main__":
    main()
