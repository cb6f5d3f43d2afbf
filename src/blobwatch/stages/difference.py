"""Stage ``difference``: exposure quality, median stacks and difference images."""

from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from uuid import uuid4

from astropy.io import fits

from blobwatch import __version__
from blobwatch.errors import BlobwatchError, UnusableFile
from blobwatch.files import atomic_folder, file_hash, write_table
from blobwatch.history import History, strip_directory
from blobwatch.images.quality_limits import suspect_message
from blobwatch.images.quality_measures import MEASURES, Quality
from blobwatch.images.stack import difference_image, noise_map
from blobwatch.instrument.calibration import KEYWORDS, dflat_warning
from blobwatch.instrument.differences import write_difference
from blobwatch.instrument.exposure_files import ExposureFile, list_exposures
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.flats import FlatFields
from blobwatch.instrument.kinds import read_keywords
from blobwatch.overrules import Overrule, read_overrules
from blobwatch.progress import console, map_in_processes, print_message
from blobwatch.settings import DifferenceSettings

INDEX, QUALITY = "index.csv", "quality.csv"
COLUMNS = [
    *("rootname", "expstart", "filter", "programme", "exposure", "md5", "path", "stack"),
    *("flats", "cal_ver", "reason"),
]
CHUNK_SIZE = 8  # consecutive exposures per task, since they share most of their stacks


@dataclass(frozen=True)
class HistoryInputs:
    """Data from which each worker process builds the history of the exposures.

    Attributes
    ----------
    key : str
        Unique identifier; equality depends on it alone.
    exposures : tuple of ExposureFile
        Sorted by time.
    settings : DifferenceSettings
    overrules : tuple of Overrule
    flats : Path or None
        Folder of the flat reference files that are undone.
    """

    key: str
    exposures: tuple[ExposureFile, ...] = field(compare=False)
    settings: DifferenceSettings = field(compare=False)
    overrules: tuple[Overrule, ...] = field(default=(), compare=False)
    flats: Path | None = field(default=None, compare=False)


Job = tuple[ExposureFile, list[ExposureFile]]  # an exposure and the members of its stack


@lru_cache(maxsize=1)
def load_history(inputs: HistoryInputs) -> History:
    """Build the history once per worker process."""
    overrules = {one.rootname: one for one in inputs.overrules}
    flats = FlatFields(inputs.flats) if inputs.flats else None
    return History(inputs.exposures, inputs.settings, overrules, flats)


def difference(
    exposures: Path,
    overrules: Path,
    out: Path,
    settings: DifferenceSettings,
    only_filter: str,
    workers: int = 2,
    flats: Path | None = None,
) -> int:
    """Write a difference image for each accepted exposure that has a stack.

    Parameters
    ----------
    exposures : Path
        Folder of the exposures.
    overrules : Path
        Folder of the table of manual decisions about exposures.
    out : Path
        Output folder: the images, ``index.csv`` with every exposure and the reason for a missing image, and
        ``quality.csv`` with the quality measures.
    settings : DifferenceSettings
    only_filter : str
        Exposures in other filters are ignored.
    workers : int
        Processes.
    flats : Path, optional
        Folder of the flat reference files. With it, the flats of each exposure are undone first.

    Returns
    -------
    int
        Number of images.

    Raises
    ------
    BlobwatchError
        If an exposure is damaged, or none has a stack.
    """
    listed = list_exposures(exposures, only_filter, print_message)
    if flats is None and (warning := dflat_warning(one.calibration for one in listed)):
        print_message(warning, "yellow")
    overruled = read_overrules(overrules)
    inputs = HistoryInputs(uuid4().hex, tuple(listed), settings, tuple(overruled.values()), flats)
    measure = partial(measure_quality, inputs)
    measured = list(map_in_processes(measure, listed, "quality", workers, CHUNK_SIZE))
    history = load_history(inputs)
    for one, (quality, reason) in zip(listed, measured, strict=True):
        history.add(one, quality, UnusableFile(reason) if reason else None)
    rejections = {one.rootname: history.rejection(one) for one in listed}
    automatic = [
        rejections[one.rootname]
        for one, (quality, _) in zip(listed, measured, strict=True)
        if quality and one.rootname not in history.overrules
    ]
    if warning := suspect_message(sum(map(bool, automatic)), len(automatic), settings.quality):
        print_message(warning, "bold yellow")
    accepted = [one for one in listed if not rejections[one.rootname]]
    jobs, without_stack = plan_jobs(accepted, history)
    reasons = without_stack | {name: reason for name, reason in rejections.items() if reason}
    if not jobs:
        raise BlobwatchError(f"no exposure of {exposures} has a stack: {next(iter(reasons.values()))}")
    with atomic_folder(out) as folder:
        write = partial(write_product, folder, inputs)
        written = list(map_in_processes(write, jobs, "difference", workers, CHUNK_SIZE))
        products = {row["rootname"]: row for row in written}
        rows = [
            (products.get(one.rootname) or exposure_row(one) | {"reason": reasons[one.rootname]})
            | {"exposure": one.path.relative_to(exposures).as_posix()}
            for one in listed
        ]
        write_table(folder / INDEX, rows, COLUMNS)
        write_table(folder / QUALITY, quality_rows(listed, measured, rejections))
    rejected = len(listed) - len(accepted)
    console.print(
        f"difference: {len(jobs)} images; {len(without_stack)} exposures without a stack, {rejected} rejected"
    )
    return len(jobs)


