"""Seasons whose flats change: the same exposures as ``flt`` and as ``raw``, and the flats they name.

The P-flat of 2010 holds 60 old blobs (an ``flt`` is corrected for them), that of 2020 does not; D-flats
divide out more and more of them by date. The sky, the old blobs and the new ones are the same in all.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from seasons.fitsfiles import primary_header, ramp, write_flat, write_flt, write_raw
from seasons.frame import (
    DEAD,
    HOT,
    READ_NOISE,
    SIZE,
    Dimple,
    blob_flags,
    dead_areas,
    draw_dimple,
    draw_old,
    smooth,
    time_of,
    transmission,
)
from seasons.lights import cosmic_rays

COUNT, OLD, SNR, SIGMA = 16, 60, 25.0, 0.01  # exposures; old blobs; of new ones; noise of a difference
STEP, START, LEVEL, NSAMP = 1.8, 59_000.0, 16_000.0, 4  # days between exposures, MJD, electrons, reads
P2010, P2020 = "u4m1335mi_pfl.fits", "4ac1921ii_pfl.fits"
DELTAS = ("52c1948ri_dfl.fits", "52c1949ri_dfl.fits", "52c1950ri_dfl.fits")  # names of the usual form
ONSETS = (4, 5, 9, 12, 14)  # that at 9 is within a stack that starts anew at 8


@dataclass(frozen=True)
class New:
    """A new blob, and the number of the first exposure that shows it."""

    blob: Dimple
    onset: int


@dataclass(frozen=True)
class Applied:
    """The flats by which one exposure is divided: names of the P-flat and of the D-flat (or empty)."""

    pflat: str
    dflat: str = ""


@dataclass(frozen=True)
class Scenario:
    """How the flats of a season change.

    Attributes
    ----------
    filter : str
    applied : callable
        Returns the `Applied` flats of an exposure, by its number.
    onsets : tuple of int
        Those of the new blobs that can be found where stacks start anew with each flat.
    """

    filter: str
    applied: Callable[[int], Applied]
    onsets: tuple[int, ...]


SCENARIOS = {
    "2010 to 2020": Scenario("F153M", lambda n: Applied(P2010 if n < 8 else P2020), (4, 5, 12, 14)),
    "2020 to 2010": Scenario("F153M", lambda n: Applied(P2020 if n < 8 else P2010), (4, 5, 12, 14)),
    # Stacks start at 0, 6 and 11: the blob at 5 has one exposure, that at 12 is in the third stack.
    "D-flats by date": Scenario("F125W", lambda n: Applied(P2020, DELTAS[max(n - 1, 0) // 5]), (4, 9, 14)),
}


class Sky:
    """Exposures of one season as electrons, before any flat is applied."""

    def __init__(self, seed: int):
        self.seed, rng = seed, np.random.default_rng([51, seed])
        self.dead, self.masked = dead_areas(rng)
        self.old = [replace(one, depth=min(one.depth, 0.08)) for one in draw_old(rng, OLD)]
        self.old_light = transmission(self.old)
        self.flags = np.where(self.masked, DEAD, 0).astype(np.int16) | blob_flags(self.old)
        self.new = [New(blob, onset) for blob, onset in zip(self.draw_new(rng), ONSETS, strict=True)]
        # Chosen: 1 % from pixel to pixel and a few per cent of low order.
        self.response = (1 + 0.01 * rng.standard_normal((SIZE, SIZE), np.float32)) * smooth(rng, 0.03)
        self.bias = rng.normal(0, 25, (SIZE, SIZE)).astype(np.float32)  # DN
        self.hot = tuple(rng.integers(6, SIZE - 6, (2, 4000)))
        self.charge = 300 + rng.exponential(2000, 4000)

    def draw_new(self, rng) -> list[Dimple]:
        """Return new blobs apart from old ones, from dead areas, and from one another."""
        blobs: list[Dimple] = []
        while len(blobs) < len(ONSETS):
            x, y = rng.uniform(60, SIZE - 60, 2)
            free = not self.masked[int(y) - 30 : int(y) + 30, int(x) - 30 : int(x) + 30].any()
            if free and all(np.hypot(x - one.x, y - one.y) > 40 for one in (*self.old, *blobs)):
                blob = draw_dimple(rng, x, y, 1.0)
                blobs.append(replace(blob, depth=SNR * SIGMA / blob.norm()))
        return blobs

    def flats(self) -> dict[str, np.ndarray]:
        """Return the flats by file name; 2010 and 2020 differ by 0.3 % (documented: up to 0.5 %)."""
        rng = np.random.default_rng([52, self.seed])
        flats = {P2010: self.response * self.old_light, P2020: self.response * smooth(rng, 0.003)}
        for number, name in enumerate(DELTAS, start=1):
            flats[name] = transmission(self.old[: number * OLD // len(DELTAS)])
        return flats

    def electrons(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what exposure ``number`` collects of light and of cosmic rays, and its flags."""
        rng = np.random.default_rng([53, self.seed, number])
        new = transmission([one.blob for one in self.new if one.onset <= number])
        light = LEVEL * rng.uniform(0.9, 1.1) * smooth(rng, 0.05) * self.old_light * new * self.response
        light[self.dead] *= 0.01
        light[self.hot] += self.charge
        collected = light + np.sqrt(light) * rng.standard_normal(light.shape, np.float32)
        hits, struck = cosmic_rays(rng, time_of(NSAMP))
        flags = self.flags | struck
        flags[self.hot] |= HOT
        return collected, hits, flags


