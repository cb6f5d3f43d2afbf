"""Detector and blobs for the independent seasons, written from the measured figures alone.

It shares no code with the simulator of the package. A figure without the word "chosen" is a documented or
measured one (docs/detector.md, docs/simulator.md); a chosen one has no measurement behind it.
"""

from dataclasses import dataclass

import numpy as np

SIZE, BORDER = 1024, 5
READ_NOISE, DARK, FULL_WELL = 20.5, 0.048, 77_900.0  # electrons, electrons/s, electrons
Y, X = np.indices((SIZE, SIZE), dtype=np.float32)
U, V = X / 512 - 1, Y / 512 - 1
EDGE = np.minimum.reduce([X, Y, SIZE - 1 - X, SIZE - 1 - Y])
HOT, UNSTABLE, WARM, DEAD, BLOB, COSMIC_RAY, SATURATED, LOST = 16, 32, 64, 4, 512, 8192, 256, 3


def time_of(nsamp: int) -> float:
    """Return the exposure time of a SPARS100 ramp, seconds: 202.9 for 4 reads, 802.9 for 10."""
    return 2.935 + 100.0 * (nsamp - 2)


def size_at(x: float, y: float) -> float:
    """Return the half-width of a blob at a position, pixels."""
    return 6.6 - 2.3 * (x / 512 - 1) - 2.2 * (y / 512 - 1)


@dataclass(frozen=True)
class Dimple:
    """A blob: centre, half-width, central depth, shape exponents, axis ratio and hole."""

    x: float
    y: float
    width: float
    depth: float
    diamond: float
    flatness: float
    ratio: float
    hole: float

    def stamp(self) -> tuple[tuple[slice, slice], np.ndarray]:
        """Return the part of the frame around the blob, and the unit profile there."""
        reach = int(3 * self.width) + 6
        rows = slice(max(int(self.y) - reach, 0), min(int(self.y) + reach + 1, SIZE))
        columns = slice(max(int(self.x) - reach, 0), min(int(self.x) + reach + 1, SIZE))
        total = 0.0
        for dx, dy in ((-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25)):
            across = np.abs(X[rows, columns] + dx - self.x) / self.width
            down = np.abs(Y[rows, columns] + dy - self.y) / (self.width * self.ratio)
            rho = (across**self.diamond + down**self.diamond) ** (1 / self.diamond)
            profile = np.exp(-np.log(2) * np.minimum(rho, 5.0) ** self.flatness)
            total = total + profile * (1 - 0.5 * (self.hole > 0) * ring_hole(rho, self.hole)) / 4
        return (rows, columns), total

    def norm(self) -> float:
        """Return the root of the sum of squares of the unit profile."""
        return float(np.sqrt((self.stamp()[1] ** 2).sum()))


def ring_hole(rho: np.ndarray, radius: float) -> np.ndarray:
    """Return where a ring has its hole: an annulus around a central dot (a quarter of the hole, chosen)."""
    return (rho < radius) & (rho > radius / 4)


def draw_dimple(rng, x: float, y: float, depth: float) -> Dimple:
    """Return a blob of the measured shapes; rings only at the lower left, where it is wide."""
    width = max(size_at(x, y) + rng.normal(0, 0.9), 1.5)
    ring = x <= 480 and y <= 660 and width > 8 and rng.uniform() < 0.7
    diamond, flatness = (
        np.clip(rng.normal(1.25, 0.25), 0.73, 1.84),
        np.exp(rng.uniform(np.log(2), np.log(20))),
    )
    hole = rng.uniform(0.3, 0.5) if ring else 0.0
    return Dimple(x, y, width, depth, diamond, flatness, rng.normal(1.08, 0.05), hole)


def draw_old(rng, count: int = 100) -> list[Dimple]:
    """Return old blobs: measured depths, positions anywhere (chosen)."""
    depths = np.interp(rng.uniform(size=count), [0, 0.05, 0.25, 0.5, 0.75, 0.8, 1.0],
                       [0.008, 0.012, 0.016, 0.023, 0.042, 0.047, 0.15])  # fmt: skip
    return [draw_dimple(rng, *rng.uniform(12, SIZE - 12, 2), float(depth)) for depth in depths]


