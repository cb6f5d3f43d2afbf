"""What a cut is contaminated with: all that could be taken for a blob, as measured or drawn far wider.

Each kind adds to a scene in place, in units of the noise per pixel. Excess light is negative; what stayed in
the stack has the opposite sign. With ``wide`` it goes far beyond what was measured, so that a network learns
what a blob is rather than what the simulator draws.

Notes
-----
Measured for this project: streaks 2-3 px wide, dashes of 40-200 px, 0.6 sigma; triplets 8.5-9 px apart, in
pairs 81-83 px apart, 150-280 px long, 2-3 px wide, tilted 0.5-0.9 degrees, 0.7-1.3 sigma; residuals of a few
per cent of an old blob's depth; clusters of 2-3 bad pixels with hard edges.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from blobwatch.dataset.injection import draw_log_uniform, draw_measured_blob, draw_wide_blob, inject_blob
from blobwatch.dataset.shapes import rescale_blob
from blobwatch.instrument.blobs import draw_depth
from blobwatch.instrument.contaminants import SIGMA, line

MIXED = 0.25  # share of contaminated cuts with several kinds at once


def add_contaminants(rng: np.random.Generator, cut: np.ndarray, noise: float, wide: bool) -> str:
    """Add one kind of contaminant, or several mixed, to a cut in place, and return its name.

    Parameters
    ----------
    rng : Generator
    cut : ndarray, shape (ny, nx), float64, fraction of the background
    noise : float
        Per pixel, fraction of the background.
    wide : bool
        Go beyond what was measured.
    """
    scene = np.zeros_like(cut)  # in units of the noise
    if rng.uniform() < MIXED:
        name, chosen = "mixed", rng.choice(list(KINDS), int(rng.integers(2, 5)), replace=False)
    else:
        name = str(rng.choice(list(KINDS), p=SHARES))
        chosen = [name]
    for one in chosen:
        KINDS[one](rng, scene, wide)
    cut += noise * scene
    return name


def add_frame_effects(rng: np.random.Generator, image: np.ndarray, noise: float) -> None:
    """Change the noise and the pixels of a whole frame in place, far beyond what was measured.

    Parameters
    ----------
    rng : Generator
    image : ndarray, shape (1024, 1024), float64, fraction of the background
    noise : float
        Per pixel, fraction of the background.
    """
    scene = np.zeros_like(image)  # in units of the noise
    scene += rng.uniform(0.3, 1.7) * draw_noise(rng, image.shape)
    unit = np.hypot(1.0, scene.std())
    for effect, share in FRAME_EFFECTS.items():
        if rng.uniform() < share:
            scene += unit * effect(rng, image.shape)
    image += noise * scene


def draw_noise(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw noise of unit scatter, or none: white, of coupled pixels, heavy-tailed, or drifting along rows."""
    from scipy.ndimage import gaussian_filter, gaussian_filter1d, shift

    kind = rng.choice(["none", "white", "smooth", "coupled", "resampled", "tails", "drift"], p=NOISE_SHARES)
    if kind == "none":
        return np.zeros(shape)
    white = rng.standard_normal(shape, dtype=np.float32)
    if kind == "smooth":
        white = gaussian_filter(white, rng.uniform(0.3, 1.2), mode="wrap")
    elif kind == "coupled":
        smooth = gaussian_filter(white, rng.uniform(0.5, 1.5), mode="wrap")
        white = smooth / smooth.std() * rng.uniform(0.2, 1.0) + rng.standard_normal(shape, dtype=np.float32)
    elif kind == "resampled":
        white = shift(white, rng.uniform(0.1, 0.5, 2), order=1, mode="grid-wrap")
    elif kind == "tails":
        white = rng.standard_t(rng.uniform(3, 8), shape)
    elif kind == "drift":
        axis, length = int(rng.integers(2)), draw_log_uniform(rng, 4, 100)
        drift = gaussian_filter1d(white, length, axis=axis, mode="wrap")
        white = rng.standard_normal(shape, dtype=np.float32) + rng.uniform(0.1, 0.4) * drift / drift.std()
    return white / white.std()


