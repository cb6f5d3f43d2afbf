"""Stage ``simulate``: a season of dark-Earth exposures and its ground truth."""

from functools import partial
from pathlib import Path

from blobwatch.files import atomic_folder, write_table
from blobwatch.instrument.blobs import blob_snr, radius_at
from blobwatch.instrument.contaminants import SIGMA
from blobwatch.instrument.exposures import write_flt
from blobwatch.instrument.season import TRUTH, Pointing, Season, expose, plan_season
from blobwatch.params import Simulate
from blobwatch.progress import map_in_processes


def simulate(out: Path, settings: Simulate, seed: int, workers: int = 2) -> Season:
    """Write the ``flt`` files of a simulated season and its truth table."""
    season = plan_season(seed, settings)
    with atomic_folder(out) as folder:
        work = partial(write_exposure, season, folder)
        for _ in map_in_processes(work, season.pointings, "simulate", workers):
            pass
        write_truth(folder / TRUTH, season)
    return season


def write_exposure(season: Season, folder: Path, pointing: Pointing) -> None:
    """Simulate and write one exposure."""
    header, planes = expose(season, pointing)
    write_flt(folder / f"{pointing.rootname}_flt.fits", header, planes)


def write_truth(path: Path, season: Season) -> None:
    """Write the table of all blobs; old blobs have no date of appearance."""
    blobs = [("old", None, blob) for blob in season.old] + [("new", when, blob) for when, blob in season.new]
    rows = []
    for number, (kind, when, blob) in enumerate(blobs, start=1):
        row = {"blob": number, "kind": kind, "x": f"{blob.x:.3f}", "y": f"{blob.y:.3f}"}
        row |= {"radius": f"{radius_at(blob.x, blob.y):.2f}", "depth": f"{blob.depth:.5f}"}
        row["appeared_mjd"] = "" if when is None else f"{when:.5f}"
        for name in ("half_width", "axis_ratio", "exponent", "edge", "hole"):
            row[name] = f"{getattr(blob, name):.4f}"
        rows.append(row | {"snr": f"{blob_snr(blob, SIGMA):.2f}"})
    write_table(path, rows)
