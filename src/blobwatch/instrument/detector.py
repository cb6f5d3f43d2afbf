"""The detector's own permanent features: what every exposure shows, old blobs aside.

Notes
-----
Positions and sizes of the features were measured for this project in real frames. The dimming of the
wagon wheel (10-20 %), of the scratch (1-2 %), and the patchy clusters of dead pixels were measured in
the public G141 master sky.
"""

from dataclasses import dataclass

import numpy as np

from blobwatch.instrument import wfc3ir

DEATH_STAR = (361.8, 59.1, 21.4)  # x, y, radius: a ring of dead pixels about 1 px wide
DEATH_STAR_MASK = 25.0  # masked out to this radius
DEATH_STAR_INSIDE = 46  # further dead pixels inside


@dataclass(frozen=True)
class Detector:
    """The permanent state of the detector.

    Attributes
    ----------
    sensitivity : ndarray, shape (1024, 1024), float64
        What is left of the flat field, wagon wheel and scratch in it; mean about 1.
    dead : ndarray, shape (1024, 1024), bool
        Death star and dead zones; they give no signal.
    bad_since : ndarray, shape (1024, 1024), float32, days after the season's start
        When a pixel turned bad: 0 or less before the season, infinite never.
    bad_kind : ndarray, shape (1024, 1024), int16
        The data-quality bit the pixel will get: dead 4, hot 16, unstable 32.
    bad_level : ndarray, shape (1024, 1024), float32
        Its signal: a factor of the background for dead pixels, an excess in backgrounds for the others.
    """

    sensitivity: np.ndarray
    dead: np.ndarray
    bad_since: np.ndarray
    bad_kind: np.ndarray
    bad_level: np.ndarray


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel coordinates ``y`` (1024, 1) and ``x`` (1, 1024) as floats."""
    axis = np.arange(wfc3ir.SIZE, dtype=float)
    return axis[:, None], axis[None, :]


def build_detector(
    rng: np.random.Generator, days: float, bad_start: float, bad_end: float, stripe_noise: float
) -> Detector:
    """Draw a detector whose bad pixels grow from ``bad_start`` to ``bad_end`` of all over ``days``.

    Parameters
    ----------
    rng : Generator
    days : float
        Length of the season.
    bad_start, bad_end : float
        Fractions of the pixels that are bad at its two ends.
    stripe_noise : float
        Rms of the fixed column stripes, fraction of the background.
    """
    dead = death_star(rng) | dead_zones(rng)
    since, kind, level = bad_pixels(rng, days, bad_start, bad_end)
    sensitivity = flat_field(rng, stripe_noise) * (1.0 - wagon_wheel()) * (1.0 - scratch(rng))
    return Detector(sensitivity, dead, since, kind, level)


def flat_field(rng: np.random.Generator, stripe_noise: float) -> np.ndarray:
    """Return the residual of the flat field: a smooth fall toward the edges, and stripes."""
    y, x = grid()
    u, v = wfc3ir.reduced(x), wfc3ir.reduced(y)
    smooth = 1.0 - 0.02 * (u**2 + v**2) + 0.01 * u * v
    columns = rng.normal(0.0, stripe_noise, wfc3ir.SIZE)[None, :]
    rows = rng.normal(0.0, stripe_noise, wfc3ir.SIZE)[:, None]
    edge = np.minimum(np.minimum(x, wfc3ir.SIZE - 1 - x), np.minimum(y, wfc3ir.SIZE - 1 - y))
    rim = 0.03 * np.exp(-np.maximum(edge - wfc3ir.BORDER, 0.0) / 3.0)  # the outermost 10-12 px differ
    return smooth * (1.0 + columns + rows) * (1.0 - rim)


def wagon_wheel() -> np.ndarray:
    """Return the dimming of the wagon wheel: rim and hub arcs, spokes, and the curl at its foot."""
    y, x = grid()
    hub_x, hub_y = 1040.0, 180.0
    radius = np.hypot(x - hub_x, (y - hub_y) * 0.70)
    bearing = np.arctan2(y - hub_y, hub_x - x)
    inside = (y > 40) & (y < 345) & (x > 925)
    rim = 0.14 * np.exp(-(((radius - 96.0) / 9.0) ** 2)) + 0.16 * np.exp(-(((radius - 66.0) / 8.0) ** 2))
    disc = 0.10 / (1.0 + np.exp(np.clip((radius - 92.0) / 4.0, -30, 30)))
    spokes = 0.07 * np.exp(-((np.sin(2.5 * bearing) / 0.18) ** 2)) * (radius < 66.0)
    curl = 0.20 * np.exp(-(((np.hypot(x - 971.0, y - 50.0) - 14.0) / 4.0) ** 2)) * (x > 960)
    return np.where(inside, rim + disc + spokes, 0.0) + curl


def scratch(rng: np.random.Generator) -> np.ndarray:
    """Return the dimming of the thin vertical scratch near x = 885, which breaks at y = 500-600."""
    dimming = np.zeros((wfc3ir.SIZE, wfc3ir.SIZE))
    wander = np.cumsum(rng.normal(0.0, 0.12, wfc3ir.SIZE))
    for low, high in ((350, 500), (600, 930)):
        rows = np.arange(low, high)
        columns = np.clip(np.round(885 + wander[rows] - wander[low]), 880, 890).astype(int)
        dimming[rows, columns] = rng.uniform(0.005, 0.02, rows.size)
    return dimming


def death_star(rng: np.random.Generator) -> np.ndarray:
    """Return the mask of the death star: a ring of dead pixels with some inside."""
    y, x = grid()
    centre_x, centre_y, ring = DEATH_STAR
    radius = np.hypot(x - centre_x, y - centre_y)
    dead = np.abs(radius - ring) < 0.45
    inside = np.flatnonzero(radius < ring - 1)
    dead.flat[rng.choice(inside, DEATH_STAR_INSIDE, replace=False)] = True
    return dead


def dead_zones(rng: np.random.Generator) -> np.ndarray:
    """Return the mask of the dead zones at the top edge, the upper corners and the lower right."""
    y, x = grid()
    # Probability that a pixel is dead; it fades over a few pixels, as in the real map.
    top = 1.0 - np.maximum(np.abs(x - 480.0) / 80.0, (1024.0 - y) / 14.0) ** 4
    left_corner = 1.0 - (np.hypot(x - 5.0, 1019.0 - y) / 20.0) ** 3
    right_corner = 1.0 - (np.hypot(1019.0 - x, 1019.0 - y) / 16.0) ** 3
    lower_right = 0.7 * (1.0 - np.maximum((1019.0 - x) / 44.0, y / 120.0) ** 2)
    chance = np.max([top, left_corner, right_corner, lower_right], axis=0)
    return rng.uniform(size=chance.shape) < np.clip(chance, 0.0, 0.95)


def bad_pixels(
    rng: np.random.Generator, days: float, start: float, end: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return when each pixel turns bad, the kind of its fault, and its level.

    Pixels that turn bad do so in clusters of one to three neighbours.
    """
    total = wfc3ir.SIZE**2
    since = np.full((wfc3ir.SIZE, wfc3ir.SIZE), np.inf, dtype=np.float32)
    seeds = round(end * total / 1.35)  # 1.35 pixels in the mean cluster
    sizes = rng.choice([1, 2, 3], seeds, p=[0.72, 0.21, 0.07])
    born = np.where(
        rng.uniform(size=seeds) < start / end, -rng.uniform(1, 3000, seeds), rng.uniform(0, days, seeds)
    )
    y = rng.integers(wfc3ir.BORDER, wfc3ir.SIZE - wfc3ir.BORDER, seeds)
    x = rng.integers(wfc3ir.BORDER, wfc3ir.SIZE - wfc3ir.BORDER, seeds)
    for step in range(3):
        member = sizes > step
        since[y[member], x[member]] = born[member]
        across = rng.integers(0, 2, seeds).astype(bool)
        x = np.clip(x + across, 0, wfc3ir.SIZE - 1)
        y = np.clip(y + ~across, 0, wfc3ir.SIZE - 1)
    kind = rng.choice(
        np.array([wfc3ir.DQ_BAD, wfc3ir.DQ_HOT, wfc3ir.DQ_UNSTABLE], dtype=np.int16),
        since.shape,
        p=[0.3, 0.4, 0.3],
    )
    excess = np.exp(rng.uniform(np.log(0.02), np.log(1.5), since.shape))
    level = np.where(kind == wfc3ir.DQ_BAD, rng.uniform(0.0, 0.95, since.shape), excess)
    return since, kind, level.astype(np.float32)