def measure_quality(inputs: HistoryInputs, one: ExposureFile) -> tuple[Quality | None, str]:
    """Return the quality of an exposure, or None and the reason why it is unusable."""
    try:
        return load_history(inputs).quality(one), ""
    except UnusableFile as error:
        return None, strip_directory(str(error), one)


def quality_rows(
    listed: list[ExposureFile], measured: list[tuple[Quality | None, str]], rejections: dict[str, str]
) -> list[dict]:
    """Return the rows of the quality table."""
    rows = []
    for one, (quality, _) in zip(listed, measured, strict=True):
        values = quality.as_dict() if quality else dict.fromkeys(MEASURES, float("nan"))
        texts = {name: "" if value != value else f"{value:.5g}" for name, value in values.items()}
        row = {"rootname": one.rootname, "expstart": one.expstart} | texts
        rows.append(row | {"rejection": rejections[one.rootname]})
    return rows


def plan_jobs(accepted: list[ExposureFile], history: History) -> tuple[list[Job], dict[str, str]]:
    """Return the possible jobs, and the reasons why other exposures have no stack."""
    jobs, without_stack = [], {}
    for one in accepted:
        try:
            jobs.append((one, history.members(one)))
        except BlobwatchError as reason:
            without_stack[one.rootname] = str(reason)
    return jobs, without_stack


def write_product(folder: Path, inputs: HistoryInputs, job: Job) -> dict:
    """Write one difference image; return its row of the index."""
    (exposure, members), history = job, load_history(inputs)
    row, name = exposure_row(exposure), f"{exposure.rootname}_diff.fits"
    stack = history.stack(exposure, members)
    result = difference_image(stack, history.image(exposure))
    header = create_header(exposure, members, inputs, row["md5"])
    write_difference(folder / name, header, result, stack, noise_map(result, inputs.settings.box))
    return row | {"path": name, "stack": " ".join(one.rootname for one in members)}


def exposure_row(one: ExposureFile) -> dict:
    """Return the columns of the index that do not depend on a stack."""
    return {
        "rootname": one.rootname,
        "expstart": one.expstart,
        "filter": one.filter,
        "programme": one.programme,
        "flats": one.calibration.flats,
        "cal_ver": one.calibration.version,
        "md5": file_hash(one.path, "md5"),
    }


def create_header(
    listed: ExposureFile, members: list[ExposureFile], inputs: HistoryInputs, md5: str
) -> fits.Header:
    """Return the primary header: inputs, settings and version."""
    with open_fits(listed.path) as hdus:
        source, keywords = hdus[0].header, read_keywords(hdus)
    keywords |= {"ROOTNAME": listed.rootname, "EXPSTART": listed.expstart, "FILTER": listed.filter}
    header = fits.Header()
    keys = "TELESCOP INSTRUME DETECTOR ROOTNAME TARGNAME PROPOSID DATE-OBS TIME-OBS"
    for key in [*keys.split(), "EXPSTART", "EXPEND", "EXPTIME", "FILTER", "SAMP_SEQ", "NSAMP", *KEYWORDS]:
        if key in source:
            header[key] = (source[key], source.comments[key])
        elif key in keywords:  # of the SCI header, or derived
            header[key] = keywords[key]
    undone = inputs.flats is not None and bool(listed.calibration.flat_files)
    header["FLATUNDO"] = (undone, "the flats were undone before differencing")
    header["PRODUCT"] = ("DIFFERENCE", "median stack - exposure; new blob positive")
    header["BLOBWVER"] = (__version__, "version of blobwatch")
    header["BOX"] = (inputs.settings.box, "[pix] boxes of the large-scale glow")
    header["STKDAYS"] = (inputs.settings.days, "[d] trailing window of the stack")
    header["NSTACK"] = (len(members), "exposures in the stack")
    header["SRCFILE"] = (listed.path.name, "the exposure")
    header["SRCMD5"] = (md5, "its md5")
    for number, one in enumerate(members, start=1):
        header[f"STK{number:05d}"] = (one.rootname, "in the stack")
    header["HISTORY"] = "pixels flagged in DQ (blob bit 512 apart) set to NaN; glow divided out;"
    header["HISTORY"] = "median over the stack; DIFF = STACK - exposure / glow"
    return header
