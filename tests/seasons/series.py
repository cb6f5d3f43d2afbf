"""Seasons as folders of files: good exposures, and bad ones among them that have a history."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from seasons.faults import FAULTS
from seasons.fitsfiles import primary_header, ramp, write_flt, write_raw
from seasons.sky import Conditions, Detector, Frame, days_of, make_frame, read_out

FIRST_DAY, HISTORY, WINDOW = 58_300.0, 3, 28.0  # MJD; good exposures before a bad one, within days


@dataclass(frozen=True)
class Taken:
    """One exposure of a season: its rootname, file, start (MJD), and fault (empty if it is good)."""

    rootname: str
    path: Path
    expstart: float
    fault: str


def plan(rng, days: np.ndarray, good: int, faults: list[str]) -> list[str]:
    """Return the fault of each exposure in the order of time; none before three good ones in 28 days."""
    kinds, waiting = [], list(faults)
    for number, day in enumerate(days):
        recent = sum(not kind and day - days[n] <= WINDOW for n, kind in enumerate(kinds))
        left = len(days) - number
        due = rng.uniform() < 1.4 * len(waiting) / left or kinds.count("") == good
        kinds.append(waiting.pop() if waiting and due and recent >= HISTORY else "")
    return kinds


def write_season(folder: Path, own: Conditions, faults: list[str]) -> list[Taken]:
    """Write a season of ``own.exposures`` good exposures and those faults that find a place among them.

    Each exposure has a random stream of its own, so that a fault changes nothing in the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([43, own.seed])
    days = days_of(rng, own.exposures + len(faults))
    kinds = plan(rng, days, own.exposures, faults)
    detector = Detector(own, float(days[-1]))
    programme = "i" + "".join(rng.choice(list("bcdefg"), 3))
    taken = []
    for number, (day, kind) in enumerate(zip(days, kinds, strict=True)):
        stream = np.random.default_rng([44, own.seed, number])
        frame = make_frame(stream, detector, float(day))
        if kind:
            FAULTS[kind](stream, frame)
        rootname = f"{programme}{number // 36:02d}{number % 36:02d}q"
        expstart = round(FIRST_DAY + float(day), 8)
        path = write_frame(stream, folder, frame, own, rootname, expstart)
        taken.append(Taken(rootname, path, expstart, kind))
    return taken


def write_frame(rng, folder: Path, frame: Frame, own: Conditions, rootname: str, expstart: float) -> Path:
    """Read a frame out and write it; as a raw without its oldest reads if some were lost."""
    header = primary_header(rootname, expstart, frame.seconds, frame.nsamp, frame.cards)
    if frame.lost:
        kept = frame.nsamp - frame.lost
        header["FLATCORR"] = "PERFORM"
        light = np.clip(frame.light, 0, None)
        electrons = light + np.sqrt(light) * rng.standard_normal(light.shape, np.float32)
        reads, times = ramp(rng, electrons, *2 * [np.zeros_like(electrons)], kept)
        return write_raw(folder, header, reads, times)
    return write_flt(folder, header, *read_out(rng, frame, own.noise))


def deal_faults(rng, counts: list[int]) -> list[list[str]]:
    """Return kinds of faults for seasons that take so many each: all kinds equally often overall."""
    names = list(FAULTS)
    deck = [str(kind) for _ in range(-(-sum(counts) // len(names))) for kind in rng.permutation(names)]
    ends = np.cumsum(counts)
    return [deck[end - count : end] for count, end in zip(counts, ends, strict=True)]
