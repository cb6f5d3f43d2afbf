"""Putting blobs and contaminants into cuts of real or simulated difference images."""

import numpy as np

from blobwatch.instrument.blobs import Blob, depth_for, draw_blob, overlap, shape
from blobwatch.instrument.contaminants import SIGMA, streaks, triplets

SEPARATION = 20.0  # pixels between the centres of injected blobs, so that each keeps its own place


def inject(cut: np.ndarray, light: np.ndarray, blob: Blob, x0: int, y0: int) -> None:
    """Add a new blob to a cut of a difference image, in place, as the light that it takes away.

    Parameters
    ----------
    cut : ndarray, shape (ny, nx), fraction of the background
        Stack minus exposure.
    light : ndarray, shape (ny, nx), fraction of the background
        The exposure's blob image: the light there is to lose.
    blob : Blob
        In pixels of the frame.
    x0, y0 : int
        Frame position of ``cut[0, 0]``.
    """
    stamp, left, bottom = shape(blob)
    region, part = overlap(stamp, left - x0, bottom - y0, cut.shape)
    cut[region] += blob.depth * part * light[region]


def draw_injected(
    rng: np.random.Generator,
    size: int,
    x0: int,
    y0: int,
    taken: list[Blob],
    snr: tuple[float, float],
    noise: float,
) -> Blob | None:
    """Draw a blob of a uniform SNR inside a cut, apart from those already there.

    Returns None where twenty tries found no room.
    """
    for _ in range(20):
        x, y = (float(start + rng.uniform(0, size - 1)) for start in (x0, y0))
        if all(np.hypot(x - other.x, y - other.y) >= SEPARATION for other in taken):
            blob = draw_blob(rng, x, y, depth=0.01)
            depth = min(0.6, depth_for(blob, float(rng.uniform(*snr)), noise))
            return Blob(**(blob.as_dict() | {"depth": depth}))
    return None


def contaminate(rng: np.random.Generator, cut: np.ndarray, noise: float, x0: int, y0: int) -> str:
    """Add one kind of contaminant to a cut in place, and return its name.

    Parameters
    ----------
    rng : Generator
    cut : ndarray, shape (ny, nx), fraction of the background
        Excess light is negative.
    noise : float
        Per pixel, fraction of the background.
    x0, y0 : int
        Frame position of ``cut[0, 0]``.
    """
    kind = str(rng.choice(["streaks", "triplets", "bad pixels", "residuals"], p=[0.2, 0.15, 0.35, 0.3]))
    if kind == "streaks":
        # One streak can survive in a stack, where it is positive in the difference.
        sign = 1.0 if rng.uniform() < 0.3 else -1.0
        cut += sign * noise / SIGMA * rng.uniform(0.7, 3.0) * streaks(rng, cut.shape, int(rng.integers(1, 6)))
    elif kind == "triplets":
        sign = 1.0 if rng.uniform() < 0.3 else -1.0
        cut += sign * noise / SIGMA * rng.uniform(0.7, 2.0) * triplets(rng, cut.shape)
    elif kind == "bad pixels":
        for _ in range(int(rng.integers(2, 12))):
            bad_cluster(rng, cut, noise)
    else:
        for _ in range(int(rng.integers(1, 5))):
            residual(rng, cut, noise, x0, y0)
    return kind


def bad_cluster(rng: np.random.Generator, cut: np.ndarray, noise: float) -> None:
    """Set a hard-edged cluster of one to four pixels to a value of either sign."""
    height, width = rng.integers(1, 4), rng.integers(1, 3)
    y, x = rng.integers(0, cut.shape[0] - 3), rng.integers(0, cut.shape[1] - 3)
    sign = 1.0 if rng.uniform() < 0.7 else -1.0
    cut[y : y + height, x : x + width] += sign * noise * np.exp(rng.uniform(np.log(3.0), np.log(60.0)))


def residual(rng: np.random.Generator, cut: np.ndarray, noise: float, x0: int, y0: int) -> None:
    """Add what an old blob leaves behind: two shapes a little apart, of nearly equal strength.

    A few per cent of the old blob's depth remain, as a dipole or a ring; the sum is near zero.
    """
    x, y = x0 + rng.uniform(0, cut.shape[1]), y0 + rng.uniform(0, cut.shape[0])
    blob = draw_blob(rng, x, y, depth=float(noise * rng.uniform(1.0, 8.0)))
    shift, angle = rng.uniform(0.03, 0.35), rng.uniform(0, 2 * np.pi)
    moved = Blob(
        **(
            blob.as_dict()
            | {
                "x": x + shift * np.cos(angle),
                "y": y + shift * np.sin(angle),
                "half_width": blob.half_width * rng.uniform(0.97, 1.03),
            }
        )
    )
    ones = np.ones_like(cut)
    inject(cut, ones, blob, x0, y0)
    inject(cut, -ones, moved, x0, y0)
