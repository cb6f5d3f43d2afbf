"""A simulated season of dark-Earth exposures: the detector, its blobs, the sky, the electronics."""

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.time import Time

from blobwatch.instrument import contaminants, detector, wfc3ir
from blobwatch.instrument.bad_exposures import FAULTS, Fault, draw_fault
from blobwatch.instrument.blobs import Blob, draw_blob, draw_old_blobs, radius_at, transmission

TRUTH = "truth.csv"  # table of all blobs, with the dates of the new ones
TARGET = "DARK-EARTH-CALIB"
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class SeasonSettings:
    """The simulator's settings; ``params.yaml`` documents and sets them."""

    background: tuple[float, float]
    new_blobs_per_month: float
    burst_share: float
    bad_pixels: tuple[float, float]
    table_days: float
    stripe_noise: float
    scattered_share: float
    streak_share: float
    triplet_share: float
    unflagged_cosmic_rays: float


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
        """Exposure time in seconds."""
        return wfc3ir.EXPOSURE_TIMES[self.nsamp]


@dataclass(frozen=True)
class Season:
    """State of a season before the first exposure.

    Attributes
    ----------
    seed : int
    start : float
        MJD.
    sky : Sky
    pointings : list of Pointing
        Good exposures sorted by time, then bad exposures sorted by time.
    detector : Detector
    old : list of Blob
        Blobs that exist before the season.
    new : list of (float, Blob)
        MJD of appearance, and the blob.
    """

    seed: int
    start: float
    sky: SeasonSettings
    pointings: list[Pointing]
    detector: detector.Detector
    old: list[Blob]
    new: list[tuple[float, Blob]]


def plan_season(
    seed: int, start: float, days: float, exposures: int, sky: SeasonSettings, bad: int = 0
) -> Season:
    """Draw the schedule, the detector and the blobs of a season.

    Parameters
    ----------
    seed : int
        Every exposure derives its own stream from it, so exposures can be made in any order.
    start : float
        MJD of the first day.
    days : float
        Length.
    exposures : int
        Number of good exposures, irregularly spaced, at least 0.4 days apart on average.
    sky : Sky
    bad : int
        Number of additional bad exposures; the good ones do not depend on it.
    """
    rng = np.random.default_rng([seed, 0])
    # One exposure in each of `exposures` equal intervals, anywhere in its inner 80 %.
    moments = start + (np.arange(exposures) + rng.uniform(0.1, 0.9, exposures)) * days / exposures
    nsamps = rng.choice(list(wfc3ir.EXPOSURE_TIMES), exposures, p=[0.2, 0.5, 0.3])
    pointings = [
        Pointing(n, format_rootname(n), round(float(moment), 8), int(nsamp))
        for n, (moment, nsamp) in enumerate(zip(moments, nsamps, strict=True))
    ]
    pointings += draw_bad_pointings(np.random.default_rng([seed, 6]), start, days, exposures, bad)
    return Season(
        seed=seed,
        start=start,
        sky=sky,
        pointings=pointings,
        detector=detector.draw_detector(
            np.random.default_rng([seed, 1]), days, *sky.bad_pixels, sky.stripe_noise
        ),
        old=draw_old_blobs(np.random.default_rng([seed, 2])),
        new=draw_new_blobs(np.random.default_rng([seed, 3]), start, days, sky),
    )


def draw_bad_pointings(
    rng: np.random.Generator, start: float, days: float, first: int, count: int
) -> list[Pointing]:
    """Draw the bad exposures, each kind of fault in turn, numbered from ``first``."""
    moments = np.sort(rng.uniform(start, start + days, count))
    nsamps = rng.choice(list(wfc3ir.EXPOSURE_TIMES), count)
    return [
        Pointing(
            n, format_rootname(n), round(float(moment), 8), int(nsamp), FAULTS[(n - first) % len(FAULTS)]
        )
        for n, (moment, nsamp) in enumerate(zip(moments, nsamps, strict=True), start=first)
    ]


def format_rootname(number: int) -> str:
    """Return the rootname of exposure ``number``; programme ``zzz`` does not exist."""
    visit, exposure = divmod(number, 36)
    return f"izzz{ALPHABET[visit // 36]}{ALPHABET[visit % 36]}0{ALPHABET[exposure]}q"


def draw_new_blobs(
    rng: np.random.Generator, start: float, days: float, sky: SeasonSettings
) -> list[tuple[float, Blob]]:
    """Draw new blobs and their dates: a Poisson process, some events with two blobs."""
    events = rng.poisson(sky.new_blobs_per_month / (1.0 + sky.burst_share) * days / 30.4)
    blobs = []
    for moment in np.sort(rng.uniform(start, start + days, events)):
        together = 2 if rng.uniform() < sky.burst_share else 1
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
    sky, det = season.sky, season.detector
    rng = np.random.default_rng([season.seed, 4, pointing.number])
    background = rng.uniform(*sky.background)  # electrons per pixel
    seconds = pointing.exptime
    fault, spoiler = Fault(), np.random.default_rng([season.seed, 7, pointing.number])
    if pointing.fault:
        fault = draw_fault(spoiler, pointing.fault)
        background *= fault.dimming

    present = season.old + [blob for moment, blob in season.new if moment <= pointing.expstart]
    lit = contaminants.draw_glow(rng, scattered=draw_limb_light(rng, sky)) + draw_excess_light(rng, sky)
    lit += fault.light
    scene = lit * det.sensitivity * transmission(present)  # fractions of the background
    stripes = rng.normal(0.0, sky.stripe_noise, wfc3ir.SIZE)[None, :]
    stripes = stripes + rng.normal(0.0, sky.stripe_noise, wfc3ir.SIZE)[:, None]

    age = pointing.expstart - season.start - det.bad_since  # days since the pixel turned bad
    bad = age >= 0
    scene = apply_bad_pixels(rng, scene, det, bad)
    rays = contaminants.draw_cosmic_rays(rng, seconds, background)

    electrons = rng.poisson(background * scene) + rng.normal(0.0, wfc3ir.READ_NOISE, scene.shape)
    electrons += background * stripes
    # calwf3 finds most hits in the ramp, flags them and fits the reads around them; it misses some.
    hit = rays > 0
    missed = hit & (rng.uniform(size=hit.shape) < sky.unflagged_cosmic_rays)
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


def draw_limb_light(rng: np.random.Generator, sky: SeasonSettings) -> float:
    """Draw the scattered light of the lit limb; zero for most exposures."""
    return float(rng.uniform(0.1, 1.0)) if rng.uniform() < sky.scattered_share else 0.0


def draw_excess_light(rng: np.random.Generator, sky: SeasonSettings) -> np.ndarray:
    """Draw the streaks and triplets of one exposure, fractions of the background."""
    light = np.zeros((wfc3ir.SIZE, wfc3ir.SIZE))
    if rng.uniform() < sky.streak_share:
        light += contaminants.draw_streaks(rng, lines=int(rng.integers(8, 15)))
    if rng.uniform() < sky.triplet_share:
        light += contaminants.draw_triplets(rng, count=int(rng.integers(1, 4)))
    return light


def apply_bad_pixels(
    rng: np.random.Generator, scene: np.ndarray, det: detector.Detector, bad: np.ndarray
) -> np.ndarray:
    """Return the scene with its bad pixels: dead ones dim, hot ones bright, unstable ones at random."""
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
    known = age >= season.sky.table_days
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
