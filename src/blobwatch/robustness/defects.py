"""Defects of the detector: bad pixels, clusters, fixed structures and residuals of old blobs.

Each function adds to an image in place, in units of the noise per pixel; excess light is negative.
"""

import csv
from importlib import resources

import numpy as np

from blobwatch.robustness.shapes import Shape, Stamp, render

BORDER = 5  # reference pixels on each side
RING = (361.8, 59.1, 21.4)  # centre and radius of the ring of dead pixels
RING_MASK = 25.0  # radius of the area that is usually masked, pixels


def add_stamp(image: np.ndarray, stamp: Stamp, amplitude: float) -> None:
    """Add a stamp with an amplitude; parts outside the image are dropped."""
    region, part = stamp.clip(image.shape)
    image[region] += np.float32(amplitude) * part


def mask_border(image: np.ndarray) -> None:
    """Set the reference pixels to NaN."""
    image[:BORDER], image[-BORDER:], image[:, :BORDER], image[:, -BORDER:] = (np.nan,) * 4


def mask_dead_zones(image: np.ndarray) -> None:
    """Set the dead zones of the detector to NaN."""
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    image[1010:, 400:560], image[:120, 976:] = np.nan, np.nan
    image[(x + (1023 - y) < 22) | ((1023 - x) + (1023 - y) < 28)] = np.nan


def inside_ring(shape: tuple[int, int]) -> np.ndarray:
    """Return the mask of the ring of dead pixels and its inside.

    Both are masked in real frames.
    """
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(x - RING[0], y - RING[1]) < RING_MASK


def add_bad_pixels(rng: np.random.Generator, image: np.ndarray, share: float, unflagged: float) -> None:
    """Add isolated bad pixels, a ``share`` of all pixels.

    Most are flagged (NaN). The share ``unflagged`` has heavy-tailed values instead.
    """
    places = rng.integers(0, image.size, rng.poisson(share * image.size))
    known = rng.uniform(size=len(places)) >= unflagged
    loose = places[~known]
    tails = 3.0 * np.minimum(rng.pareto(1.2, len(loose)) + 1.0, 300.0)
    image.flat[loose] += (tails * rng.choice([-1.0, 1.0], len(loose), p=[0.7, 0.3])).astype(np.float32)
    image.flat[places[known]] = np.nan


def add_clusters(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    """Add hard-edged clusters of one to four neighbouring bad pixels."""
    steps = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
    for _ in range(count):
        place = rng.integers(2 * BORDER, len(image) - 2 * BORDER, 2)
        value = rng.choice([-1.0, 1.0]) * 3.0 * min(rng.pareto(1.0) + 1.0, 25.0)
        chosen = {tuple(place)}
        while len(chosen) < int(rng.integers(1, 5)):
            place = place + steps[rng.integers(4)]
            chosen.add(tuple(place))
        for y, x in sorted(chosen):
            image[y, x] += value * rng.uniform(0.5, 1.0)


def add_fixed_pattern(rng: np.random.Generator, image: np.ndarray, strength: float) -> None:
    """Add the residual of a flat: pixels with heavy-tailed errors."""
    image += (strength * rng.standard_t(3.0, image.shape)).astype(np.float32)


def add_structures(rng: np.random.Generator, image: np.ndarray, strength: float) -> None:
    """Add residuals of the fixed structures: ring, wagon wheel, scratch, edge and dead zones."""
    add_dead_ring(rng, image, strength)
    y, x, part = box(image, (40, 350), (915, 1024))
    wheel = np.exp(-(((np.hypot(x - 1075.0, y - 195.0) - 148.0) / 2.5) ** 2))
    wheel = wheel * ((y > 50) & (y < 340))
    wheel += np.exp(-(((np.hypot(x - 971.0, y - 50.0) - 9.0) / 2.0) ** 2))
    part += (strength * rng.normal(0.0, 0.6) * wheel).astype(np.float32)
    y, x, part = box(image, (350, 930), (875, 896))
    scratch = np.exp(-(((x - 882.0 - (y - 350) / 100.0) / 1.2) ** 2)) * ((y < 500) | (y > 600))
    part += (strength * rng.normal(0.0, 0.8) * scratch).astype(np.float32)
    level = strength * rng.normal(0.0, 0.5)
    for view in (image, image[::-1], image.T, image.T[::-1]):
        fade = np.exp(-np.arange(12.0) / 3.0)[:, None]
        view[BORDER : BORDER + 12] += (level * fade).astype(np.float32)
    mask_dead_zones(image)


def add_dead_ring(rng: np.random.Generator, image: np.ndarray, strength: float) -> None:
    """Add the ring of dead pixels, shifted by about a pixel; its inside is usually masked."""
    y, x, part = box(image, (25, 95), (325, 400))
    moved = np.hypot(x - RING[0] - rng.normal(), y - RING[1] - rng.normal())
    on_ring = np.exp(-(((moved - RING[2]) / 0.7) ** 2)) * (rng.uniform(size=part.shape) < 0.75)
    part -= (strength * rng.uniform(2.0, 12.0) * on_ring).astype(np.float32)
    if rng.uniform() < 0.8:
        part[np.hypot(x - RING[0], y - RING[1]) < RING_MASK + rng.uniform(-4.0, 1.0)] = np.nan


def box(image: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Return the coordinates y and x of a box and a view of the image."""
    y, x = np.arange(*rows)[:, None], np.arange(*columns)[None, :]
    return y, x, image[slice(*rows), slice(*columns)]


def read_old_blobs() -> np.ndarray:
    """Return the measured old blobs, shape (108, 3): x, y in pixels, depth in percent."""
    table = resources.files("blobwatch.instrument").joinpath("data/old_blobs.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in table.splitlines() if not line.startswith("#"))
    return np.array([[float(row[key]) for key in ("x", "y", "depth_percent")] for row in rows])


def add_old_blobs(rng: np.random.Generator, image: np.ndarray, shift: float, depth_error: float) -> None:
    """Add the residuals of old blobs in a difference image.

    ``shift`` is the shift in pixels between stack and exposure, nearly equal for all blobs, and
    ``depth_error`` the relative rms difference of their depths. The noise of a difference image is 1.0 % of
    the background, so depths in percent are in units of it.
    """
    angle = rng.uniform(0, 2 * np.pi)
    for x, y, depth in read_old_blobs():
        half_width = max(2.5, 6.6 - 2.3 * (x / 512 - 1) - 2.2 * (y / 512 - 1) + rng.normal(0.0, 0.9))
        old = Shape("old", half_width, exponent=1.25, edge=5.0, axis_ratio=1 / 1.08)
        own, turn = shift * rng.normal(1.0, 0.15), angle + rng.normal(0.0, 0.3)
        x, y = x + rng.normal(0.0, 2.0), y + rng.normal(0.0, 2.0)  # error of the table
        before, after = render(old, x, y), render(old, x + own * np.cos(turn), y + own * np.sin(turn))
        add_stamp(image, before, -depth / before.image.max())
        add_stamp(image, after, depth * (1.0 + rng.normal(0.0, depth_error)) / after.image.max())