def header_of(number: int, scenario: Scenario, cards: dict):
    """Return the primary header of exposure ``number``."""
    rootname = f"ifla{number:02d}01q"
    return primary_header(
        rootname, START + STEP * number, time_of(NSAMP), NSAMP, {"FILTER": scenario.filter, **cards}
    )


def write_flats(folder: Path, sky: Sky) -> Path:
    """Write all reference files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, flat in sky.flats().items():
        write_flat(folder, name, flat)
    return folder


def write_flts(folder: Path, sky: Sky, scenario: Scenario) -> Path:
    """Write the season as calibrated exposures; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    flats = sky.flats()
    for number in range(COUNT):
        rng = np.random.default_rng([54, sky.seed, number])
        electrons, hits, flags = sky.electrons(number)
        electrons = electrons + hits + READ_NOISE * rng.standard_normal(electrons.shape, np.float32)
        applied, cards = scenario.applied(number), {"DFLTFILE": "N/A"}
        cards["PFLTFILE"] = f"iref${applied.pflat}"
        electrons = electrons / flats[applied.pflat]
        if applied.dflat:
            cards["DFLTFILE"] = f"iref${applied.dflat}"
            electrons = electrons / flats[applied.dflat]
        old = applied.pflat == P2010
        cards |= {"CAL_VER": "3.3(28-Jan-2016)" if old else "3.6.2(May-27-2021)"}
        cards |= {"DATE": "2016-10-30" if old else "2021-06-01"}
        write_flt(folder, header_of(number, scenario, cards), electrons, flags)
    return folder


def write_raws(folder: Path, sky: Sky, scenario: Scenario) -> Path:
    """Write the same exposures as uncalibrated ramps; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    cards = {key: "PERFORM" for key in ("DQICORR", "DARKCORR", "FLATCORR", "CRCORR", "UNITCORR", "BLEVCORR")}
    for number in range(COUNT):
        rng = np.random.default_rng([55, sky.seed, number])
        applied = scenario.applied(number)
        named = {"PFLTFILE": f"iref${applied.pflat}"}
        named["DFLTFILE"] = f"iref${applied.dflat}" if applied.dflat else "N/A"
        reads, times = ramp(rng, *sky.electrons(number)[:2], sky.bias, NSAMP)
        write_raw(folder, header_of(number, scenario, cards | named), reads, times)
    return folder


def expected(sky: Sky, onsets: tuple[int, ...]) -> list[New]:
    """Return the new blobs of these onsets."""
    return [one for one in sky.new if one.onset in onsets]
