"""Lights that fall on the detector beside the even glow: streaks, triplets, trails, stars, cosmic rays."""

import numpy as np
from seasons.frame import BORDER, COSMIC_RAY, SIZE, X, Y

REACH = 1600  # pixels; a square of this side covers the frame in any direction


def parallel_lines(rng, angle: float, lines: int, dash: tuple[float, float], gap: tuple[float, float]):
    """Return broken parallel lines 2-3 px wide across the frame, each of unit light.

    The lines are drawn in a turned frame, half a pixel across by four pixels along, and looked up from there.
    """
    across, along = np.zeros((2 * REACH, 1), dtype=np.float32), np.arange(0, REACH, 4)
    canvas = np.zeros((2 * REACH, along.size), dtype=np.float32)
    profile = np.exp2(-(np.abs(np.arange(-5, 6) / 2 / 1.25) ** 3))[:, None]
    for start in rng.integers(6, len(across) - 6, lines):
        lengths = np.stack([rng.uniform(*dash, 80), rng.uniform(*gap, 80)], axis=1).ravel()
        on = np.searchsorted(np.cumsum(lengths), along + rng.uniform(0, sum(dash))) % 2 == 0
        rows = slice(start - 5, start + 6)
        canvas[rows] = np.maximum(canvas[rows], profile * on * rng.uniform(0.7, 1.3))
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    down = ((Y - 512) * c - (X - 512) * s + REACH / 2) * 2
    right = ((X - 512) * c + (Y - 512) * s + REACH / 2) / 4
    return canvas[down.astype(np.int32), np.minimum(right.astype(np.int32), along.size - 1)]


def faint_streaks(rng) -> np.ndarray:
    """Return 8-24 broken lines of unit light; Earth lights trailed by the motion of the telescope."""
    return parallel_lines(rng, rng.uniform(-60, 60), int(rng.integers(12, 36)), (40, 200), (30, 200))


def triplets(rng, groups: int) -> np.ndarray:
    """Return groups of three nearly horizontal lines 8.5-9 px apart, of 0.7-1.3 units, often in pairs."""
    frame = np.zeros((SIZE, SIZE), dtype=np.float32)
    for _ in range(groups):
        x = np.arange(int(rng.uniform(150, 280))) + rng.integers(0, 750)
        top, gap, slope = (
            rng.uniform(20, 1000),
            rng.uniform(8.5, 9),
            np.tan(np.radians(rng.uniform(0.5, 0.9))),
        )
        strength = rng.uniform(0.8, 1.3)
        for pair in (0.0, rng.uniform(81, 83))[: rng.integers(1, 3)]:
            for line, weight in ((-1, 1.0), (0, 0.85), (1, 1.0)):
                paint(frame, x, top + pair + line * gap + slope * (x - x[0]), strength * weight)
    return frame


def paint(frame: np.ndarray, x: np.ndarray, y: np.ndarray, light, half_width: float = 1.25) -> None:
    """Add a line that has the row ``y`` in each column of ``x``."""
    rows = np.rint(y).astype(int) + np.arange(-4, 5)[:, None]
    inside = (rows >= 0) & (rows < SIZE) & (x < SIZE)
    values = light * np.exp2(-((np.abs(rows - y) / half_width) ** 3))
    np.add.at(frame, (np.where(inside, rows, 0), np.where(inside, x, 0)), np.where(inside, values, 0.0))


def add_points(frame: np.ndarray, x, y, electrons, width: float) -> None:
    """Add sources of a Gaussian core and a wide faint halo (10 % of the light, chosen), in place."""
    for one_x, one_y, light in zip(x, y, electrons, strict=True):
        reach = 25 if light > 30 * 1000 else 8
        rows = slice(max(int(one_y) - reach, 0), int(one_y) + reach + 1)
        columns = slice(max(int(one_x) - reach, 0), int(one_x) + reach + 1)
        r2 = (X[rows, columns] - one_x) ** 2 + (Y[rows, columns] - one_y) ** 2
        core = 0.9 * np.exp(-r2 / (2 * width**2)) / (2 * np.pi * width**2)
        halo = 0.1 / (np.pi * 3.0**2) / (1 + r2 / 3.0**2) ** 2
        frame[rows, columns] += light * (core + halo)


def trailed(rng, points: int, brightness, drift: np.ndarray) -> np.ndarray:
    """Return points that all follow the same path, as when the telescope loses its guide stars.

    Parameters
    ----------
    points : int
    brightness : callable
        Electrons per pixel of path for each point: ``brightness(points)``.
    drift : ndarray, shape (steps, 2)
        Path in x and y, pixels.
    """
    frame = np.zeros((SIZE, SIZE), dtype=np.float32)
    starts = rng.uniform(-300, SIZE + 300, (points, 1, 2)) - drift.mean(axis=0)
    path = starts + drift
    weight = (
        np.broadcast_to(brightness(points)[:, None], path.shape[:2])
        / np.hypot(*np.diff(drift, axis=0).T).mean()
    )
    weight = weight * np.hypot(*np.diff(drift, axis=0, append=drift[-1:]).T)
    for dx, dy, share in ((0, 0, 0.4), (1, 0, 0.15), (-1, 0, 0.15), (0, 1, 0.15), (0, -1, 0.15)):
        column, row = np.rint(path[..., 0]).astype(int) + dx, np.rint(path[..., 1]).astype(int) + dy
        inside = (column >= 0) & (column < SIZE) & (row >= 0) & (row < SIZE)
        np.add.at(frame, (row[inside], column[inside]), (share * weight)[inside])
    return frame


def cosmic_rays(rng, seconds: float, missed: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Return electrons and flags of the hits, 11 +- 1.5 a second; some pixels are not flagged (chosen)."""
    hits = rng.poisson(max(rng.normal(11.0, 1.5), 1.0) * seconds)
    frame, flags = np.zeros((SIZE, SIZE), dtype=np.float32), np.zeros((SIZE, SIZE), dtype=np.int16)
    (y, x), (dy, dx) = rng.integers(BORDER, SIZE - BORDER, (2, hits)), rng.integers(-1, 2, (2, hits))
    charge, unseen = rng.lognormal(np.log(700), 0.9, hits), rng.uniform(size=hits) < missed
    length = rng.choice(4, hits, p=[0.4, 0.35, 0.18, 0.07])
    for step in range(4):
        on = length >= step
        place = tuple(np.clip(v + step * d, 0, SIZE - 1)[on] for v, d in ((y, dy), (x, dx)))
        np.add.at(frame, place, charge[on])
        np.bitwise_or.at(flags, place, np.where(unseen[on], 0, COSMIC_RAY).astype(np.int16))
    return frame, flags