def transmission(blobs: list[Dimple]) -> np.ndarray:
    """Return the share of the light that blobs let through, shape (1024, 1024), float32."""
    frame = np.ones((SIZE, SIZE), dtype=np.float32)
    for blob in blobs:
        where, profile = blob.stamp()
        frame[where] *= 1 - blob.depth * profile
    return frame


def blob_flags(blobs: list[Dimple]) -> np.ndarray:
    """Return the flags of catalogued blobs: discs of the measured mask radius."""
    flags = np.zeros((SIZE, SIZE), dtype=np.int16)
    for blob in blobs:
        radius = 8.41 - 2.06 * (blob.x / 512 - 1) - 1.98 * (blob.y / 512 - 1)
        flags[np.hypot(X - blob.x, Y - blob.y) < radius] = BLOB
    return flags


def dead_areas(rng) -> tuple[np.ndarray, np.ndarray]:
    """Return where the detector gives no signal, and where it is flagged for that."""
    star = np.hypot(X - 361.8, Y - 59.1)
    dead = (Y > 1010) & (X > 400) & (X < 560)
    dead |= (X + SIZE - 1 - Y < 22) | (2 * SIZE - 2 - X - Y < 22)
    dead |= (X > 975) & (Y < 120) & (X - 975 > 0.4 * Y) & (rng.uniform(size=X.shape) < 0.4)
    flagged = dead | (star < 25)
    for where, count in ((np.abs(star - 21.4) < 0.7, 103), (star < 20, 46)):
        dead.flat[rng.choice(np.flatnonzero(where), count, replace=False)] = True
    return dead, flagged


def smooth(rng, amplitude: float) -> np.ndarray:
    """Return a smooth field around 1: tilts and curvatures of an amplitude (chosen)."""
    a, b, c, d, e = rng.uniform(-1, 1, 5).astype(np.float32) * np.float32(amplitude)
    return 1 + a * U + b * V + c * (U**2 - 1 / 3) + d * U * V + e * (V**2 - 1 / 3)


class BadPixels:
    """Bad pixels, 0.7 % of all at the start and 1.45 % at the end, alone and in small clusters."""

    def __init__(self, rng, days: float):
        n = int(0.0145 * SIZE**2 / 1.3)
        base, count = rng.integers(6, SIZE - 8, (2, n)), rng.choice([1, 2, 3], n, p=[0.75, 0.2, 0.05])
        owner = np.repeat(np.arange(n), count)
        step = np.concatenate([np.arange(size) for size in count])
        self.place = tuple(base[:, owner] + np.array([[0, 0, 1], [0, 1, 0]])[:, step])
        rate = max(days, 240.0)  # chosen: the growth takes at least eight months
        since = np.where(rng.uniform(size=n) < 0.5, -99.0, rng.uniform(0, rate, n))
        # Chosen: 95 % are flagged, those that appear in the season 5-40 days late.
        flagged = np.where(rng.uniform(size=n) < 0.95, since + rng.uniform(5, 40, n), np.inf)
        kind = rng.choice([DEAD, HOT, UNSTABLE, WARM], n, p=[0.15, 0.3, 0.2, 0.35])
        kind = np.where((kind == DEAD) & (since >= 0), WARM, kind)
        charge = np.where(kind == WARM, 30 + rng.exponential(150, n), 300 + rng.exponential(3000, n))
        self.since, self.flagged, self.kind, self.charge = (v[owner] for v in (since, flagged, kind, charge))
        self.response = rng.uniform(0.0, 0.6, n)[owner]

    def apply(self, rng, light: np.ndarray, flags: np.ndarray, day: float) -> None:
        """Add the bad pixels of a day to expected electrons and flags, in place."""
        alive = self.since <= day
        place = self.place[0][alive], self.place[1][alive]
        kind = self.kind[alive]
        charge = np.where(kind == UNSTABLE, 300 * rng.standard_normal(kind.size), self.charge[alive])
        light[place] = np.where(kind == DEAD, light[place] * self.response[alive], light[place] + charge)
        np.bitwise_or.at(flags, place, np.where(self.flagged[alive] <= day, kind, 0).astype(np.int16))
