"""Stage ``difference``: blob images, the median stack of the trailing days, stack minus exposure."""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch import __version__
from blobwatch.errors import BlobwatchError, Unfit
from blobwatch.files import file_hash, whole_folder, write_table
from blobwatch.images.blobimage import blob_image
from blobwatch.images.quality import Limits, Quality, judge, unplaced
from blobwatch.images.stack import difference_image, median_stack, noise_map, trailing
from blobwatch.instrument.differences import write_difference
from blobwatch.instrument.exposures import read_exposure
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.folder import Listed, list_exposures
from blobwatch.params import Difference
from blobwatch.progress import console, in_processes, say

INDEX, MEASURED = "index.csv", "quality.csv"
COLUMNS = ["rootname", "expstart", "filter", "programme", "exposure", "md5", "path", "stack", "reason"]


@dataclass(frozen=True)
class Job:
    """One difference image to make: the exposure, and those of its stack in the order of time."""

    exposure: Listed
    stack: tuple[Listed, ...]


def difference(exposures: Path, out: Path, settings: Difference, only_filter: str, workers: int = 2) -> int:
    """Write a difference product for each good exposure that has a stack, and tables; return how many.

    ``index.csv`` lists all exposures, with the reason where there is no product; ``quality.csv`` has what
    was measured of each, and sets apart those that are bad: they enter no stack.
    """
    listed = list_exposures(exposures, only_filter, say)
    judged = list(in_processes(partial(measure, settings), listed, "quality", workers))
    unfit = [(one, verdict["fault"]) for one, verdict in zip(listed, judged, strict=True) if verdict["fault"]]
    jobs, without = plan([one for one in listed if one not in dict(unfit)], settings)
    if not jobs:
        raise BlobwatchError(f"no exposure of {exposures} has a stack: {(without or unfit)[0][1]}")
    with whole_folder(out) as folder:
        make = partial(write_product, folder, settings)
        rows = list(in_processes(make, jobs, "difference", workers))
        rows += [about(one) | {"reason": why} for one, why in without + unfit]
        write_table(folder / INDEX, sorted(rows, key=lambda row: row["expstart"]), COLUMNS)
        write_table(folder / MEASURED, judged)
    console.print(
        f"difference: {len(jobs)} made; {len(without)} exposures have too few before them for a stack, "
        f"{len(unfit)} are unfit"
    )
    return len(jobs)


def measure(settings: Difference, one: Listed) -> dict:
    """Return the row of an exposure in the table of qualities; its fault is empty where it is fit."""
    row = {"rootname": one.rootname, "expstart": one.expstart}
    try:
        exposure = read_exposure(one.path)
    except Unfit as other:
        return row | dict.fromkeys(Quality.__annotations__, "") | {"fault": unplaced(other, one.path)}
    judged = judge(exposure, settings.box, limits_of(settings))
    measures = {name: f"{value:.5g}" for name, value in judged.quality.as_dict().items()}
    return row | measures | {"fault": judged.fault}


def limits_of(settings: Difference) -> Limits:
    """Return the limits of the section of ``params.yaml``."""
    return Limits(**settings.quality.model_dump())


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
    """Return the blob image of a fit file; the cache holds a month, since stacks of neighbours overlap."""
    exposure = read_exposure(path)
    return blob_image(exposure.image, exposure.dq, box)


def write_product(folder: Path, settings: Difference, job: Job) -> dict:
    """Make and write one difference product; return its row of the index."""
    row = about(job.exposure)
    image = normalised(job.exposure.path, settings.box)
    stack = median_stack([normalised(one.path, settings.box) for one in job.stack])
    result = difference_image(stack, image)
    name = f"{job.exposure.rootname}_diff.fits"
    header = provenance(job, settings, row["md5"])
    write_difference(folder / name, header, result, stack, noise_map(result, settings.box))
    return row | {"path": name, "stack": " ".join(one.rootname for one in job.stack)}


def about(one: Listed) -> dict:
    """Return what the index says of an exposure, whether it has a stack or not."""
    row = {"rootname": one.rootname, "expstart": one.expstart}
    row |= {"filter": one.filter, "programme": one.programme}
    return row | {"exposure": one.path.name, "md5": file_hash(one.path, "md5")}


def provenance(job: Job, settings: Difference, md5: str) -> fits.Header:
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
    header["SRCMD5"] = (md5, "its md5")
    for number, one in enumerate(job.stack, start=1):
        header[f"STK{number:05d}"] = (one.rootname, "in the stack")
    header["HISTORY"] = "pixels flagged in DQ (blob bit 512 apart) set to NaN; glow divided out;"
    header["HISTORY"] = "median over the stack; DIFF = STACK - exposure / glow"
    return header
