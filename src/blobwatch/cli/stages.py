"""The stages of the pipeline, as commands for ``dvc.yaml``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from blobwatch.cli.app import Flats, Folder, Workers, app

if TYPE_CHECKING:  # pydantic is slow to import
    from blobwatch.params import Params

PANEL = "Stages of the pipeline (dvc repro runs them)"


@contextmanager
def record_stage(name: str, *folders: Path) -> "Iterator[Params]":
    """Yield the parameters, and record the inputs and outputs of a stage."""
    from blobwatch.lineage.fingerprint import record_receipt
    from blobwatch.params import load_params

    params = load_params()
    with record_receipt(Path.cwd(), name, *folders):
        yield params


@app.command(rich_help_panel=PANEL)
def simulate(out: Folder, workers: Workers = 2) -> None:
    """Simulate a season of dark-Earth exposures as flt files, with a truth table."""
    from blobwatch.stages.simulate import simulate as run

    with record_stage("simulate", out) as params:
        run(out, params.simulate, params.seed, workers)


@app.command(rich_help_panel=PANEL)
def difference(
    exposures: Folder, overrules: Folder, out: Folder, workers: Workers = 2, flats: Flats = None
) -> None:
    """Make the difference image of each exposure and the median stack of the preceding days."""
    from blobwatch.stages.difference import difference as run

    with record_stage("difference", exposures, overrules, out) as params:
        run(exposures, overrules, out, params.difference, params.data.filter, workers, flats)


@app.command(rich_help_panel=PANEL)
def subframes(
    differences: Folder,
    exposures: Folder,
    labels: Folder,
    templates: Folder,
    out: Folder,
    workers: Workers = 2,
) -> None:
    """Cut labelled subframes for train, val and test from the difference images."""
    from blobwatch.stages.subframes import subframes as run

    folders = (differences, exposures, labels, templates, out)
    with record_stage("subframes", *folders) as params:
        run(*folders, params.subframes, params.seed, workers)


@app.command(rich_help_panel=PANEL)
def train(subframes: Folder, candidate: Folder, reports: Folder) -> None:
    """Train the network; write the candidate and log the run."""
    from blobwatch.stages.train import train as run

    with record_stage("train", subframes, candidate, reports) as params:
        run(Path.cwd(), subframes, candidate, reports, params)


@app.command(rich_help_panel=PANEL)
def baseline(subframes: Folder, out: Folder, reports: Folder) -> None:
    """Train the network of the public predecessor on the same subframes."""
    from blobwatch.stages.baseline import baseline as run

    with record_stage("baseline", subframes, out, reports) as params:
        run(subframes, out, reports, params.baseline, params.seed, params.threads)


@app.command(rich_help_panel=PANEL)
def evaluate(
    candidate: Folder,
    baseline: Folder,
    subframes: Folder,
    templates: Folder,
    train_reports: Folder,
    out: Folder,
    workers: Workers = 2,
) -> None:
    """Evaluate the candidate and the baselines: scores with intervals and slices, figures, model card."""
    from blobwatch.stages.evaluate import evaluate as run

    folders = (candidate, baseline, subframes, templates, train_reports, out)
    with record_stage("evaluate", *folders) as params:
        run(Path.cwd(), *folders, params.evaluate, params.seed, workers)


@app.command(rich_help_panel=PANEL)
def reference(
    candidate: Folder, differences: Folder, subframes: Folder, out: Folder, workers: Workers = 2
) -> None:
    """Compute statistics of the candidate on the training exposures, as reference for drift."""
    from blobwatch.stages.reference import reference as run

    folders = (candidate, differences, subframes, out)
    with record_stage("reference", *folders) as params:
        run(*folders, params.reference, params.seed, workers)


@app.command(rich_help_panel=PANEL)
def register(candidate: Folder, reports: Folder, out: Folder) -> None:
    """Register the candidate; promote it to champion if it meets the criteria."""
    from blobwatch.stages.register import register as run

    with record_stage("register", candidate, reports, out) as params:
        run(Path.cwd(), candidate, reports, out, params)
