"""Contaminants of subframes: features that can be mistaken for a blob.

Each function adds one kind to a scene in place, in units of the noise per pixel. Excess light in the
exposure is negative; excess light in the stack is positive. With ``wide``, the ranges go far beyond the
measured ones, so that the network does not learn the simulator's shapes.

Notes
-----
Values measured for this project:

* streaks: 2-3 px wide, dashes of 40-200 px, 0.6 sigma;
* triplets: lines 8.5-9 px apart, pairs 81-83 px apart, 150-280 px long, 2-3 px wide, tilted 0.5-0.9
  degrees, 0.7-1.3 sigma;
* residuals: a few per cent of the depth of an old blob;
* bad pixels: clusters of 2-3 pixels with hard edges.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from blobwatch.dataset.injection import (
    draw_log_uniform,
    draw_measured_blob,
    draw_sign,
    draw_wide_blob,
    inject_blob,
)
from blobwatch.dataset.lobed_shapes import rescale_blob
from blobwatch.instrument.blobs import draw_depth
from blobwatch.instrument.contaminants import SIGMA, add_line

MIXED = 0.25  # share of contaminated subframes with several kinds at once


def add_contaminants(rng: np.random.Generator, cut: np.ndarray, noise: float, wide: bool) -> str:
    """Add one kind of contaminant or a mixture to a subframe in place.

    Parameters
    ----------
    rng : Generator
    cut : ndarray, shape (ny, nx), float64, fraction of the background
    noise : float
        Per pixel, fraction of the background.
    wide : bool
        Use ranges beyond the measured ones.

    Returns
    -------
    str
        Name of the kind, or ``mixed``.
    """
    scene = np.zeros_like(cut)  # in units of the noise
    if rng.uniform() < MIXED:
        name, kinds = "mixed", list(rng.choice(list(KINDS), int(rng.integers(2, 5)), replace=False))
    else:
        name = str(rng.choice(list(KINDS), p=SHARES))
        kinds = [name]
    for kind in kinds:
        KINDS[kind](rng, scene, wide)
    cut += noise * scene
    return name


def add_streaks(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add parallel broken lines: lights on Earth trailed by the telescope's motion."""
    size, tilt = scene.shape[0], rng.uniform(-90, 90) if wide else rng.normal(0.0, 25.0)
    widths, strengths, dashes = (1.5, 6.0), (0.4, 3.0), (40, 400)
    if not wide:
        widths, strengths, dashes = (2.0, 3.0), (0.4, 0.8), (40, 200)
    width, strength = draw_log_uniform(rng, *widths), draw_sign(rng) * draw_log_uniform(rng, *strengths)
    cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    for offset in rng.uniform(-0.6 * size, 0.6 * size, int(rng.integers(1, 8))):
        position = -0.7 * size
        while position < 0.7 * size:
            dash = draw_log_uniform(rng, *dashes)
            along = position + dash / 2
            x, y = size / 2 + along * cos - offset * sin, size / 2 + along * sin + offset * cos
            add_line(scene, x, y, dash, tilt, width, strength * rng.uniform(0.7, 1.4))
            position += dash + rng.uniform(10, 150)


