"""IR blobs: size as a function of position, shape (diamond or ring), and depth.

Notes
-----
All laws and ranges were measured for this project on real frames and on 27 real cutouts: half-width
``6.6 - 2.3 X - 2.2 Y`` px with scatter 0.9; mask radius ``8.41 - 2.06 X - 1.98 Y``; superelliptic shape
with exponent 1.25 (0.73-1.84), edge exponent 2-20, axis ratio 1.08; rings only at the lower left.
"""

import csv
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib import resources

import numpy as np

from blobwatch.instrument import wfc3ir
from blobwatch.instrument.contaminants import SIGMA

# Quantiles of the depth of 100 catalogued blobs in one real frame, as fractions of the background;
# the ends are the floor of the measurement and the deepest dimming reported (about 30 %).
DEPTH_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.8, 1.0)
DEPTHS = (0.008, 0.012, 0.016, 0.023, 0.042, 0.047, 0.30)
MATCH_MARGIN = 4.0  # pixels outside the radius of an old blob that still belong to it
OVERSAMPLE = 2  # samples along each side of a pixel


@dataclass(frozen=True)
class Blob:
    """Position, size, depth and shape of one blob.

    Attributes
    ----------
    x, y : float
        Centre, pixels of the 1024 frame.
    half_width : float
        Distance along x at which the profile has fallen to one half, pixels.
    depth : float
        Central dimming, fraction of the background.
    axis_ratio : float
        Half-width along y over that along x.
    exponent : float
        Exponent of the superellipse: 1 for a diamond, 2 for an ellipse.
    edge : float
        Steepness: 2 for a Gaussian fall, 20 for a flat top with a hard edge.
    hole : float
        Radius of the hole of a ring, fraction of the half-width; 0 where there is none.
    collar : float
        Strength of the surrounding ring of opposite sign (from a high-pass filter), fraction of the peak.
    """

    x: float
    y: float
    half_width: float
    depth: float
    axis_ratio: float = 1.08
    exponent: float = 1.25
    edge: float = 5.0
    hole: float = 0.0
    collar: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """Return the parameters as plain numbers."""
        return {field.name: float(getattr(self, field.name)) for field in fields(Blob)}

    def unit_shape(self) -> tuple[np.ndarray, int, int]:
        """Return the shape of the blob with a peak of 1, averaged over each pixel.

        Returns
        -------
        stamp : ndarray, shape (n, n), float64
            ``depth`` times this is the fraction of light that is lost.
        x0, y0 : int
            Pixel of the frame on which ``stamp[0, 0]`` falls; may lie outside.
        """
        return parametric_shape(replace(self, depth=1.0))


def half_width_at(x: float, y: float) -> float:
    """Return the mean half-width (pixels) at a position; the defocus grows to the lower left."""
    return 6.6 - 2.3 * wfc3ir.normalized(x) - 2.2 * wfc3ir.normalized(y)


def radius_at(x: float, y: float) -> float:
    """Return the radius (pixels) of the observatory's mask for a blob at a position."""
    return 8.41 - 2.06 * wfc3ir.normalized(x) - 1.98 * wfc3ir.normalized(y)


def draw_depth(rng: np.random.Generator) -> float:
    """Draw a depth (fraction of the background) from the measured distribution."""
    return float(np.exp(np.interp(rng.uniform(), DEPTH_QUANTILES, np.log(DEPTHS))))


def draw_blob(
    rng: np.random.Generator, x: float | None = None, y: float | None = None, depth: float | None = None
) -> Blob:
    """Draw a blob from the measured distributions; given values are kept.

    Parameters
    ----------
    rng : Generator
    x, y : float, optional
        Centre, pixels of the 1024 frame; else uniform over the light-sensitive pixels.
    depth : float, optional
        Central dimming, fraction of the background.
    """
    low, high = wfc3ir.BORDER, wfc3ir.SIZE - wfc3ir.BORDER - 1
    x = float(rng.uniform(low, high)) if x is None else x
    y = float(rng.uniform(low, high)) if y is None else y
    half_width = max(2.4, half_width_at(x, y) + rng.normal(0.0, 0.9))
    # Rings were observed only here. 95 % of the eligible blobs are rings, so that uniform positions give
    # 20 % rings; 7 of 27 real cutouts are rings (0.26 +- 0.08).
    eligible = x <= 480 and y <= 660 and half_width > 7.8
    ring = eligible and rng.uniform() < 0.95
    return Blob(
        x=x,
        y=y,
        half_width=half_width,
        depth=draw_depth(rng) if depth is None else depth,
        axis_ratio=float(rng.normal(1.08, 0.05)),
        exponent=float(rng.triangular(0.73, 1.25, 1.84)),
        edge=float(np.exp(rng.uniform(np.log(2.0), np.log(20.0)))),
        hole=float(rng.uniform(0.3, 0.5)) if ring else 0.0,
    )