def draw_stripes(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw rows and columns that differ, over the whole frame or by half, and steps between quadrants."""
    middle = shape[0] // 2
    scene = np.zeros(shape)
    for half in (np.s_[:middle], np.s_[middle:]):
        rows, columns = (rng.normal(0.0, draw_log_uniform(rng, 0.01, 0.5), size) for size in shape)
        scene[:, half] += rows[:, None]
        scene[half] += columns[None, :]
        scene[half] += rng.normal(0.0, 0.15)
    return scene


def draw_glow(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw what subtraction left of the glow: waves across the frame, and light at one side."""
    v, u = (np.linspace(-1, 1, size) for size in shape)
    terms = sum(
        rng.normal(0.0, 0.5)
        * np.outer(np.cos(rng.uniform(0, 9) * v + rng.uniform(0, 6)), np.cos(rng.uniform(0, 9) * u))
        for _ in range(3)
    )
    side = rng.normal(0.0, 1.0) * np.exp(-(1 + rng.choice([-1, 1]) * u) / rng.uniform(0.05, 0.4))
    return terms + side[None, :]


def draw_outliers(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw single bad pixels with heavy tails, and hard-edged clusters of up to 4 x 4."""
    scene = np.zeros(shape)
    count = int(draw_log_uniform(rng, 1e-4, 1e-2) * scene.size)
    where = rng.integers(0, scene.size, count)
    scene.flat[where] = rng.choice([-1.0, 1.0], count, p=[0.6, 0.4]) * rng.exponential(
        draw_log_uniform(rng, 2.0, 20.0), count
    )
    for _ in range(int(draw_log_uniform(rng, 2, 80))):
        y, x = (int(rng.integers(0, side - 4)) for side in shape)
        height, width = rng.choice([1, 2, 3, 4], 2, p=[0.35, 0.4, 0.2, 0.05])
        value = draw_sign(rng, 0.5) * draw_log_uniform(rng, 2.0, 60.0)
        kept = rng.uniform(size=(height, width)) < rng.choice([1.0, 0.7])
        scene[y : y + height, x : x + width] += value * rng.uniform(0.5, 1.0, (height, width)) * kept
    return scene


def draw_sign(rng: np.random.Generator, negative: float = 0.7) -> float:
    """Return -1 with the given chance, else 1."""
    return -1.0 if rng.uniform() < negative else 1.0


def add_streaks(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add parallel broken lines, lights of the Earth trailed by the telescope's motion."""
    size, tilt = scene.shape[0], rng.uniform(-90, 90) if wide else rng.normal(0.0, 25.0)
    width, strength, dashes = (1.5, 6.0), (0.4, 3.0), (40, 400)
    if not wide:
        width, strength, dashes = (2.0, 3.0), (0.4, 0.8), (40, 200)
    width, strength = draw_log_uniform(rng, *width), draw_sign(rng) * draw_log_uniform(rng, *strength)
    cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    for offset in rng.uniform(-0.6 * size, 0.6 * size, int(rng.integers(1, 8))):
        position = -0.7 * size
        while position < 0.7 * size:
            dash = draw_log_uniform(rng, *dashes)
            along = position + dash / 2
            x, y = size / 2 + along * cos - offset * sin, size / 2 + along * sin + offset * cos
            line(scene, x, y, dash, tilt, width, strength * rng.uniform(0.7, 1.4))
            position += dash + rng.uniform(10, 150)


def add_triplets(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add triplets of lines, persistence of spectra; wide, bundles of any number, upright ones too."""
    size, sign = scene.shape[0], draw_sign(rng)
    bundle = np.zeros_like(scene)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, size), rng.uniform(0, size)
        if wide:
            length, tilt, width = rng.uniform(60, 300), rng.normal(0.0, 2.0), rng.uniform(1.5, 4.0)
            gap, lines, apart, strength = rng.uniform(5, 14), rng.integers(2, 6), rng.uniform(60, 100), 2.0
        else:
            length, tilt, width = rng.uniform(150, 280), rng.uniform(0.5, 0.9), rng.uniform(2, 3)
            gap, lines, apart, strength = rng.uniform(8.5, 9.0), 3, rng.uniform(81, 83), 1.0
        for start in (y, y + apart)[: int(rng.integers(1, 3))]:
            for row in range(int(lines)):
                line(bundle, x, start + row * gap, length, tilt, width, strength * rng.uniform(0.7, 1.3))
    scene += sign * (bundle.T if wide and rng.uniform() < 0.3 else bundle)


def add_bad_pixels(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add hard-edged clusters of bad pixels and tracks of cosmic rays, of either sign."""
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
    """Add what old blobs leave behind: two shapes of opposite sign, a little apart and of other widths.

    Dipoles and rings of either sign whose sum is near zero. The strongest pixel has 1 to 5 % of the depth of
    an old blob, of those measured; wide, up to 8 % of 30 sigma, and up to 25 % where it is only shifted.
    """
    for _ in range(int(rng.integers(1, 9))):
        x, y = rng.uniform(0, scene.shape[1]), rng.uniform(0, scene.shape[0])
        depth = draw_log_uniform(rng, 1.0, 30.0) if wide else draw_depth(rng) / SIGMA
        peak = depth * draw_log_uniform(rng, 0.01, 0.08 if wide else 0.05)
        shifted = wide and rng.uniform() < 0.4  # only shifted, but by up to a pixel
        old = replace((draw_wide_blob if wide else draw_measured_blob)(rng, x, y), depth=1.0, collar=0.0)
        shift, angle = draw_log_uniform(rng, 0.01, 0.5), rng.uniform(0, 2 * np.pi)
        ratio = 1 + (0.0 if shifted else rng.normal(0.0, 0.02))
        if shifted:
            shift, peak = rng.uniform(0.1, 1.0), depth * draw_log_uniform(rng, 0.03, 0.25)
        moved = replace(
            rescale_blob(old, ratio),
            x=x + shift * np.cos(angle),
            y=y + shift * np.sin(angle),
            depth=ratio**-2,  # what is taken from the rim is in the middle
        )
        left = np.zeros_like(scene)
        inject_blob(left, np.ones_like(scene), old, 0, 0)
        inject_blob(left, -np.ones_like(scene), moved, 0, 0)
        scene += peak / np.abs(left).max() * left


def add_point_sources(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add stars and their persistence: round; what a stack kept is faint and narrower than a blob."""
    sign = draw_sign(rng, 0.7 if wide else 0.9)
    for _ in range(int(rng.integers(2, 30))):
        x, y = rng.uniform(0, scene.shape[1]), rng.uniform(0, scene.shape[0])
        fwhm = rng.uniform(1.1, 5.0 if wide and sign < 0 else 2.2)
        left, bottom = max(0, int(x) - 12), max(0, int(y) - 12)
        part = scene[bottom : int(y) + 13, left : int(x) + 13]
        v, u = np.indices(part.shape)
        square = (u + left - x) ** 2 + (v + bottom - y) ** 2
        part += (
            sign
            * draw_log_uniform(rng, 2.0, 10.0 if sign > 0 else 80.0)
            * np.exp(-4 * np.log(2) * square / fwhm**2)
        )


def add_arcs(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Add arcs and rings: what is left of the wagon wheel, of ghosts, of dead rings."""
    v, u = np.indices(scene.shape)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(-60, scene.shape[1] + 60), rng.uniform(-60, scene.shape[0] + 60)
        radius, width = draw_log_uniform(rng, 25, 200), draw_log_uniform(rng, 1.5, 6.0 if wide else 3.0)
        start, extent = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 2 * np.pi)
        on = (np.arctan2(v - y, u - x) - start) % (2 * np.pi) < extent
        distance = np.hypot(u - x, v - y) - radius
        strength = draw_sign(rng) * draw_log_uniform(rng, 0.4, 4.0 if wide else 1.5)
        scene += strength * on * np.exp(-4 * np.log(2) * (distance / width) ** 2)


def add_dead_areas(rng: np.random.Generator, scene: np.ndarray, wide: bool) -> None:
    """Make areas of any form unknown: discs, bars, sides, rings, and pixels strewn about."""
    v, u = np.indices(scene.shape)
    for _ in range(int(rng.integers(1, 5 if wide else 3))):
        x, y = rng.uniform(0, scene.shape[1]), rng.uniform(0, scene.shape[0])
        size, angle = draw_log_uniform(rng, 3.0, 50.0 if wide else 25.0), rng.uniform(0, np.pi)
        along = (u - x) * np.cos(angle) + (v - y) * np.sin(angle)
        across = (v - y) * np.cos(angle) - (u - x) * np.sin(angle)
        form = rng.choice(["disc", "bar", "side", "ring", "strewn"])
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
    """Add slopes and waves of the background, steps between quadrants, rows and columns that differ."""
    v, u = (index / side - 0.5 for index, side in zip(np.indices(scene.shape), scene.shape, strict=True))
    slope = rng.normal(0.0, 0.6, 2)
    added = slope[0] * u + slope[1] * v
    added += rng.uniform(0.0, 0.7) * np.sin(rng.uniform(1, 12) * (u * slope[0] + v * slope[1]) + slope[0])
    if rng.uniform() < 0.5:
        added += rng.normal(0.0, 0.4) * (u > rng.uniform(-0.5, 0.5))
    if rng.uniform() < 0.5:
        added += rng.normal(0.0, rng.uniform(0.0, 0.3), scene.shape[0])[:, None]
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
# Bad pixels and residuals are what fools a network most.
SHARES = (0.15, 0.1, 0.2, 0.2, 0.1, 0.1, 0.07, 0.08)

FRAME_EFFECTS: dict[Callable[[np.random.Generator, tuple[int, int]], np.ndarray], float] = {
    draw_stripes: 0.4,
    draw_glow: 0.3,
    draw_outliers: 0.6,
}
NOISE_SHARES = (0.2, 0.1, 0.25, 0.2, 0.1, 0.05, 0.1)
