"""Seasons of good exposures, written anew from the measured figures; `seasons.faults` makes bad ones.

What a season is like is drawn over the ranges that real series may have: fixed-pattern noise 0-1 %, noise
0.7-1.5 times what photons and reads give, background 0.3-3 times 16,000 electrons, five filters, two exposure
times. "chosen" marks figures that no document or measurement gives.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from seasons.frame import (
    BORDER,
    DARK,
    DEAD,
    EDGE,
    FULL_WELL,
    READ_NOISE,
    SATURATED,
    SIZE,
    BadPixels,
    X,
    blob_flags,
    dead_areas,
    draw_old,
    smooth,
    time_of,
    transmission,
)
from seasons.lights import cosmic_rays, faint_streaks, triplets

LEVEL = 16_000.0  # electrons per pixel
FILTERS = ("F105W", "F125W", "F140W", "F153M", "F160W")
GLOW_FILTERS = ("F105W", "F110W")  # that let He I 1.083 um through
DELTA_FILTERS = ("F098M", "F105W", "F110W", "F125W", "F140W", "F160W")  # that have a D-flat


@dataclass(frozen=True)
class Conditions:
    """What a season is like.

    Attributes
    ----------
    seed, exposures : int
    filter : str
    fixed : float
        Pixel-to-pixel error of the flat, the same in each exposure.
    noise : float
        Noise over that of photons and reads.
    level : float
        Background over 16,000 electrons.
    restless : bool
        The background of each exposure is anything from 0.3 to 3, instead of within 15 %.
    nsamps : tuple of int
        Ramps that occur.
    modern : bool
        Flat-fielded with the flats of 2020 rather than of 2010.
    scattered : float
        Share of the exposures with light of the limb at the left.
    """

    seed: int
    exposures: int
    filter: str = "F153M"
    fixed: float = 0.005
    noise: float = 1.0
    level: float = 1.0
    restless: bool = False
    nsamps: tuple[int, ...] = (13,)
    modern: bool = True
    scattered: float = 0.15


def draw_conditions(seed: int, exposures: int) -> Conditions:
    """Return conditions drawn over the whole ranges."""
    rng = np.random.default_rng([41, seed])
    ends = 0.3 / 0.85, 3.0 / 1.15  # so that 15 % more or less stays within 0.3 and 3
    return Conditions(
        seed=seed,
        exposures=exposures,
        filter=str(FILTERS[(seed + int(rng.integers(0, 2))) % len(FILTERS)]),
        fixed=float(rng.uniform(0, 0.01)),
        noise=float(rng.uniform(0.7, 1.5)),
        level=float(np.exp(rng.uniform(*np.log(ends)))),
        restless=bool(rng.uniform() < 0.25),
        nsamps=[(13,), (10,), (10, 13)][rng.integers(0, 3)],
        modern=bool(rng.uniform() < 0.6),
        scattered=float(rng.choice([0.0, 0.15, 0.3])),
    )


@dataclass
class Frame:
    """One exposure before it is read out; faults change it in place.

    Attributes
    ----------
    light, sky : ndarray, shape (1024, 1024)
        Expected electrons with and without those of bad pixels.
    flags : ndarray, shape (1024, 1024)
        Data-quality bits.
    offset : ndarray or float
        Electrons that the readout adds without photon noise.
    seconds, sigma : float
        Exposure time; noise per pixel of the even background, electrons.
    nsamp : int
    cards : dict
        Header keywords that differ from the usual.
    lost : int
        Reads that are missing from the file, which is then a raw.
    """

    light: np.ndarray
    sky: np.ndarray
    flags: np.ndarray
    seconds: float
    sigma: float
    nsamp: int
    cards: dict
    offset: np.ndarray | float = 0.0
    lost: int = 0


@dataclass
class Detector:
    """What stays in a season: dead areas, old blobs, flat errors, and bad pixels that grow in number."""

    conditions: Conditions
    days: float
    pattern: np.ndarray = field(init=False)
    flags: np.ndarray = field(init=False)

    def __post_init__(self):
        own, rng = self.conditions, np.random.default_rng([42, self.conditions.seed])
        self.dead, flagged = dead_areas(rng)
        old = draw_old(rng)
        self.flags = np.where(flagged, DEAD, 0).astype(np.int16) | blob_flags(old)
        # The flats of 2010 hold the blobs of that time, the D-flats of six filters nearly all known ones.
        divided = own.filter in DELTA_FILTERS if own.modern else None
        left = {True: (-0.1, 0.1), False: (1.0, 1.0), None: (0.2, 1.0)}[divided]  # chosen but for the 1
        self.blobs = transmission([replace(one, depth=one.depth * rng.uniform(*left)) for one in old])
        self.down, self.across = (np.gradient(self.blobs, axis=axis) for axis in (0, 1))
        self.pattern = 1 + own.fixed * rng.standard_normal((SIZE, SIZE), np.float32)
        self.pattern *= smooth(rng, 0.005) - 0.02 * np.clip((17 - EDGE) / 12, 0, 1)  # 2 % near the edges
        arc = np.abs(np.hypot(X - 850, np.indices((SIZE, SIZE))[0] - 195) - 150) < 1.5
        self.pattern[arc & (X > 930) & (X < 1019)] *= 0.97  # "wagon wheel"; depth chosen
        scratch = (np.abs(X - 885) < 1) & (np.indices((SIZE, SIZE))[0] > 350)
        self.pattern[scratch] *= 0.97
        self.bad = BadPixels(rng, self.days)

    def seen(self, rng) -> np.ndarray:
        """Return what the detector makes of even light; the mirror moves by 0.05 px (chosen)."""
        dx, dy = rng.normal(0, 0.05, 2).astype(np.float32)
        return (self.blobs - dx * self.across - dy * self.down) * self.pattern


def sigma_of(level: float, noise: float) -> float:
    """Return the noise per pixel of a background, electrons."""
    return noise * float(np.sqrt(level + READ_NOISE**2))


def earth(rng, own: Conditions, level: float) -> np.ndarray:
    """Return the even light of the dark Earth, about ``level``, with limb light and He I where they are."""
    light = smooth(rng, 0.06)
    if own.filter in GLOW_FILTERS:  # chosen: up to as much as the rest
        light = (light + rng.uniform(0, 1.0) * smooth(rng, 0.1)) / 1.5
    if rng.uniform() < own.scattered:
        strength = min(
            rng.uniform(0.2, 1.0), 55_000 / level - 1.0
        )  # chosen: the ramp is kept below full well
        light = light + max(strength, 0.0) * np.clip(1 - X / 200, 0, 1) ** 1.5
    return (level * light).astype(np.float32)


def make_frame(rng, detector: Detector, day: float) -> Frame:
    """Return a good exposure of a day, before it is read out."""
    own = detector.conditions
    nsamp = int(rng.choice(own.nsamps))
    factor = np.exp(rng.uniform(*np.log((0.3, 3.0)))) if own.restless else own.level * rng.uniform(0.85, 1.15)
    level = LEVEL * factor
    sigma = sigma_of(level, own.noise)
    light = earth(rng, own, level)
    if rng.uniform() < 0.4:
        light += 0.6 * 1.3 * sigma * faint_streaks(rng)  # 0.6 of the sigma of a difference
    if rng.uniform() < 0.4:
        light += 1.3 * sigma * triplets(rng, int(rng.integers(1, 4)))
    light *= detector.seen(rng)
    light[detector.dead] *= 0.01
    flags, sky = detector.flags.copy(), light.copy()
    detector.bad.apply(rng, light, flags, day)
    return Frame(light, sky, flags, time_of(nsamp), sigma, nsamp, flat_cards(own))


def flat_cards(own: Conditions) -> dict:
    """Return the keywords of the season's filter and flats."""
    delta = own.modern and own.filter in DELTA_FILTERS
    return {
        "FILTER": own.filter,
        "PFLTFILE": "iref$4ac1921ii_pfl.fits" if own.modern else "iref$u4m1335mi_pfl.fits",
        "DFLTFILE": "iref$52c1948ri_dfl.fits" if delta else "N/A",
        "CAL_VER": "3.6.2(May-27-2021)" if own.modern else "3.3(28-Jan-2016)",
        "DATE": "2021-06-01" if own.modern else "2016-10-30",
    }


