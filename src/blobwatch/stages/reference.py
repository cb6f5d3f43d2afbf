"""Stage ``reference``: statistics of the training exposures, with which the monitor detects drift."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_folder, read_table, write_json
from blobwatch.monitor.statistics import STATISTICS, measure_statistics
from blobwatch.params import Reference
from blobwatch.predict import Predictor
from blobwatch.progress import console, map_in_processes

REFERENCE = "reference.json"
load_predictor = lru_cache(maxsize=1)(Predictor.load)  # once per process
STREAM = 9  # of the seed


def reference(
    candidate: Path,
    differences: Path,
    subframes: Path,
    out: Path,
    settings: Reference,
    seed: int,
    workers: int = 2,
) -> dict:
    """Measure the statistics of the training exposures and write their ranges.

    Parameters
    ----------
    candidate : Path
        Folder of the model.
    differences, subframes : Path
        Outputs of these stages.
    out : Path
        Output folder.
    settings : Reference
    seed : int
        Seed of the bootstrap.
    workers : int
        Processes.

    Returns
    -------
    dict
        ``model``: hash of the model; ``exposures``: statistics of each exposure; ``together``: number of new
        exposures that are compared at a time; ``ranges``: mean of each statistic, and range of the means of
        that many exposures.
    """
    model, index = Model.load(candidate), subframes / "index.csv"
    if not index.is_file():
        raise BlobwatchError(f"{index}: file not found. Run `dvc repro subframes`")
    trained = sorted(row["rootname"] for row in read_table(index) if row["split"] == "train")
    if not trained:
        raise BlobwatchError(f"{subframes}: no training exposures. Run `dvc repro subframes`")
    jobs = [(candidate, differences / f"{rootname}_diff.fits") for rootname in trained]
    measured = list(map_in_processes(measure_difference, jobs, "reference", workers))
    content = {
        "model": model.sha256,
        "together": settings.exposures,
        "ranges": bootstrap_ranges(measured, settings, np.random.default_rng([seed, STREAM])),
        "exposures": measured,
    }
    with atomic_folder(out) as folder:
        write_json(folder / REFERENCE, content)
    console.print(f"reference: statistics of {len(measured)} exposures")
    return content


def measure_difference(job: tuple[Path, Path]) -> dict:
    """Return the rootname and statistics of one difference image."""
    candidate, path = job
    answer = load_predictor(candidate).predict_file(path)
    return {"rootname": answer.rootname} | round_values(measure_statistics(answer))


def round_values(values: dict[str, float]) -> dict[str, float]:
    """Round values to six significant digits."""
    return {name: float(f"{value:.6g}") for name, value in values.items()}


def bootstrap_ranges(measured: list[dict], settings: Reference, rng: np.random.Generator) -> dict[str, dict]:
    """Return the mean of each statistic and the range of bootstrap means.

    Exposures are drawn with replacement in runs of neighbours, which are correlated.
    """
    count, length = len(measured), min(settings.together, len(measured))
    runs = -(-settings.exposures // length)
    starts = rng.integers(0, count, (settings.draws, runs, 1))
    chosen = ((starts + np.arange(length)) % count).reshape(settings.draws, -1)[:, : settings.exposures]
    tail = (1 - settings.confidence) / 2
    ranges = {}
    for name in STATISTICS:
        values = np.array([row[name] for row in measured])
        low, high = np.quantile(values[chosen].mean(axis=1), [tail, 1 - tail])
        ranges[name] = round_values({"mean": values.mean(), "low": low, "high": high})
    return ranges
