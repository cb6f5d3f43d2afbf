"""A simulated season of dark-Earth exposures: the detector, its blobs, the sky, the electronics."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.time import Time

from blobwatch.instrument import contaminants, detector, wfc3ir
from blobwatch.instrument.bad_exposures import FAULTS, Fault, draw_fault
from blobwatch.instrument.blobs import Blob, draw_blob, draw_old_blobs, radius_at, transmission

if TYPE_CHECKING:
    from blobwatch.params import Simulate

TRUTH = "truth.csv"  # table of all blobs, with the dates of the new ones
TARGET = "DARK-EARTH-CALIB"
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Pointing:
    """Time, duration and fault of one exposure of the season."""

    number: int
    rootname: str
    expstart: float
    nsamp: int
    fault: str = ""  # one of `bad_exposures.FAULTS`; empty for a good exposure

    @property
    def exptime(self) -> float:
        """Return the exposure time in seconds."""
        return wfc3ir.EXPOSURE_TIMES[self.nsamp]


@dataclass(frozen=True)
class Season:
    """State of a season before the first exposure.

    Attributes
    ----------
    seed : int
        Every exposure derives its own stream from it, so exposures can be made in any order.
    settings : Simulate
        The ``simulate`` section of the parameters.
    pointings : list of Pointing
        Good exposures sorted by time, then bad exposures sorted by time.
    detector : Detector
    old : list of Blob
        Blobs that exist before the season.
    new : list of (float, Blob)
        MJD of appearance, and the blob.
    """

    seed: int
    settings: "Simulate"
    pointings: list[Pointing]
    detector: detector.Detector
    old: list[Blob]
    new: list[tuple[float, Blob]]


def plan_season(seed: int, settings: "Simulate") -> Season:
    """Draw the schedule, the detector and the blobs of a season.

    The bad exposures come in addition: the good ones do not depend on their number.
    """
    start, days, count = settings.start, settings.days, settings.exposures
    schedule, bad_schedule = (np.random.default_rng([seed, stream]) for stream in (0, 6))
    # One exposure in each of `count` equal intervals, anywhere in its inner 80 %.
    moments = start + (np.arange(count) + schedule.uniform(0.1, 0.9, count)) * days / count
    nsamps = schedule.choice(list(wfc3ir.EXPOSURE_TIMES), count, p=[0.2, 0.5, 0.3])
    bad = settings.bad_exposures
    bad_moments = np.sort(bad_schedule.uniform(start, start + days, bad))
    bad_nsamps = bad_schedule.choice(list(wfc3ir.EXPOSURE_TIMES), bad)
    faults = [""] * count + [FAULTS[number % len(FAULTS)] for number in range(bad)]
    columns = np.concatenate([moments, bad_moments]), np.concatenate([nsamps, bad_nsamps]), faults
    return Season(
        seed=seed,
        settings=settings,
        pointings=[
            Pointing(number, format_rootname(number), round(float(moment), 8), int(nsamp), fault)
            for number, (moment, nsamp, fault) in enumerate(zip(*columns, strict=True))
        ],
        detector=detector.draw_detector(
            np.random.default_rng([seed, 1]), days, *settings.bad_pixels, settings.stripe_noise
        ),
        old=draw_old_blobs(np.random.default_rng([seed, 2])),
        new=draw_new_blobs(np.random.default_rng([seed, 3]), settings),
    )


def format_rootname(number: int) -> str:
    """Return the rootname of exposure ``number``; programme ``zzz`` does not exist."""
    visit, exposure = divmod(number, 36)
    return f"izzz{ALPHABET[visit // 36]}{ALPHABET[visit % 36]}0{ALPHABET[exposure]}q"


def draw_new_blobs(rng: np.random.Generator, settings: "Simulate") -> list[tuple[float, Blob]]:
    """Draw new blobs and their dates: a Poisson process, some events with two blobs."""
    rate = settings.new_blobs_per_month / (1.0 + settings.burst_share)
    events = rng.poisson(rate * settings.days / 30.4)
    blobs = []
    for moment in np.sort(rng.uniform(settings.start, settings.start + settings.days, events)):
        together = 2 if rng.uniform() < settings.burst_share else 1
        blobs += [(round(float(moment), 5), draw_blob(rng)) for _ in range(together)]
    return blobs


def expose(season: Season, pointing: Pointing) -> tuple[fits.Header, dict[str, np.ndarray]]:
    """Take one exposure of the season.

    Returns
    -------
    header : astropy Header
        The primary header.
    planes : dict of ndarray, shape (1014, 1014)
        SCI and ERR (electrons/s), DQ, SAMP, TIME (s), as in a calibrated ``flt``.
    """
    settings, det = season.settings, season.detector
    rng = np.random.default_rng([season.seed, 4, pointing.number])
    background = rng.uniform(*settings.background)  # electrons per pixel
    seconds = pointing.exptime
    fault, spoiler = Fault(), np.random.default_rng([season.seed, 7, pointing.number])
    if pointing.fault:
        fault = draw_fault(spoiler, pointing.fault)
        background *= fault.dimming

    present = season.old + [blob for moment, blob in season.new if moment <= pointing.expstart]
    lit = contaminants.draw_glow(rng, scattered=draw_limb_light(rng, settings))
    lit = lit + draw_excess_light(rng, settings) + fault.light
    scene = lit * det.sensitivity * transmission(present)  # fractions of the background
    stripes = rng.normal(0.0, settings.stripe_noise, wfc3ir.SIZE)[None, :]
    stripes = stripes + rng.normal(0.0, settings.stripe_noise, wfc3ir.SIZE)[:, None]

    age = pointing.expstart - settings.start - det.bad_since  # days since the pixel turned bad
    bad = age >= 0
    scene = apply_bad_pixels(rng, scene, det, bad)
    rays = contaminants.draw_cosmic_rays(rng, seconds, background)

    electrons = rng.poisson(background * scene) + rng.normal(0.0, wfc3ir.READ_NOISE, scene.shape)
    electrons += background * stripes
    # calwf3 finds most hits in the ramp, flags them and fits the reads around them; it misses some.
    hit = rays > 0
    missed = hit & (rng.uniform(size=hit.shape) < settings.unflagged_cosmic_rays)
    found = hit & ~missed
    electrons[missed] += background * rays[missed]
    electrons[found] += rng.normal(0.0, 2.0 * wfc3ir.READ_NOISE, int(found.sum()))

    if fault.noise:
        electrons += background * spoiler.normal(0.0, fault.noise, scene.shape)
    dq = data_quality(season, present, age, electrons, found)
    dq[fault.lost] |= 1  # Reed-Solomon error
    electrons[fault.lost] = 0.0
    rate = electrons / seconds
    error = np.sqrt(np.maximum(electrons, 0.0) + wfc3ir.READ_NOISE**2) / seconds
    samples = np.where(found, pointing.nsamp - 2, pointing.nsamp - 1)
    planes = {
        "SCI": rate,
        "ERR": error,
        "DQ": dq,
        "SAMP": samples,
        "TIME": seconds * samples / (pointing.nsamp - 1),
    }
    inner = slice(wfc3ir.BORDER, -wfc3ir.BORDER)
    return primary_header(season, pointing), {name: data[inner, inner] for name, data in planes.items()}


def draw_limb_light(rng: np.random.Generator, settings: "Simulate") -> float:
    """Draw the scattered light of the lit limb; zero for most exposures."""
    return float(rng.uniform(0.1, 1.0)) if rng.uniform() < settings.scattered_share else 0.0


def draw_excess_light(rng: np.random.Generator, settings: "Simulate") -> np.ndarray:
    """Draw the streaks and triplets of one exposure, fractions of the background."""
    light = np.zeros((wfc3ir.SIZE, wfc3ir.SIZE))
    if rng.uniform() < settings.streak_share:
        light += contaminants.draw_streaks(rng, lines=int(rng.integers(8, 15)))
    if rng.uniform() < settings.triplet_share:
        light += contaminants.draw_triplets(rng, count=int(rng.integers(1, 4)))
    return light


def apply_bad_pixels(
    rng: np.random.Generator, scene: np.ndarray, det: detector.Detector, bad: np.ndarray
) -> np.ndarray:
    """Return the scene with bad pixels.

    Dead pixels are dim, hot ones bright; unstable ones vary at random.
    """
    scene = scene.copy()
    dim = bad & (det.bad_kind == wfc3ir.DQ_BAD)
    bright = bad & ~dim
    scene[dim] *= det.bad_level[dim]
    moody = np.where(det.bad_kind[bright] == wfc3ir.DQ_UNSTABLE, rng.uniform(0, 1, int(bright.sum())), 1.0)
    scene[bright] += det.bad_level[bright] * moody
    scene[det.dead] = 0.02
    return scene


def data_quality(
    season: Season, present: list[Blob], age: np.ndarray, electrons: np.ndarray, rays: np.ndarray
) -> np.ndarray:
    """Return the DQ plane: known bad pixels, cosmic rays, saturation, old blobs."""
    det = season.detector
    dq = np.zeros(age.shape, dtype=np.int16)
    # The bad-pixel table is updated every `table_days`; newer bad pixels are not flagged yet.
    known = age >= season.settings.table_days
    dq[known] |= det.bad_kind[known]
    dq[det.dead] |= wfc3ir.DQ_BAD
    y, x = detector.pixel_grid()
    star_x, star_y, _ = detector.DEATH_STAR
    dq[np.hypot(x - star_x, y - star_y) <= detector.DEATH_STAR_MASK] |= wfc3ir.DQ_BAD
    for blob in season.old:
        reach = int(radius_at(blob.x, blob.y)) + 2
        column, row = int(blob.x), int(blob.y)
        window = (
            slice(max(0, row - reach), row + reach + 1),
            slice(max(0, column - reach), column + reach + 1),
        )
        inside = np.hypot(x[:, window[1]] - blob.x, y[window[0]] - blob.y) <= radius_at(blob.x, blob.y)
        dq[window] |= np.where(inside, wfc3ir.DQ_BLOB, 0).astype(np.int16)
    dq[rays] |= wfc3ir.DQ_COSMIC_RAY
    dq[electrons >= wfc3ir.SATURATION] |= wfc3ir.DQ_SATURATED
    return dq


def primary_header(season: Season, pointing: Pointing) -> fits.Header:
    """Return a primary header with the keywords, and their forms, of a real ``flt``."""
    begin = Time(pointing.expstart, format="mjd", scale="utc")
    date, time = begin.isot.split("T")
    cards = [
        ("FILENAME", f"{pointing.rootname}_flt.fits", "name of file"),
        ("FILETYPE", "SCI", "type of data found in data file"),
        ("TELESCOP", "HST", "telescope used to acquire data"),
        ("INSTRUME", "WFC3", "identifier for instrument used to acquire data"),
        ("ROOTNAME", pointing.rootname, "rootname of the observation set"),
        ("IMAGETYP", "EXT", "type of exposure identifier"),
        ("PRIMESI", "WFC3", "instrument designated as prime"),
        ("TARGNAME", TARGET, "proposer's target name"),
        ("PROPOSID", 0, "PEP proposal identifier"),
        ("DATE-OBS", date, "UT date of start of observation (yyyy-mm-dd)"),
        ("TIME-OBS", time.split(".")[0], "UT time of start of observation (hh:mm:ss)"),
        ("EXPSTART", pointing.expstart, "exposure start time (Modified Julian Date)"),
        ("EXPEND", round(pointing.expstart + pointing.exptime / 86400.0, 8), "exposure end time (MJD)"),
        ("EXPTIME", pointing.exptime, "exposure duration (seconds)--calculated"),
        ("EXPFLAG", "NORMAL", "Exposure interruption indicator"),
        ("OBSTYPE", "IMAGING", "observation type - imaging or spectroscopic"),
        ("OBSMODE", "MULTIACCUM", "operating mode"),
        ("SUBARRAY", False, "data from a subarray (T) or full frame (F)"),
        ("SUBTYPE", "FULLIMAG", "Size/type of IR subarray"),
        ("DETECTOR", "IR", "detector in use: UVIS or IR"),
        ("FILTER", "F153M", "element selected from filter wheel"),
        ("SAMP_SEQ", "SPARS100", "MultiAccum exposure time sequence name"),
        ("NSAMP", pointing.nsamp, "number of MULTIACCUM samples"),
        ("SAMPZERO", 2.911756, "sample time of the zeroth read (sec)"),
        ("APERTURE", "IR", "aperture name"),
        ("CSMID", "IR", "Channel Select Mechanism ID"),
        *((step, "COMPLETE", "calibration switch") for step in ("DQICORR", "FLATCORR", "CRCORR", "UNITCORR")),
        ("CCDGAIN", 2.5, "commanded gain of CCD"),
        *(
            (f"ATODGN{amp}", gain, f"calibrated gain for amplifier {amp}")
            for amp, gain in zip("ABCD", wfc3ir.GAIN, strict=True)
        ),
        ("SIMULATD", True, "made by blobwatch simulate, not by HST"),
        ("SIMSEED", season.seed, "seed of the simulated season"),
        *([("SIMFAULT", pointing.fault, "what went wrong")] if pointing.fault else []),
    ]
    return fits.Header([fits.Card(*card) for card in cards])
