"""Stage ``difference``: quality, median stack of the trailing days, stack minus exposure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from uuid import uuid4

from astropy.io import fits

from blobwatch import __version__
from blobwatch.errors import BlobwatchError, UnusableFile
from blobwatch.files import atomic_folder, file_hash, write_table
from blobwatch.history import History, strip_directory
from blobwatch.images.quality import MEASURES, Quality
from blobwatch.images.rejection import suspect_message
from blobwatch.images.stack import difference_image, noise_map
from blobwatch.instrument.calibration import KEYWORDS, dflat_warning
from blobwatch.instrument.differences import write_difference
from blobwatch.instrument.exposure_files import Listed, list_exposures
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.flats import FlatFields
from blobwatch.instrument.kinds import keywords_of
from blobwatch.overrules import Overrule, read_overrules
from blobwatch.progress import console, map_in_processes, print_message
from blobwatch.settings import DifferenceSettings

INDEX, QUALITY = "index.csv", "quality.csv"
COLUMNS = [
    *("rootname", "expstart", "filter", "programme", "exposure", "md5", "path", "stack"),
    *("flats", "cal_ver", "reason"),
]


TOGETHER = 8  # neighbours that a worker handles in one go: they share most of their stacks


@dataclass(frozen=True)
class Season:
    """What the workers need to rebuild the history of the exposures.

    Attributes
    ----------
    key : str
        Tells one season from another.
    exposures : tuple of Listed
        In the order of time.
    settings : DifferenceSettings
    overrules : tuple of Overrule
    flats : Path or None
        Folder of the reference files by which flats are undone.
    """

    key: str
    exposures: tuple[Listed, ...] = field(compare=False)
    settings: DifferenceSettings = field(compare=False)
    overrules: tuple[Overrule, ...] = field(default=(), compare=False)
    flats: Path | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Job:
    """One difference image to make: the exposure and the members of its stack."""

    exposure: Listed
    members: tuple[Listed, ...]


@lru_cache(maxsize=1)
def history_of(season: Season) -> History:
    """Return the history of a season; each worker process keeps one."""
    overrules = {one.rootname: one for one in season.overrules}
    flats = FlatFields(season.flats) if season.flats else None
    return History(season.exposures, season.settings, overrules, flats)


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
        Folder of the table of decisions about exposures.
    out : Path
        Folder that is written: the images, ``index.csv`` with every exposure and the reason where there
        is no image, and ``quality.csv`` with the measures of each.
    settings : DifferenceSettings
    only_filter : str
        Exposures in other filters are left out.
    workers : int
        Processes.
    flats : Path, optional
        Reference files by which the flats of each exposure are undone first.

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
    season = Season(uuid4().hex, tuple(listed), settings, tuple(read_overrules(overrules).values()), flats)
    measured = list(map_in_processes(partial(measure, season), listed, "quality", workers, TOGETHER))
    history = history_of(season)
    for one, found in zip(listed, measured, strict=True):
        history.add(one, *((found, None) if isinstance(found, Quality) else (None, UnusableFile(found))))
    rejections = {one.rootname: history.rejection(one) for one in listed}
    accepted = [one for one in listed if not rejections[one.rootname]]
    jobs, without = plan(accepted, history)
    reasons = without | {name: reason for name, reason in rejections.items() if reason}
    known = {one.rootname for one, found in zip(listed, measured, strict=True) if isinstance(found, Quality)}
    judged = {name: reason for name, reason in rejections.items() if name in known - history.overrules.keys()}
    if warning := suspect_message(sum(map(bool, judged.values())), len(judged), settings.quality):
        print_message(warning, "bold yellow")
    if not jobs:
        raise BlobwatchError(f"no exposure of {exposures} has a stack: {next(iter(reasons.values()))}")
    with atomic_folder(out) as folder:
        made = list(
            map_in_processes(partial(write_product, folder, season), jobs, "difference", workers, TOGETHER)
        )
        write_table(folder / INDEX, index_rows(exposures, listed, made, reasons), COLUMNS)
        write_table(folder / QUALITY, quality_rows(listed, measured, rejections))
    rejected = len(listed) - len(accepted)
    console.print(
        f"difference: {len(jobs)} images; {len(without)} exposures without a stack, {rejected} rejected"
    )
    return len(jobs)


def measure(season: Season, one: Listed) -> Quality | str:
    """Return the quality of an exposure, or the reason why it cannot be used."""
    try:
        return history_of(season).quality(one)
    except UnusableFile as error:
        return strip_directory(str(error), one)


def quality_rows(
    listed: list[Listed], measured: list[Quality | str], rejections: dict[str, str]
) -> Iterable[dict]:
    """Return the rows of the table of qualities."""
    rows = []
    for one, found in zip(listed, measured, strict=True):
        values = found.as_dict() if isinstance(found, Quality) else dict.fromkeys(MEASURES, float("nan"))
        texts = {name: "" if value != value else f"{value:.5g}" for name, value in values.items()}
        row = {"rootname": one.rootname, "expstart": one.expstart} | texts
        rows.append(row | {"rejection": rejections[one.rootname]})
    return rows


def plan(accepted: list[Listed], history: History) -> tuple[list[Job], dict[str, str]]:
    """Return the difference images that can be made, and why the other exposures have no stack."""
    jobs, without = [], {}
    for one in accepted:
        try:
            jobs.append(Job(one, tuple(history.members(one))))
        except BlobwatchError as reason:
            without[one.rootname] = str(reason)
    return jobs, without


def write_product(folder: Path, season: Season, job: Job) -> dict:
    """Make and write one difference image; return its row of the index."""
    history, row = history_of(season), about(job.exposure)
    stack = history.stack(job.exposure, job.members)
    result = difference_image(stack, history.image(job.exposure))
    name = f"{job.exposure.rootname}_diff.fits"
    header = provenance(job, season, row["md5"])
    write_difference(folder / name, header, result, stack, noise_map(result, season.settings.box))
    return row | {"path": name, "stack": " ".join(one.rootname for one in job.members)}


def index_rows(
    exposures: Path, listed: list[Listed], made: list[dict], reasons: dict[str, str]
) -> list[dict]:
    """Return the rows of the index, with the path of each exposure in its folder."""
    known = {row["rootname"]: row for row in made}
    rows = [known.get(one.rootname) or about(one) | {"reason": reasons[one.rootname]} for one in listed]
    places = [one.path.relative_to(exposures).as_posix() for one in listed]
    return [row | {"exposure": place} for row, place in zip(rows, places, strict=True)]


def about(one: Listed) -> dict:
    """Return what the index says of an exposure, whether it has a stack or not."""
    row = {"rootname": one.rootname, "expstart": one.expstart}
    row |= {"filter": one.filter, "programme": one.programme, "exposure": one.path.name}
    row |= {"flats": one.calibration.flats, "cal_ver": one.calibration.version}
    return row | {"md5": file_hash(one.path, "md5")}


def provenance(job: Job, season: Season, md5: str) -> fits.Header:
    """Return the primary header of a product: its inputs, settings, and version."""
    listed = job.exposure
    with open_fits(listed.path) as hdus:
        source, keywords = hdus[0].header, keywords_of(hdus)
    keywords |= {"ROOTNAME": listed.rootname, "EXPSTART": listed.expstart, "FILTER": listed.filter}
    header = fits.Header()
    keys = "TELESCOP INSTRUME DETECTOR ROOTNAME TARGNAME PROPOSID DATE-OBS TIME-OBS"
    for key in [*keys.split(), "EXPSTART", "EXPEND", "EXPTIME", "FILTER", "SAMP_SEQ", "NSAMP", *KEYWORDS]:
        if key in source:
            header[key] = (source[key], source.comments[key])
        elif key in keywords:  # of the SCI header, or derived
            header[key] = keywords[key]
    undone = season.flats is not None and bool(listed.calibration.flat_files)
    header["FLATUNDO"] = (undone, "the flats were undone before differencing")
    header["PRODUCT"] = ("DIFFERENCE", "median stack - exposure; new blob positive")
    header["BLOBWVER"] = (__version__, "version of blobwatch")
    header["BOX"] = (season.settings.box, "[pix] boxes of the large-scale glow")
    header["STKDAYS"] = (season.settings.days, "[d] trailing window of the stack")
    header["NSTACK"] = (len(job.members), "exposures in the stack")
    header["SRCFILE"] = (listed.path.name, "the exposure")
    header["SRCMD5"] = (md5, "its md5")
    for number, one in enumerate(job.members, start=1):
        header[f"STK{number:05d}"] = (one.rootname, "in the stack")
    header["HISTORY"] = "pixels flagged in DQ (blob bit 512 apart) set to NaN; glow divided out;"
    header["HISTORY"] = "median over the stack; DIFF = STACK - exposure / glow"
    return header
