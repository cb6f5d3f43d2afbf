"""Irregular blob shapes for training: lobes and rings of any orientation and edge."""

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from blobwatch.instrument.blobs import OVERSAMPLE, Blob

CUTOFF = 0.002  # fraction of the peak; fainter pixels are set to zero
LARGE_SHARE = 0.6  # of the blobs: half-width 4-14 px, uniform; others 2.2-8 px, log-uniform
MAX_STAMP_RADIUS = 48  # pixels


@dataclass(frozen=True)
class Lobe:
    """A rotated superellipse, with a hole if ``hole`` is not 0.

    Centre and half-width are in pixels, the angle is in radians, the edge is defined as in `Blob`. ``hole``
    is the radius of the hole as a fraction of the half-width. ``hole_depth`` is a fraction of the local
    light. ``dot`` is the filled share of the hole's centre.
    """

    x: float
    y: float
    half_width: float
    axis_ratio: float
    angle: float
    exponent: float
    edge: float
    weight: float
    hole: float = 0.0
    hole_depth: float = 0.6
    dot: float = 0.0


@dataclass(frozen=True)
class LobedBlob(Blob):
    """A blob made of lobes, centred on its light. Its half-width describes a single lobe."""

    lobes: tuple[Lobe, ...] = field(default=(), kw_only=True)

    def unit_shape(self) -> tuple[np.ndarray, int, int]:
        """Return the pixel-averaged sum of the lobes with unit peak."""
        return render_lobes(replace(self, depth=1.0))


@lru_cache(maxsize=64)
def render_lobes(blob: LobedBlob) -> tuple[np.ndarray, int, int]:
    """Return the shape of a blob; cached, since it is needed several times per blob."""
    reach = max(
        np.hypot(lobe.x, lobe.y) + lobe.half_width * max(1, lobe.axis_ratio) * 9.0 ** (1 / lobe.edge)
        for lobe in blob.lobes
    )
    radius = int(np.ceil(min(reach, MAX_STAMP_RADIUS))) + 1
    x0, y0 = round(blob.x) - radius, round(blob.y) - radius
    side = 2 * radius + 1
    samples = (np.arange(side * OVERSAMPLE) + 0.5) / OVERSAMPLE - 0.5
    u, v = (x0 + samples - blob.x)[None, :], (y0 + samples - blob.y)[:, None]
    light = np.sum([lobe_profile(lobe, u, v) for lobe in blob.lobes], axis=0)
    stamp = light.reshape(side, OVERSAMPLE, side, OVERSAMPLE).mean(axis=(1, 3))
    stamp /= stamp.max()
    stamp[stamp < CUTOFF] = 0.0
    stamp.setflags(write=False)
    return stamp, x0, y0


def lobe_profile(lobe: Lobe, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the light of a lobe at offsets from the blob's centre."""
    cos, sin = np.cos(lobe.angle), np.sin(lobe.angle)
    along = np.abs((u - lobe.x) * cos + (v - lobe.y) * sin) / lobe.half_width
    across = np.abs((v - lobe.y) * cos - (u - lobe.x) * sin) / (lobe.half_width * lobe.axis_ratio)
    rho = (along**lobe.exponent + across**lobe.exponent) ** (1 / lobe.exponent)
    light = lobe.weight * np.exp(-np.log(2.0) * np.minimum(rho, 8.0) ** lobe.edge)
    if lobe.hole:
        inside = np.minimum(np.hypot(along, across) / lobe.hole, 4.0)
        dot = lobe.dot * np.exp(-((2.0 * inside) ** 2))
        light *= 1.0 - lobe.hole_depth * np.exp(-np.log(2.0) * inside**4) * (1.0 - dot)
    return light


def draw_lobed(rng: np.random.Generator, x: float, y: float) -> LobedBlob:
    """Draw a blob of one to three lobes with a placeholder depth.

    Notes
    -----
    The ranges enclose those measured on 27 real blobs (FWHM 4.8-25 px, a quarter of them rings). Most blobs
    are large, because shapes of low surface brightness are the hardest to learn.
    """
    large = rng.uniform() < LARGE_SHARE
    size = float(rng.uniform(4.0, 14.0) if large else np.exp(rng.uniform(np.log(2.2), np.log(8.0))))
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    edge = float(np.exp(rng.uniform(np.log(1.6), np.log(20.0))))
    lobes = []
    for number in range(count):
        apart, direction = size * rng.uniform(0.3, 1.5) * (number > 0), rng.uniform(0, 2 * np.pi)
        half_width = size if count == 1 else size * rng.uniform(0.5, 0.85)
        lobes.append(
            Lobe(
                x=apart * np.cos(direction),
                y=apart * np.sin(direction),
                half_width=max(1.8, half_width),
                axis_ratio=float(np.exp(np.clip(rng.normal(0.0, 0.22), -0.6, 0.6))),
                angle=rng.uniform(0, np.pi),
                exponent=rng.uniform(0.8, 2.5),
                edge=edge,
                weight=rng.uniform(0.5, 1.0),
                hole=rng.uniform(0.25, 0.7) if half_width > 4 and rng.uniform() < 0.35 else 0.0,
                hole_depth=rng.uniform(0.4, 0.95),
                dot=rng.uniform(0.0, 1.0) * (rng.uniform() < 0.5),
            )
        )
    return centre_lobes(LobedBlob(x=x, y=y, half_width=size, depth=0.01, lobes=tuple(lobes)))


def centre_lobes(blob: LobedBlob) -> LobedBlob:
    """Shift the lobes so that the centre of light is the blob's centre."""
    stamp, x0, y0 = blob.unit_shape()
    v, u = np.indices(stamp.shape)
    dx, dy = ((stamp * u).sum() / stamp.sum() + x0 - blob.x, (stamp * v).sum() / stamp.sum() + y0 - blob.y)
    return replace(blob, lobes=tuple(replace(lobe, x=lobe.x - dx, y=lobe.y - dy) for lobe in blob.lobes))


def rescale_blob(blob: Blob, ratio: float) -> Blob:
    """Return a blob of the same shape with its size multiplied by ``ratio``."""
    half_width = blob.half_width * ratio
    if not isinstance(blob, LobedBlob):
        return replace(blob, half_width=half_width)
    lobes = (
        replace(lobe, x=lobe.x * ratio, y=lobe.y * ratio, half_width=lobe.half_width * ratio)
        for lobe in blob.lobes
    )
    return replace(blob, half_width=half_width, lobes=tuple(lobes))