@lru_cache(maxsize=64)
def parametric_shape(blob: Blob, oversample: int = OVERSAMPLE) -> tuple[np.ndarray, int, int]:
    """Return the shape of a parametric blob.

    It is cached because several steps use the same blob.
    """
    reach = 10.0 ** (1.0 / blob.edge)  # in half-widths; below 0.1 % outside
    reach = blob.half_width * max(1.0, blob.axis_ratio) * (max(reach, 3.0) if blob.collar else reach)
    radius = int(np.ceil(reach)) + 1
    x0, y0 = round(blob.x) - radius, round(blob.y) - radius
    side = 2 * radius + 1
    samples = (np.arange(side * oversample) + 0.5) / oversample - 0.5
    u = np.abs(x0 + samples - blob.x) / blob.half_width
    v = np.abs(y0 + samples - blob.y) / (blob.half_width * blob.axis_ratio)
    rho = (u[None, :] ** blob.exponent + v[:, None] ** blob.exponent) ** (1.0 / blob.exponent)
    profile = np.exp(-np.log(2.0) * np.minimum(rho, 8.0) ** blob.edge)
    if blob.hole:
        inside = np.hypot(u[None, :], v[:, None]) / blob.hole
        # A hole of half the depth with a dot in its middle.
        profile *= 1.0 - 0.5 * np.exp(-np.log(2.0) * np.minimum(inside, 4.0) ** 4) * (
            1.0 - np.exp(-((inside / 0.4) ** 2))
        )
    if blob.collar:  # strongest at 1.7 half-widths, gone at 3
        profile -= blob.collar * np.exp(-(((rho - 1.7) / 0.5) ** 2))
    stamp = profile.reshape(side, oversample, side, oversample).mean(axis=(1, 3))
    stamp.setflags(write=False)
    return stamp, x0, y0


def overlap(
    stamp: np.ndarray, x0: int, y0: int, image_shape: tuple[int, int]
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the region of an image that a stamp covers, and the part of the stamp inside it."""
    height, width = image_shape
    bottom, left = max(0, y0), max(0, x0)
    top, right = min(height, y0 + stamp.shape[0]), min(width, x0 + stamp.shape[1])
    top, right = max(top, bottom), max(right, left)
    return (slice(bottom, top), slice(left, right)), stamp[bottom - y0 : top - y0, left - x0 : right - x0]


def transmission(blobs: list[Blob]) -> np.ndarray:
    """Return the fraction of light that passes all ``blobs``; shadows multiply.

    Returns
    -------
    ndarray, shape (1024, 1024), float64, 0 to 1
    """
    passed = np.ones((wfc3ir.SIZE, wfc3ir.SIZE))
    for blob in blobs:
        region, part = overlap(*blob.unit_shape(), passed.shape)
        passed[region] *= 1.0 - blob.depth * part
    return passed


def blob_snr(blob: Blob, noise: float) -> float:
    """Return the SNR of an amplitude.

    It is the amplitude of the unit-norm shape divided by the noise per pixel, in the same unit.
    """
    stamp, _, _ = blob.unit_shape()
    return float(blob.depth * np.sqrt((stamp**2).sum()) / noise)


def depth_at_snr(blob: Blob, snr: float, noise: float) -> float:
    """Return the depth at which a blob of this shape has a given SNR."""
    stamp, _, _ = blob.unit_shape()
    return float(snr * noise / np.sqrt((stamp**2).sum()))


@lru_cache(maxsize=1)
def read_old_blobs() -> np.ndarray:
    """Return the measured old blobs, shape (108, 3): x, y in pixels, depth as a fraction of the background.

    Notes
    -----
    From the table ``instrument/data/old_blobs.csv``, measured for this project in a real median stack;
    position error about 2 px.
    """
    text = resources.files("blobwatch.instrument").joinpath("data/old_blobs.csv").read_text()
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return np.array([[float(row["x"]), float(row["y"]), float(row["depth_percent"]) / 100] for row in rows])


def draw_old_blobs(rng: np.random.Generator) -> list[Blob]:
    """Return the real old blobs at their measured positions; their shapes are drawn."""
    return [draw_blob(rng, x, y, depth) for x, y, depth in read_old_blobs().tolist()]


def old_snr_at(x: float, y: float) -> float:
    """Return the SNR that an old blob would have as a new one; 0 without an old blob.

    The noise is that of a usual difference image, `SIGMA`. A position up to `MATCH_MARGIN` pixels outside the
    radius of an old blob belongs to it.
    """
    table = read_old_blobs()
    near = np.hypot(table[:, 0] - x, table[:, 1] - y) <= radius_at(x, y) + MATCH_MARGIN
    light = table[near, 2].max(initial=0.0) * np.sqrt(np.pi) * half_width_at(x, y)
    return float(light / SIGMA)
