"""Permanent features of the detector, without old blobs.

Notes
-----
Positions and sizes of the features were measured for this project in real frames. The dimming of the
wagon wheel (10-20 %), of the scratch (1-2 %), and the patchy clusters of dead pixels were measured in
the public G141 master sky.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from blobwatch.instrument import wfc3ir

DEATH_STAR = (361.8, 59.1, 21.4)  # x, y, radius: a ring of dead pixels about 1 px wide
DEATH_STAR_MASK = 25.0  # masked out to this radius
DEATH_STAR_RING = 103  # dead pixels on the ring
DEATH_STAR_INSIDE = 46  # further dead pixels inside

# The lines of the wagon wheel, (x, y), read off the public G141 master sky.
FELLOE = ((950, 106), (935, 150), (929, 180), (930, 215), (940, 250), (948, 280), (953, 308))
RIM = (
    (972, 100),
    (966, 125),
    (957, 160),
    (955, 190),
    (961, 215),
    (967, 250),
    (984, 290),
    (1004, 325),
    (1019, 345),
)
CURL = ((984, 106), (968, 86), (957, 68), (967, 65), (975, 61), (979, 52), (978, 44), (975, 38))


@dataclass(frozen=True)
class Detector:
    """The permanent state of the detector.

    Attributes
    ----------
    sensitivity : ndarray, shape (1024, 1024), float64
        Residual of the flat field with wagon wheel and scratch; mean about 1.
    dead : ndarray, shape (1024, 1024), bool
        Death star and dead zones; without signal.
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


