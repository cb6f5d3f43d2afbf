"""The stages of the pipeline, as ``dvc.yaml`` calls them."""

from pathlib import Path

from blobwatch.cli.app import Flats, Folder, Workers, app

PANEL = "Stages of the pipeline (dvc repro runs them)"


@app.command(rich_help_panel=PANEL)
def simulate(out: Folder, workers: Workers = 2) -> None:
    """Make a season of dark-Earth exposures, as flt files, with a table of the truth."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.simulate import simulate as run

    params = load_params()
    with witnessed(Path.cwd(), "simulate", out):
        run(out, params.simulate, params.seed, workers)


@app.command(rich_help_panel=PANEL)
def difference(
    exposures: Folder,
    overrules: Folder,
    out: Folder,
    workers: Workers = 2,
    flats: Flats = None,
) -> None:
    """Make the difference image of each exposure against the median stack of the trailing days."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.difference import difference as run

    params = load_params()
    with witnessed(Path.cwd(), "difference", exposures, overrules, out):
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
    """Cut labelled subframes for train, val and test out of the difference images."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.subframes import subframes as run

    params = load_params()
    with witnessed(Path.cwd(), "subframes", differences, exposures, labels, templates, out):
        run(differences, exposures, labels, templates, out, params.subframes, params.seed, workers)


@app.command(rich_help_panel=PANEL)
def train(subframes: Folder, candidate: Folder, reports: Folder) -> None:
    """Train the network; write the candidate and log the run."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.train import train as run

    params = load_params()
    with witnessed(Path.cwd(), "train", subframes, candidate, reports):
        run(Path.cwd(), subframes, candidate, reports, params)


@app.command(rich_help_panel=PANEL)
def baseline(subframes: Folder, out: Folder, reports: Folder) -> None:
    """Train the public predecessor's network on the same subframes, for comparison."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.baseline import baseline as run

    params = load_params()
    with witnessed(Path.cwd(), "baseline", subframes, out, reports):
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
    """Judge the candidate beside the baselines, with intervals, by slice, in pictures, and a model card."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.evaluate import evaluate as run

    params = load_params()
    folders = (candidate, baseline, subframes, templates, train_reports, out)
    with witnessed(Path.cwd(), "evaluate", *folders):
        run(Path.cwd(), *folders, params.evaluate, params.seed, workers)


@app.command(rich_help_panel=PANEL)
def reference(
    candidate: Folder, differences: Folder, subframes: Folder, out: Folder, workers: Workers = 2
) -> None:
    """Measure what the candidate sees in the exposures that trained it, to tell drift by later."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.reference import reference as run

    params = load_params()
    with witnessed(Path.cwd(), "reference", candidate, differences, subframes, out):
        run(candidate, differences, subframes, out, params.reference, params.seed, workers)


@app.command(rich_help_panel=PANEL)
def register(candidate: Folder, reports: Folder, out: Folder) -> None:
    """Register the candidate; promote it to champion if it passes the gates."""
    from blobwatch.lineage.fingerprint import witnessed
    from blobwatch.params import load_params
    from blobwatch.stages.register import register as run

    params = load_params()
    with witnessed(Path.cwd(), "register", candidate, reports, out):
        run(Path.cwd(), candidate, reports, out, params)
