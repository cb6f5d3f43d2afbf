"""Stage ``reference``: what the candidate sees in the exposures that trained it, to tell drift by later."""

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
TRAINED = "train"  # the split of an exposure
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
    """Measure the traits of each difference image that trained the candidate; write and return them.

    Parameters
    ----------
    candidate : Path
        Folder of the model.
    differences, subframes : Path
        What the stages of these names wrote.
    out : Path
        Folder that is written.
    settings : Reference
    seed : int
        Of the draws.
    workers : int
        Processes.

    Returns
    -------
    dict
        ``model``, its hash; ``exposures``, the traits of each; ``together``, how many new exposures are
        compared at a time; ``ranges``, of each trait the mean and the range of means of so many.
    """
    model, index = Model.load(candidate), subframes / "index.csv"
    if not index.is_file():
        raise BlobwatchError(f"{index} does not exist; run `dvc repro subframes`")
    trained = sorted(row["rootname"] for row in read_table(index) if row["split"] == TRAINED)
    if not trained:
        raise BlobwatchError(f"{subframes} names no exposure that trains; run `dvc repro subframes`")
    jobs = [(candidate, differences / f"{rootname}_diff.fits") for rootname in trained]
    measured = list(map_in_processes(measure, jobs, "reference", workers))
    found = {
        "model": model.sha256,
        "together": settings.exposures,
        "ranges": ranges_of(measured, settings, np.random.default_rng([seed, STREAM])),
        "exposures": measured,
    }
    with atomic_folder(out) as folder:
        write_json(folder / REFERENCE, found)
    console.print(f"reference: the traits of {len(measured)} exposures")
    return found


def measure(job: tuple[Path, Path]) -> dict:
    """Return rootname and traits of one difference image."""
    candidate, path = job
    answer = predictor_of(candidate).predict_file(path)
    return {"rootname": answer.rootname} | rounded(measure_statistics(answer).as_dict())


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Return values with six digits."""
    return {name: float(f"{value:.6g}") for name, value in values.items()}


@lru_cache(maxsize=1)
def predictor_of(candidate: Path) -> Predictor:
    """Return the predictor of a process."""
    return Predictor.load(candidate)


def ranges_of(measured: list[dict], settings: Reference, rng: np.random.Generator) -> dict[str, dict]:
    """Return of each trait the mean, and between which means of some training exposures nearly all lie.

    The exposures of a mean are drawn in runs of neighbours, with replacement.
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
        ranges[name] = rounded({"mean": values.mean(), "low": low, "high": high})
    return ranges
