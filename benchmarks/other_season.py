"""Measure ``blobwatch monitor`` on seasons that share only blob shapes with the simulator.

Run ``python benchmarks/other_season.py [SEED...]`` (default: 1 2 3). A season is 60 ``flt`` files of real
size. Flat, glow, noise, contaminants and bad pixels have their own code here, based on measured values.
Comments mark values that are chosen because no measurement exists. 10-14 blobs of SNR 12-40 appear. The
exit status is 0 if each blob is confirmed within three exposures, with both dates of its onset correct and
a position error below 2 px, and no other blob is confirmed.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch.instrument.blobs import depth_at_snr, draw_blob, draw_old_blobs, radius_at, transmission
from blobwatch.instrument.exposures import write_flt
from blobwatch.progress import track

SIZE, NOISE = 1024, 0.01  # noise of a difference, fraction of the background
TIMES = {10: 802.935, 13: 1102.935669}  # SPARS100: NSAMP -> seconds
SPARED = 8, 4  # first and last exposures in which no blob appears
REACH, WITHIN, ERROR = 6.0, 3, 2.0  # px of a match; exposures until confirmed; px of position error
HEAD = f"""\
| season | new blobs | confirmed within {WITHIN} | first date right | bracket right | worst error, px \
| median error, px | false confirmed | candidates left | unfit | s/exposure |\n{"| --- " * 11}|"""
CARDS = """FILETYPE=SCI TELESCOP=HST INSTRUME=WFC3 IMAGETYP=EXT PRIMESI=WFC3 TARGNAME=DARK-EARTH-CALIB
FGSLOCK=GYROS GYROMODE=T REFFRAME=ICRS EXPFLAG=NORMAL OBSTYPE=IMAGING OBSMODE=MULTIACCUM SCLAMP=NONE
SUBTYPE=FULLIMAG DETECTOR=IR FILTER=F153M SAMP_SEQ=SPARS100 APERTURE=IR DIRIMAGE=NONE SCAN_TYP=N CSMID=IR
DQICORR=COMPLETE DARKCORR=COMPLETE FLATCORR=COMPLETE CRCORR=COMPLETE UNITCORR=COMPLETE PATTERN1=NONE"""
Y, X = np.indices((SIZE, SIZE))
U, V, EDGE = X / 512 - 1, Y / 512 - 1, np.minimum.reduce([X, Y, SIZE - 1 - X, SIZE - 1 - Y])


@dataclass(frozen=True)
class NewBlob:
    """A new blob: position, SNR, the first exposure that contains it, and the one before."""

    x: float
    y: float
    snr: float
    first: int
    rootname: str
    expstart: float
    rootname_before: str
    expstart_before: float


@dataclass(frozen=True)
class Truth:
    """The true content of a season; exposures in the order of time."""

    blobs: list[NewBlob]
    rootnames: list[str]
    expstarts: list[float]


class Detector:
    """Permanent features: flat, dead areas, old blobs, and a growing number of bad pixels."""

    def __init__(self, rng, exposures):
        self.lifeless, self.masked = draw_dead_areas(rng)
        self.flat = rng.normal(1.0, 0.001, (SIZE, SIZE)) - 0.003 * np.clip(13 - EDGE, 0, 8)
        for _ in range(12):  # chosen: residuals of flat-fielding
            kx, ky, phase = *rng.uniform(-0.12, 0.12, 2), rng.uniform(0, 2 * np.pi)
            self.flat += 0.0004 * np.sin(kx * X + ky * Y + phase)
        scratch = (np.abs(X - 880 - (Y - 350) / 58) < 1) & ((Y > 350) & (Y < 500) | (Y > 600) & (Y < 930))
        self.flat[scratch] *= 0.96
        self.old, self.flags = draw_old_blobs(rng), np.where(self.masked, 4, 0)
        for blob in self.old:
            self.flags[np.hypot(X - blob.x, Y - blob.y) < radius_at(blob.x, blob.y)] |= 512
        # Single pixels or clusters of two and three; with the dead areas, 0.9 to 1.1 % of the pixels.
        n = int(0.008 * SIZE**2 / 1.45)
        base, count = rng.integers(5, SIZE - 6, (2, n)), rng.choice([1, 2, 3], n, p=[0.7, 0.15, 0.15])
        since = np.where(rng.uniform(size=n) < 0.75, -99, rng.uniform(0, exposures, n))
        # Chosen: nine of ten are finally flagged, new ones 3-20 exposures late, and few of these are dead.
        known = np.where(rng.uniform(size=n) < 0.9, since + rng.uniform(3, 20, n), np.inf)
        past, recent = (rng.choice([4, 16, 32, 64], n, p=[p, 0.5 - p, 0.2, 0.3]) for p in (0.15, 0.06))
        kind = np.where(since < 0, past, recent)
        value = np.where(kind == 64, 0.02 + rng.exponential(0.03, n), 0.04 + rng.exponential(0.15, n))
        value = np.where(kind == 4, -rng.uniform(0.2, 1.0, n), value)
        owner, corner = np.repeat(np.arange(n), count), np.concatenate([np.arange(size) for size in count])
        self.place = tuple(base[:, owner] + np.array([[0, 0, 1], [0, 1, 0]])[:, corner])
        self.since, self.known, self.kind, self.value = (v[owner] for v in (since, known, kind, value))

    def bad_pixels(self, rng, number):
        """Return excess light (fractions of the background) and flags of exposure ``number``."""
        flicker = 0.08 * rng.standard_normal(len(self.value)) * (rng.uniform(size=len(self.value)) < 0.4)
        value = np.where(self.kind == 32, flicker, self.value) * (self.since <= number)
        excess, flags = np.zeros((SIZE, SIZE)), self.flags.copy()
        np.add.at(excess, self.place, value)
        np.bitwise_or.at(flags, self.place, np.where(self.known <= number, self.kind, 0))
        return excess, flags


def draw_dead_areas(rng):
    """Return the pixels without signal, and those that are flagged as dead."""
    star = np.hypot(X - 361.8, Y - 59.1)
    lifeless = (Y > 1010) & (X > 400) & (X < 560)
    lifeless |= (X + SIZE - 1 - Y < 25) | (2 * SIZE - 2 - X - Y < 22)
    lifeless |= ((X - 975) / 44 + (120 - Y) / 115 > 1) & (Y < 120) & (rng.uniform(size=X.shape) < 0.4)
    masked = lifeless | (star < 25)
    for where, count in ((np.abs(star - 21.4) < 0.7, 103), (star < 20, 46)):
        lifeless.flat[rng.choice(np.flatnonzero(where), count, replace=False)] = True
    return lifeless, masked


def add_line(frame, x, y, angle, value):
    """Add a line 2-3 px wide, with one ``y`` and ``value`` per integer ``x``."""
    rows = np.rint(y).astype(int) + np.arange(-4, 5)[:, None]
    inside = (rows >= 0) & (rows < SIZE) & (x < SIZE)
    light = value * np.exp2(-(np.abs((rows - y) * np.cos(angle) / 1.25) ** 3))
    np.add.at(frame, (np.where(inside, rows, 0), np.where(inside, x, 0)), np.where(inside, light, 0.0))


def draw_triplets(rng):
    """Return the excess light of triplets, often in pairs; half of the exposures have none."""
    frame = np.zeros((SIZE, SIZE))
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.5, 0.2, 0.2, 0.1])):
        x, y = np.arange(round(rng.uniform(150, 280))) + rng.integers(0, 800), rng.uniform(20, 1000)
        gap, angle, depth = rng.uniform(8.5, 9), np.radians(rng.uniform(0.5, 0.9)), rng.uniform(0.8, 1.3)
        for start in (y, y + rng.uniform(81, 83))[: rng.integers(1, 3)]:
            for row, weight in ((-gap, 1.0), (0.0, 0.85), (gap, 1.0)):
                add_line(frame, x, start + row + np.tan(angle) * (x - x[0]), angle, NOISE * depth * weight)
    return frame


def draw_streaks(rng):
    """Return the excess light of broken parallel lines, one direction per frame."""
    frame, angle, x = np.zeros((SIZE, SIZE)), np.radians(rng.uniform(-45, 45)), np.arange(SIZE)
    turned = frame.T if rng.uniform() < 0.5 else frame
    for start in rng.uniform(-600, 1600, rng.integers(16, 30)):  # at least half of them cross the frame
        lengths = np.stack([rng.uniform(40, 200, 30), rng.uniform(20, 150, 30)], axis=1).ravel()
        on = np.searchsorted(np.cumsum(lengths), x / np.cos(angle) + rng.uniform(0, 300)) % 2 == 0
        add_line(turned, x, start + np.tan(angle) * x, angle, NOISE * rng.uniform(0.5, 0.7) * on)
    return frame


def draw_glow(rng):
    """Return the light of the Earth: tilted and curved (chosen), sometimes with the limb."""
    a, b, c, d, e = rng.uniform(-1, 1, 5) * (0.08, 0.08, 0.05, 0.05, 0.05)
    limb = (rng.uniform() < 0.12) * rng.uniform(0.2, 1.0) * np.clip(1 - X / 200, 0, 1) ** 2
    return 1 + a * U + b * V + c * (U**2 - 1 / 3) + d * U * V + e * (V**2 - 1 / 3) + limb


def draw_cosmic_rays(rng, seconds):
    """Return electrons and flags of the hits; 6 % are unflagged (chosen to match the tail)."""
    hits = rng.poisson(rng.normal(11.0, 1.5) * seconds)
    frame, flags = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE), dtype=int)
    (y, x), (dy, dx) = rng.integers(0, SIZE, (2, hits)), rng.integers(-1, 2, (2, hits))
    energy, missed = rng.lognormal(np.log(800), 0.8, hits), rng.random(hits) < 0.06
    length = rng.choice(4, hits, p=[0.45, 0.35, 0.15, 0.05])
    for step in range(4):
        on = length >= step
        place = np.clip(y + step * dy, 0, SIZE - 1)[on], np.clip(x + step * dx, 0, SIZE - 1)[on]
        np.add.at(frame, place, energy[on])
        np.bitwise_or.at(flags, place, np.where(missed[on], 0, 8192))
    return frame, flags


def make_planes(rng, detector, number, new, persistent, nsamp):
    """Return the planes of one exposure; ``new`` are the new blobs in it."""
    shift = rng.normal(0, 0.08, 2)  # of the mirror; a few per cent of an old blob remain in a difference
    seen = [replace(blob, x=blob.x + shift[0], y=blob.y + shift[1]) for blob in (*detector.old, *new)]
    light = draw_glow(rng) * (1 + persistent + (draw_streaks(rng) if rng.uniform() < 0.4 else 0.0))
    excess, flags = detector.bad_pixels(rng, number)
    light = np.clip(light * transmission(seen) * detector.flat + excess, 0.0, None)
    electrons = rng.uniform(14000, 18000) * np.where(detector.lifeless, 0.01, light)
    heavy = rng.standard_t(4, X.shape) / np.sqrt(2) if number % 2 else rng.standard_normal(X.shape)
    seconds = TIMES[nsamp]
    hits, struck = draw_cosmic_rays(rng, seconds)
    stripes = 0.0003 * (rng.standard_normal(SIZE) + rng.standard_normal((SIZE, 1)))
    counts = rng.poisson(electrons) + electrons * stripes + rng.uniform(20, 21) * heavy + hits
    error, samples = np.sqrt(electrons + 20.5**2), np.full(X.shape, nsamp - 1)
    planes = {"SCI": counts / seconds, "ERR": error / seconds, "DQ": flags | struck, "SAMP": samples}
    planes["TIME"] = np.full(X.shape, seconds)
    return {name: plane[5:-5, 5:-5] for name, plane in planes.items()}


def make_header(rootname, expstart, nsamp):
    """Return the primary header in the format of a real one."""
    begin, seconds = datetime(1858, 11, 17) + timedelta(days=expstart), TIMES[nsamp]
    cards = dict(word.split("=") for word in CARDS.split())
    cards |= {"ROOTNAME": rootname, "FILENAME": f"{rootname}_flt.fits", "SUBARRAY": False, "PROPOSID": 14392}
    cards |= {"DATE-OBS": f"{begin:%Y-%m-%d}", "TIME-OBS": f"{begin:%H:%M:%S}", "EXPTIME": seconds}
    cards |= {"EXPSTART": expstart, "EXPEND": expstart + seconds / 86400, "SAMPZERO": 2.911756}
    header = fits.Header()
    header.update(cards | {"EQUINOX": 2000.0, "NSAMP": nsamp, "NRPTEXP": 1, "CCDGAIN": 2.5})
    return header


def draw_new_blobs(rng, detector, exposures):
    """Return the new blobs and their first exposures; the first blob is a ring, two coincide."""
    blobs, blocked, count = [], detector.masked | (EDGE < 5), rng.integers(10, 15)
    while len(blobs) < count:
        x, y = rng.uniform(30, 994 if blobs else 480), rng.uniform(30, 994 if blobs else 660)
        blob, snr = draw_blob(rng, x, y, NOISE), np.exp(rng.uniform(np.log(12), np.log(40)))
        free = not blocked[int(y) - 25 : int(y) + 27, int(x) - 25 : int(x) + 27].any()
        free &= all(np.hypot(x - old.x, y - old.y) > 20 for old in detector.old)
        free &= all(np.hypot(x - one.x, y - one.y) > 30 for one in blobs)
        if free and (blobs or blob.hole):
            blobs.append(replace(blob, depth=depth_at_snr(blob, snr, NOISE)))
    first = rng.integers(SPARED[0], exposures - SPARED[1], count)
    first[-1] = first[-2]
    return blobs, first.tolist()


def write_season(folder: Path, seed: int, exposures: int = 60) -> Truth:
    """Write a season of ``flt`` files and return its true content."""
    rng = np.random.default_rng([7, seed])
    detector = Detector(rng, exposures)
    blobs, first = draw_new_blobs(rng, detector, exposures)
    gaps = rng.choice([0.15, 3.0, 6.0], exposures, p=[0.12, 0.78, 0.1]) * rng.uniform(0.7, 1.1, exposures)
    times = np.round(57400.0 + rng.uniform() + np.cumsum(gaps), 8).tolist()
    # The names of visits are not in the order of time.
    start, visits = "i" + "".join(rng.choice(list("abcdefgh"), 3)), rng.permutation(exposures)
    names = [f"{start}{n // 10:02d}{'abcdefghij'[n % 10]}0q" for n in visits]
    persistent = np.zeros((SIZE, SIZE))
    for n in track(range(exposures), exposures, f"season {seed}"):
        left = rng.uniform(0.3, 0.6) * (rng.uniform() < 0.5)  # chosen: rest of the previous triplets
        persistent = left * np.where(persistent > NOISE / 5, persistent, 0.0) + draw_triplets(rng)
        seen, nsamp = [b for b, f in zip(blobs, first, strict=True) if f <= n], int(rng.choice(list(TIMES)))
        planes = make_planes(rng, detector, n, seen, persistent, nsamp)
        write_flt(folder / f"{names[n]}_flt.fits", make_header(names[n], times[n], nsamp), planes)
    known = [
        NewBlob(
            b.x, b.y, b.depth / depth_at_snr(b, 1, NOISE), n, names[n], times[n], names[n - 1], times[n - 1]
        )
        for b, n in zip(blobs, first, strict=True)
    ]
    return Truth(known, names, times)


def run_blobwatch(*arguments):
    """Run a command and return its output; status 1 means that some exposures are unusable."""
    command = [sys.executable, "-m", "blobwatch.cli", *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode > 1:
        done.check_returncode()
    return done.stdout


def compare_with_truth(truth, lines, found):
    """Return the table cells of a season, and whether every target is met."""
    when = {name: n for n, name in enumerate(truth.rootnames)}
    at = {key: when[line["rootname"]] for line in lines for key in line["confirmed"]}
    confirmed = {one["id"]: one for one in found if one["status"] == "confirmed"}
    right, errors = np.zeros(3, dtype=int), []
    for blob in truth.blobs:
        near = [(float(np.hypot(b["x"] - blob.x, b["y"] - blob.y)), key) for key, b in confirmed.items()]
        error, key = min(near, default=(np.inf, None))
        if error <= REACH:
            one = confirmed.pop(key)
            errors.append(error)
            dates = (
                one["first_rootname"] == blob.rootname,
                one.get("last_without_rootname") == blob.rootname_before,
            )
            right += (0 <= at.get(key, np.inf) - blob.first < WITHIN, *dates)
    worst, middle = (float(f(errors)) if errors else np.nan for f in (max, np.median))
    good = (right == len(truth.blobs)).all() and worst <= ERROR and not confirmed
    waiting = sum(one["status"] == "candidate" for one in found)
    unfit = sum(line["outcome"] == "unfit" for line in lines)
    row = len(truth.blobs), *right, f"{worst:.2f}", f"{middle:.2f}", len(confirmed), waiting, unfit
    return row, good


def main(seeds):
    """Measure a season for each seed; return the exit status."""
    rows, status = [HEAD], 0
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            exposures, ledger = Path(folder) / "season", f"sqlite:///{folder}/ledger.db"
            exposures.mkdir()
            truth = write_season(exposures, seed)
            start = time.perf_counter()
            lines = run_blobwatch("monitor", exposures, "--ledger", ledger).splitlines()
            seconds = (time.perf_counter() - start) / len(truth.rootnames)
            found = json.loads(run_blobwatch("blobs", "--ledger", ledger))
        cells, good = compare_with_truth(truth, [json.loads(line) for line in lines], found)
        rows.append("| " + " | ".join(map(str, (seed, *cells, f"{seconds:.2f}"))) + " |")
        status |= not good
    print("\n".join(rows))
    return int(status)


if __name__ == "__main__":
    sys.exit(main([int(seed) for seed in sys.argv[1:]] or [1, 2, 3]))