def add_triplets(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add triplets of lines: persistence of spectra. Wide ones have 2-5 lines and any axis."""
    size, sign = scene.shape[0], draw_sign(rng)
    bundle = np.zeros_like(scene)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, size), rng.uniform(0, size)
        if wide:
            length, tilt, width = rng.uniform(60, 300), rng.normal(0.0, 2.0), rng.uniform(1.5, 4.0)
            gap, lines = rng.uniform(5, 14), int(rng.integers(2, 6))
            separation, strength = rng.uniform(60, 100), 2.0
        else:
            length, tilt, width = rng.uniform(150, 280), rng.uniform(0.5, 0.9), rng.uniform(2, 3)
            gap, lines, separation, strength = rng.uniform(8.5, 9.0), 3, rng.uniform(81, 83), 1.0
        for start in (y, y + separation)[: int(rng.integers(1, 3))]:
            for row in range(lines):
                add_line(bundle, x, start + row * gap, length, tilt, width, strength * rng.uniform(0.7, 1.3))
    scene += sign * (bundle.T if wide and rng.uniform() < 0.3 else bundle)


def add_bad_pixels(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add hard-edged clusters of bad pixels and cosmic-ray tracks of either sign."""
    for _ in range(int(rng.integers(2, 25))):
        y, x = (int(rng.integers(0, side - 4)) for side in scene.shape)
        value = draw_sign(rng, 0.4) * draw_log_uniform(rng, 2.5, 80.0)
        if rng.uniform() < 0.7:
            height, width = rng.permutation([rng.integers(1, 4 if wide else 3), rng.integers(1, 3)])
            scene[y : y + height, x : x + width] += value * rng.uniform(0.4, 1.0, (height, width))
        else:
            steps, angle = np.arange(rng.integers(2, 12 if wide else 6)), rng.uniform(0, 2 * np.pi)
            rows = np.clip(np.round(y + steps * np.sin(angle)).astype(int), 0, scene.shape[0] - 1)
            columns = np.clip(np.round(x + steps * np.cos(angle)).astype(int), 0, scene.shape[1] - 1)
            scene[rows, columns] += value


def add_residuals(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add residuals of old blobs: two shifted, rescaled shapes of opposite sign.

    The result is a dipole or ring whose sum is near zero. Its strongest pixel has 1 to 5 % of the depth of a
    measured old blob. Wide residuals reach 8 % of 30 sigma, or 25 % if they are only shifted.
    """
    for _ in range(int(rng.integers(1, 9))):
        x, y = rng.uniform(0, scene.shape[1]), rng.uniform(0, scene.shape[0])
        depth = draw_log_uniform(rng, 1.0, 30.0) if wide else draw_depth(rng) / SIGMA
        peak = depth * draw_log_uniform(rng, 0.01, 0.08 if wide else 0.05)
        shifted = wide and rng.uniform() < 0.4  # by up to a pixel, without a change of size
        old = replace((draw_wide_blob if wide else draw_measured_blob)(rng, x, y), depth=1.0, collar=0.0)
        shift, angle = draw_log_uniform(rng, 0.01, 0.5), rng.uniform(0, 2 * np.pi)
        ratio = 1 + (0.0 if shifted else rng.normal(0.0, 0.02))
        if shifted:
            shift, peak = rng.uniform(0.1, 1.0), depth * draw_log_uniform(rng, 0.03, 0.25)
        moved = replace(
            rescale_blob(old, ratio),
            x=x + shift * np.cos(angle),
            y=y + shift * np.sin(angle),
            depth=ratio**-2,  # conserves the total light
        )
        residual = np.zeros_like(scene)
        inject_blob(residual, np.ones_like(scene), old, 0, 0)
        inject_blob(residual, -np.ones_like(scene), moved, 0, 0)
        scene += peak / np.abs(residual).max() * residual


def add_point_sources(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add round stars. Positive ones (persistence in the stack) are faint and narrow."""
    sign = draw_sign(rng, 0.7 if wide else 0.9)
    for _ in range(int(rng.integers(2, 30))):
        x, y = rng.uniform(0, scene.shape[1]), rng.uniform(0, scene.shape[0])
        fwhm = rng.uniform(1.1, 5.0 if wide and sign < 0 else 2.2)
        left, bottom = max(0, int(x) - 12), max(0, int(y) - 12)
        region = scene[bottom : int(y) + 13, left : int(x) + 13]
        v, u = np.indices(region.shape)
        square = (u + left - x) ** 2 + (v + bottom - y) ** 2
        strength = sign * draw_log_uniform(rng, 2.0, 10.0 if sign > 0 else 80.0)
        region += strength * np.exp(-4 * np.log(2) * square / fwhm**2)


def add_arcs(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add arcs and rings: residuals of the wagon wheel, ghosts and dead rings."""
    v, u = np.indices(scene.shape)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(-60, scene.shape[1] + 60), rng.uniform(-60, scene.shape[0] + 60)
        radius, width = draw_log_uniform(rng, 25, 200), draw_log_uniform(rng, 1.5, 6.0 if wide else 3.0)
        start, extent = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 2 * np.pi)
        visible = (np.arctan2(v - y, u - x) - start) % (2 * np.pi) < extent
        distance = np.hypot(u - x, v - y) - radius
        strength = draw_sign(rng) * draw_log_uniform(rng, 0.4, 4.0 if wide else 1.5)
        scene += strength * visible * np.exp(-4 * np.log(2) * (distance / width) ** 2)


def add_dead_areas(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Set random areas to NaN: discs, bars, sides, rings and scattered pixels."""
    v, u = np.indices(scene.shape)
    for _ in range(int(rng.integers(1, 5 if wide else 3))):
        x, y = rng.uniform(0, scene.shape[1]), rng.uniform(0, scene.shape[0])
        size, angle = draw_log_uniform(rng, 3.0, 50.0 if wide else 25.0), rng.uniform(0, np.pi)
        along = (u - x) * np.cos(angle) + (v - y) * np.sin(angle)
        across = (v - y) * np.cos(angle) - (u - x) * np.sin(angle)
        form = rng.choice(["disc", "bar", "side", "ring", "scattered"])
        if form == "disc":
            dead = np.hypot(u - x, v - y) < size
        elif form == "bar":
            dead = (np.abs(along) < size) & (np.abs(across) < size * rng.uniform(0.1, 1.0))
        elif form == "side":
            dead = (u < size / 2) if rng.uniform() < 0.5 else (v < size / 2)
        elif form == "ring":
            dead = np.abs(np.hypot(u - x, v - y) - size) < rng.uniform(0.5, 1.5)
        else:
            dead = rng.uniform(size=scene.shape) < rng.uniform(0.0, 0.5) * np.exp(-((along / size) ** 2))
        scene[dead] = np.nan


def add_unevenness(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add slopes, waves and steps of the background, and row and column offsets."""
    v, u = (index / side - 0.5 for index, side in zip(np.indices(scene.shape), scene.shape, strict=True))
    slope = rng.normal(0.0, 0.6, 2)
    added = slope[0] * u + slope[1] * v
    added += rng.uniform(0.0, 0.7) * np.sin(rng.uniform(1, 12) * (u * slope[0] + v * slope[1]) + slope[0])
    if rng.uniform() < 0.5:
        added += rng.normal(0.0, 0.4) * (u > rng.uniform(-0.5, 0.5))
    if rng.uniform() < 0.5:
        added += rng.normal(0.0, rng.uniform(0.0, 0.3), len(scene))[:, None]
    for _ in range(int(rng.integers(0, 4))):
        column = int(rng.integers(0, scene.shape[1] - 3))
        added[:, column : column + int(rng.integers(1, 4))] += rng.normal(0.0, 1.5)
    added = added.T if rng.uniform() < 0.5 else added
    scene += added if wide else 0.4 * added


KINDS: dict[str, Callable[[np.random.Generator, np.ndarray, bool], None]] = {
    "streaks": add_streaks,
    "triplets": add_triplets,
    "bad pixels": add_bad_pixels,
    "residuals": add_residuals,
    "point sources": add_point_sources,
    "arcs": add_arcs,
    "dead areas": add_dead_areas,
    "unevenness": add_unevenness,
}
# Bad pixels and residuals cause the most false detections.
SHARES = (0.15, 0.1, 0.2, 0.2, 0.1, 0.1, 0.07, 0.08)
