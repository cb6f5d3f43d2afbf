"""Stage ``difference``: blob images, the median stack of the trailing days, stack minus exposure."""

import csv
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch import __version__
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash, whole_file, whole_folder
from blobwatch.images.blobimage import blob_image
from blobwatch.images.stack import difference_image, median_stack, noise_map, trailing
from blobwatch.instrument.differences import write_difference
from blobwatch.instrument.exposures import read_exposure
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.folder import Listed, list_exposures
from blobwatch.params import Difference
from blobwatch.progress import console, in_processes

INDEX = "index.csv"


@dataclass(frozen=True)
class Job:
    """One difference image to make: the exposure, and those of its stack in the order of time."""

    exposure: Listed
    stack: tuple[Listed, ...]


def difference(exposures: Path, out: Path, settings: Difference, only_filter: str, workers: int = 2) -> int:
    """Write a difference product for each exposure that has a stack, and an index of all; return how many."""
    listed = list_exposures(exposures, only_filter)
    jobs, without = plan(listed, settings)
    if not jobs:
        raise BlobwatchError(f"no exposure of {exposures} has a stack: {without[0][1]}")
    with whole_folder(out) as folder:
        make = partial(write_product, folder, settings)
        rows = list(in_processes(make, jobs, "difference", workers))
        rows += [{"rootname": one.rootname, "expstart": one.expstart, "reason": why} for one, why in without]
        write_index(folder / INDEX, rows)
    console.print(
        f"difference: {len(jobs)} made; {len(without)} exposures have too few before them for a stack"
    )
    return len(jobs)


def plan(listed: list[Listed], settings: Difference) -> tuple[list[Job], list[tuple[Listed, str]]]:
    """Return the difference images that can be made, and the exposures without a stack with the reason."""
    times = [one.expstart for one in listed]
    jobs, without = [], []
    for one in listed:
        try:
            chosen = trailing(times, one.expstart, settings.days, settings.minimum, one.rootname)
        except BlobwatchError as reason:
            without.append((one, str(reason)))
        else:
            jobs.append(Job(one, tuple(listed[i] for i in chosen)))
    return jobs, without


@lru_cache(maxsize=24)
def normalised(path: Path, box: int) -> np.ndarray:
    """Return the blob image of a file; the cache holds a month, since stacks of neighbours overlap."""
    exposure = read_exposure(path)
    return blob_image(exposure.image, exposure.dq, box)


def write_product(folder: Path, settings: Difference, job: Job) -> dict:
    """Make and write one difference product; return its row of the index."""
    image = normalised(job.exposure.path, settings.box)
    stack = median_stack([normalised(one.path, settings.box) for one in job.stack])
    result = difference_image(stack, image)
    name = f"{job.exposure.rootname}_diff.fits"
    write_difference(folder / name, provenance(job, settings), result, stack, noise_map(result, settings.box))
    return {
        "rootname": job.exposure.rootname,
        "expstart": job.exposure.expstart,
        "path": name,
        "stack": " ".join(one.rootname for one in job.stack),
    }


def provenance(job: Job, settings: Difference) -> fits.Header:
    """Return the primary header of a product: what it was made of, how, and by which version."""
    with open_fits(job.exposure.path) as hdus:
        source = hdus[0].header
    header = fits.Header()
    keys = "TELESCOP INSTRUME DETECTOR ROOTNAME TARGNAME PROPOSID DATE-OBS TIME-OBS"
    for key in [*keys.split(), "EXPSTART", "EXPEND", "EXPTIME", "FILTER"]:
        if key in source:
            header[key] = (source[key], source.comments[key])
    header["PRODUCT"] = ("DIFFERENCE", "median stack - exposure; new blob positive")
    header["BLOBWVER"] = (__version__, "version of blobwatch")
    header["BOX"] = (settings.box, "[pix] boxes of the large-scale glow")
    header["STKDAYS"] = (settings.days, "[d] trailing window of the stack")
    header["NSTACK"] = (len(job.stack), "exposures in the stack")
    header["SRCFILE"] = (job.exposure.path.name, "the exposure")
    header["SRCMD5"] = (file_hash(job.exposure.path, "md5"), "its md5")
    for number, one in enumerate(job.stack, start=1):
        header[f"STK{number:05d}"] = (one.rootname, "in the stack")
    header["HISTORY"] = "pixels flagged in DQ (blob bit 512 apart) set to NaN; glow divided out;"
    header["HISTORY"] = "median over the stack; DIFF = STACK - exposure / glow"
    return header


def write_index(path: Path, rows: list[dict]) -> None:
    """Write the index: one row per exposure, with its stack or the reason why there is none."""
    with whole_file(path) as partial_path, partial_path.open("w", newline="") as stream:
        table = csv.DictWriter(
            stream, ["rootname", "expstart", "path", "stack", "reason"], restval="", lineterminator="\n"
        )
        table.writeheader()
        table.writerows(sorted(rows, key=lambda row: row["expstart"]))
