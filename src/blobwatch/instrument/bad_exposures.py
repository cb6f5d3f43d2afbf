"""Faults of simulated exposures: bright limb, streaks, dim background, noise, lost lines.

Notes
-----
Bad exposures are common: 11 exposures of one dark-Earth programme were rejected by hand. Their strengths
are not documented. The values here exceed those of usable exposures, in which the lit limb at most doubles
the left 200 columns [DHB 7.10], streaks have 0.6 sigma, and the noise is 0.76 %.
"""

from dataclasses import dataclass

import numpy as np

from blobwatch.instrument import wfc3ir
from blobwatch.instrument.contaminants import SIGMA, add_line
from blobwatch.instrument.detector import pixel_grid

FAULTS = ("limb", "streaks", "dim", "noise", "lost")


@dataclass(frozen=True)
class Fault:
    """Fault of one simulated exposure.

    Attributes
    ----------
    light : ndarray, shape (1024, 1024), or 0.0, fraction of the background
        Added to the scene.
    dimming : float
        Factor of the background.
    noise : float
        Added per pixel, fraction of the background.
    lost : ndarray of bool, shape (1024, 1024), or False
        Pixels lost in transmission.
    """

    light: np.ndarray | float = 0.0
    dimming: float = 1.0
    noise: float = 0.0
    lost: np.ndarray | bool = False


def draw_fault(rng: np.random.Generator, kind: str) -> Fault:
    """Draw a fault of one of the kinds in ``FAULTS``."""
    if kind == "limb":
        return Fault(light=draw_limb(rng))
    if kind == "streaks":
        return Fault(light=draw_bright_streaks(rng))
    if kind == "dim":
        return Fault(dimming=float(rng.uniform(0.02, 0.4)))
    if kind == "noise":
        return Fault(noise=float(rng.uniform(0.006, 0.04)))
    return Fault(lost=draw_lost_lines(rng))


def draw_limb(rng: np.random.Generator) -> np.ndarray:
    """Draw the lit limb: several times the background at one edge."""
    y, x = pixel_grid()
    along = (x, wfc3ir.SIZE - 1 - x, y, wfc3ir.SIZE - 1 - y)[rng.integers(4)]
    reach = rng.uniform(250.0, 1000.0)  # pixels
    shown = np.broadcast_to(along, (wfc3ir.SIZE, wfc3ir.SIZE))
    return rng.uniform(1.5, 8.0) * np.clip(1.0 - shown / reach, 0.0, 1.0) ** 2


def draw_bright_streaks(rng: np.random.Generator) -> np.ndarray:
    """Draw many bright parallel streaks."""
    image = np.zeros((wfc3ir.SIZE, wfc3ir.SIZE))
    tilt = rng.uniform(-90.0, 90.0)
    for _ in range(int(rng.integers(40, 200))):
        x, y = rng.uniform(0, wfc3ir.SIZE, 2)
        strength = rng.uniform(2.0, 20.0) * SIGMA
        add_line(image, x, y, rng.uniform(200, 1000), tilt, rng.uniform(3, 6), strength)
    return image


def draw_lost_lines(rng: np.random.Generator) -> np.ndarray:
    """Draw the mask of lost pixels: runs of whole lines."""
    lost = np.zeros((wfc3ir.SIZE, wfc3ir.SIZE), dtype=bool)
    wanted = rng.uniform(0.12, 0.7)
    while lost.mean() < wanted:
        start = int(rng.integers(0, wfc3ir.SIZE))
        lost[start : start + int(rng.integers(10, 80))] = True
    return lost