def pixel_grid() -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel coordinates ``y`` (1024, 1) and ``x`` (1, 1024) as floats."""
    axis = np.arange(wfc3ir.SIZE, dtype=float)
    return axis[:, None], axis[None, :]


def draw_detector(
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
    # The measured shares count the dead features too.
    own = float(dead.mean())
    since, kind, level = draw_bad_pixels(rng, days, max(bad_start - own, 0.0), max(bad_end - own, 1e-5))
    sensitivity = flat_field(rng, stripe_noise) * (1.0 - wagon_wheel(rng)) * (1.0 - scratch(rng))
    return Detector(sensitivity, dead, since, kind, level)


def flat_field(rng: np.random.Generator, stripe_noise: float) -> np.ndarray:
    """Return the residual of the flat: dimmer edges, and stripes."""
    y, x = pixel_grid()
    u, v = wfc3ir.normalized(x), wfc3ir.normalized(y)
    smooth = 1.0 - 0.02 * (u**2 + v**2) + 0.01 * u * v
    columns = rng.normal(0.0, stripe_noise, wfc3ir.SIZE)[None, :]
    rows = rng.normal(0.0, stripe_noise, wfc3ir.SIZE)[:, None]
    edge = np.minimum(np.minimum(x, wfc3ir.SIZE - 1 - x), np.minimum(y, wfc3ir.SIZE - 1 - y))
    rim = 0.03 * np.exp(-np.maximum(edge - wfc3ir.BORDER, 0.0) / 3.0)  # the outermost 10-12 px differ
    return smooth * (1.0 + columns + rows) * (1.0 - rim)


def wagon_wheel(rng: np.random.Generator) -> np.ndarray:
    """Return the dimming of the wagon wheel and the dark corner.

    The wheel has an outer ring, an inner rim, spokes, and a curved end at its lower part.
    """
    dimming = np.zeros((wfc3ir.SIZE, wfc3ir.SIZE))
    part = dimming[:400, 880:]  # the wagon wheel lies inside
    y, x = np.arange(400.0)[:, None], np.arange(880.0, wfc3ir.SIZE)[None, :]
    outer, inner = (np.interp(y, line[:, 1], line[:, 0]) for line in (np.array(FELLOE), np.array(RIM)))
    fade = 1.0 / (1.0 + np.exp((np.abs(y - 195.0) - 95.0) / 14.0))
    part += 0.14 * fade / (1.0 + np.exp((outer - x) / 4.0)) / (1.0 + np.exp((x - inner - 3.0) / 3.0))
    part += 0.07 * fade / (1.0 + np.exp((inner + 3.0 - x) / 3.0))
    part += 0.10 * line_proximity(x, y, RIM, 4.0) / (1.0 + np.exp((y - 335.0) / 4.0))
    part += 0.13 * line_proximity(x, y, ((955, 187), (985, 193), (1019, 201)), 3.0)
    part += 0.07 * line_proximity(x, y, ((972, 140), (1000, 150), (1019, 172)), 7.0)
    part += 0.18 * line_proximity(x, y, CURL, 1.6)
    part += 0.45 * np.exp(-(((x - 1022.0) / 26.0) ** 2) - ((y - 38.0) / 36.0) ** 2)
    # The felloe is a row of specks, each a pixel or two.
    speck = rng.uniform(size=part.shape) < 0.35 * line_proximity(x, y, FELLOE, 3.0)
    part += np.where(speck, rng.uniform(0.1, 0.6, part.shape), 0.0)
    return np.minimum(dimming, 0.9)


def line_proximity(x: np.ndarray, y: np.ndarray, points: tuple, width: float) -> np.ndarray:
    """Return a Gaussian of sigma ``width`` around a line through ``points``; 1 on the line."""
    distance = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf)
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0.0, 1.0)
        distance = np.minimum(distance, np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)))
    return np.exp(-0.5 * (distance / width) ** 2)


def scratch(rng: np.random.Generator) -> np.ndarray:
    """Return the dimming of the vertical scratch near x = 885.

    It is thin and has a gap at y = 500-600.
    """
    dimming = np.zeros((wfc3ir.SIZE, wfc3ir.SIZE))
    wander = np.cumsum(rng.normal(0.0, 0.12, wfc3ir.SIZE))
    for low, high in ((350, 500), (600, 930)):
        rows = np.arange(low, high)
        columns = np.clip(np.round(885 + wander[rows] - wander[low]), 880, 890).astype(int)
        dimming[rows, columns] = rng.uniform(0.005, 0.02, rows.size)
    return dimming


def death_star(rng: np.random.Generator) -> np.ndarray:
    """Return the mask of the death star, a ring of dead pixels.

    The ring has gaps, and some pixels inside it are dead.
    """
    y, x = pixel_grid()
    centre_x, centre_y, ring = DEATH_STAR
    radius = np.hypot(x - centre_x, y - centre_y)
    dead = np.zeros(radius.shape, dtype=bool)
    on = np.flatnonzero(np.abs(radius - ring) < 0.5)
    inside = np.flatnonzero(radius < ring - 1)
    dead.flat[rng.choice(on, DEATH_STAR_RING, replace=False)] = True
    dead.flat[rng.choice(inside, DEATH_STAR_INSIDE, replace=False)] = True
    return dead


def dead_zones(rng: np.random.Generator) -> np.ndarray:
    """Return the mask of the dead zones at the top edge, the upper corners and the lower right."""
    y, x = pixel_grid()
    left, right, top = x - wfc3ir.BORDER, wfc3ir.SIZE - wfc3ir.BORDER - x, wfc3ir.SIZE - wfc3ir.BORDER - y
    # Probability that a pixel is dead; it fades over a few pixels, as in the real map.
    edge = 1.15 - ((x - 480.0) / 95.0) ** 2 - top / 10.0
    left_corner = 4.0 - (left + top) / 7.0  # 20 px from the corner to the middle of its slant
    right_corner = 4.0 - (right + top) / 4.2  # 12 px
    lower_right = 0.55 - 0.55 * np.hypot((x - 1012.0) / 34.0, (y - 35.0) / 58.0) ** 2
    chance = np.max(np.broadcast_arrays(edge, left_corner, right_corner, lower_right), axis=0)
    dead = rng.uniform(size=chance.shape) < np.clip(chance, 0.0, 0.97)
    return dead & (left >= 0) & (right > 0) & (top > 0) & (y >= wfc3ir.BORDER)


def draw_bad_pixels(
    rng: np.random.Generator, days: float, start: float, end: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw when each pixel turns bad, the kind of its fault, and its level.

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
    # Most dead pixels are dead from the start; pixels that turn bad later are mostly hot or unstable. The
    # positive side of a difference, where new blobs appear, is then as clean as measured.
    later = (since > 0) & (kind == wfc3ir.DQ_BAD) & (rng.uniform(size=since.shape) < 0.8)
    kind[later] = wfc3ir.DQ_HOT
    excess = np.exp(rng.uniform(np.log(0.02), np.log(1.5), since.shape))
    level = np.where(kind == wfc3ir.DQ_BAD, rng.uniform(0.0, 0.95, since.shape), excess)
    return since, kind, level.astype(np.float32)