def read_out(rng, frame: Frame, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return electrons and flags: noise, stripes and cosmic rays are added, full wells are clipped."""
    shape = frame.light.shape
    full = frame.light + DARK * frame.seconds >= FULL_WELL
    light = np.clip(frame.light, 0, FULL_WELL)
    spread = np.sqrt(light + DARK * frame.seconds + READ_NOISE**2) * noise
    electrons = light + spread * rng.standard_normal(shape, np.float32) + frame.offset
    for axis in ((SIZE, 1), (1, SIZE)):
        electrons += frame.sigma * rng.uniform(0.03, 0.05) * rng.standard_normal(axis, np.float32)
    hits, struck = cosmic_rays(rng, frame.seconds)
    # Without full wells' noise a saturated pixel would be constant; 1 % is chosen.
    electrons[full] = FULL_WELL * (1 + 0.01 * rng.standard_normal(int(full.sum()), np.float32))
    return electrons + hits, frame.flags | struck | np.where(full, SATURATED, 0).astype(np.int16)


def inner(plane: np.ndarray) -> np.ndarray:
    """Return the part of a plane inside the reference pixels."""
    return plane[BORDER:-BORDER, BORDER:-BORDER]


def days_of(rng, count: int) -> np.ndarray:
    """Return when exposures are taken, days: about every third day, with bursts and gaps (chosen shares)."""
    gaps = rng.choice([0.07, 3.0, 8.0, 20.0], count, p=[0.12, 0.76, 0.1, 0.02])
    return np.cumsum(gaps * rng.uniform(0.7, 1.2, count))
