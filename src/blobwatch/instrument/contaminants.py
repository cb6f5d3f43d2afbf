"""Variable light: Earth glow, streaks, persistence of grism spectra, cosmic rays.

Each function returns light in fractions of the background, to be added to a scene.

Notes
-----
Geometry and amplitudes were measured for this project in real difference images whose noise per pixel is
1.0 % of the background; amplitudes are given here in that sigma and converted by ``SIGMA``.
"""

import numpy as np

from blobwatch.instrument import wfc3ir
from blobwatch.instrument.detector import pixel_grid

SIGMA = 0.010  # noise per pixel of a difference image, fraction of the background


def draw_glow(rng: np.random.Generator, scattered: float) -> np.ndarray:
    """Draw the glow of the dark Earth with its gradient, mean about 1.

    Parameters
    ----------
    rng : Generator
    scattered : float
        Extra light of the lit limb in the left 200 columns: 1 doubles the outermost ones.

    Returns
    -------
    ndarray, shape (1024, 1024), float64
    """
    y, x = pixel_grid()
    u, v = wfc3ir.normalized(x), wfc3ir.normalized(y)
    a, b, c = rng.normal(0.0, 0.03, 3)
    # Scattered Earthlight falls to zero over the left 200 columns [DHB 7.10].
    limb = scattered * np.clip(1.0 - x / 200.0, 0.0, 1.0) ** 2
    return 1.0 + a * u + b * v + c * u * v + limb


def add_line(
    image: np.ndarray, x: float, y: float, length: float, tilt: float, width: float, amplitude: float
) -> None:
    """Add a straight line of light, Gaussian across and soft at its ends, to ``image`` in place.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
    x, y : float
        Centre of the line, pixels.
    length, width : float
        Pixels; the width is the full width at half maximum.
    tilt : float
        Degrees from the x axis.
    amplitude : float
        In the unit of ``image``.
    """
    cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    half_x, half_y = abs(cos) * length / 2 + 4 * width, abs(sin) * length / 2 + 4 * width
    left, right = max(0, int(x - half_x)), min(image.shape[1], int(x + half_x) + 1)
    bottom, top = max(0, int(y - half_y)), min(image.shape[0], int(y + half_y) + 1)
    if left >= right or bottom >= top:
        return
    dx = np.arange(left, right)[None, :] - x
    dy = np.arange(bottom, top)[:, None] - y
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    profile = np.exp(-4.0 * np.log(2.0) * (across / width) ** 2)
    ends = np.clip((length / 2 - np.abs(along)) / width + 0.5, 0.0, 1.0)
    image[bottom:top, left:right] += amplitude * profile * ends


def draw_triplets(rng: np.random.Generator, count: int = 1) -> np.ndarray:
    """Draw horizontal triplets of lines, probably the persistence of grism spectra.

    Three parallel lines 8.5-9 px apart, often in pairs 81-83 px apart, 150-280 px long, 2-3 px wide,
    tilted by 0.5-0.9 degrees, 0.7-1.3 sigma per pixel, the outer lines stronger.
    """
    image = np.zeros((wfc3ir.SIZE, wfc3ir.SIZE))
    for _ in range(count):
        x, y = rng.uniform(0, wfc3ir.SIZE, 2)
        length, tilt, width = rng.uniform(150, 280), rng.uniform(0.5, 0.9), rng.uniform(2, 3)
        spacing, strength = rng.uniform(8.5, 9.0), rng.uniform(0.9, 1.3) * SIGMA
        starts = [y, y + rng.uniform(81, 83)] if rng.uniform() < 0.6 else [y]
        for start in starts:
            for row, weight in ((-1, 1.0), (0, 0.78), (1, 1.0)):
                add_line(image, x, start + row * spacing, length, tilt, width, weight * strength)
    return image


def draw_streaks(rng: np.random.Generator, lines: int = 10) -> np.ndarray:
    """Return oblique streaks: lights of the Earth trailed by the motion of the telescope.

    Parallel broken lines across the frame in one direction, 2-3 px wide, dashes 40-200 px long,
    about 0.6 sigma per pixel.
    """
    image = np.zeros((wfc3ir.SIZE, wfc3ir.SIZE))
    tilt = rng.normal(0.0, 25.0)
    cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    span, middle = np.sqrt(2.0) * wfc3ir.SIZE, wfc3ir.SIZE / 2
    for offset in rng.uniform(-span / 2, span / 2, lines):
        width, strength = rng.uniform(2, 3), rng.uniform(0.4, 0.8) * SIGMA
        position = -span / 2 + rng.uniform(0, 200)
        while position < span / 2:
            dash = rng.uniform(40, 200)
            along = position + dash / 2
            x = middle + along * cos - offset * sin
            y = middle + along * sin + offset * cos
            add_line(image, x, y, dash, tilt, width, strength)
            position += dash + rng.uniform(10, 150)
    return image


def draw_cosmic_rays(rng: np.random.Generator, seconds: float, background: float) -> np.ndarray:
    """Draw the cosmic rays of one exposure.

    Parameters
    ----------
    rng : Generator
    seconds : float
        Exposure time.
    background : float
        Electrons per pixel of the background.

    Returns
    -------
    ndarray, shape (1024, 1024), float64, fraction of the background

    Notes
    -----
    11 +- 1.5 hits a second over the array [IHB 7.9.2]; a hit leaves a short track of one to five pixels.
    """
    rate = max(1.0, rng.normal(*wfc3ir.COSMIC_RAY_RATE))
    hits = rng.poisson(rate * seconds)
    x, y = rng.uniform(0, wfc3ir.SIZE, (2, hits))
    angle = rng.uniform(0, 2 * np.pi, hits)
    length = rng.choice(5, hits, p=[0.45, 0.27, 0.15, 0.08, 0.05])
    charge = np.exp(rng.normal(np.log(1000.0), 1.0, hits)) / background
    image = np.zeros((wfc3ir.SIZE, wfc3ir.SIZE))
    for step in range(5):
        on = length >= step
        column = np.floor(x[on] + step * np.cos(angle[on])).astype(int) % wfc3ir.SIZE
        row = np.floor(y[on] + step * np.sin(angle[on])).astype(int) % wfc3ir.SIZE
        np.add.at(image, (row, column), charge[on])
    return image
