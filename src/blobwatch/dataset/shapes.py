"""Irregular blob shapes for training: several lobes, rings, any orientation, soft and hard edges."""

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from blobwatch.instrument.blobs import OVERSAMPLE, Blob

FADED = 0.002  # of the peak: below it a shape is cut off
LARGE_SHARE = 0.6  # of half-width 4-14 px, uniform; the others 2.2-8 px, log-uniform
MOST = 48  # pixels; the largest radius of a stamp


@dataclass(frozen=True)
class Lobe:
    """A rotated superellipse with a hole where ``hole`` is not 0.

    Centre and half-width are in pixels, the angle in radians, the edge as in `Blob`. The radius of the hole
    is a fraction of the half-width, its depth a fraction of the light there, and the dot is the share of the
    middle of the hole that is filled.
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
    """A blob made of lobes, centred on its light; its half-width is that of a single lobe."""

    lobes: tuple[Lobe, ...] = field(default=(), kw_only=True)

    def unit_shape(self) -> tuple[np.ndarray, int, int]:
        """Return the sum of the lobes, of unit peak, averaged over each pixel."""
        return render_lobes(replace(self, depth=1.0))


@lru_cache(maxsize=64)
def render_lobes(blob: LobedBlob) -> tuple[np.ndarray, int, int]:
    """Return the shape of a blob; cached, since drawing, measuring and injecting a blob all ask for it."""
    reach = max(
        np.hypot(one.x, one.y) + one.half_width * max(1, one.axis_ratio) * 9.0 ** (1 / one.edge)
        for one in blob.lobes
    )
    radius = int(np.ceil(min(reach, MOST))) + 1
    x0, y0 = round(blob.x) - radius, round(blob.y) - radius
    side = 2 * radius + 1
    samples = (np.arange(side * OVERSAMPLE) + 0.5) / OVERSAMPLE - 0.5
    u, v = (x0 + samples - blob.x)[None, :], (y0 + samples - blob.y)[:, None]
    light = sum(profile(one, u, v) for one in blob.lobes)
    stamp = light.reshape(side, OVERSAMPLE, side, OVERSAMPLE).mean(axis=(1, 3))
    stamp /= stamp.max()
    stamp[stamp < FADED] = 0.0
    stamp.setflags(write=False)
    return stamp, x0, y0


def profile(lobe: Lobe, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the light of a lobe at offsets from the centre of its blob."""
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
    """Draw a blob of one to three lobes at a place; its depth means nothing yet.

    Notes
    -----
    Ranges enclose those measured on 27 real blobs (FWHM 4.8-25 px, a quarter of them rings). Most are large:
    shapes of low surface brightness are the hardest to learn.
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
    return centred(LobedBlob(x=x, y=y, half_width=size, depth=0.01, lobes=tuple(lobes)))


def centred(blob: LobedBlob) -> LobedBlob:
    """Return a blob whose lobes are moved so that the centre of light is its centre."""
    stamp, x0, y0 = blob.unit_shape()
    v, u = np.indices(stamp.shape)
    dx, dy = ((stamp * u).sum() / stamp.sum() + x0 - blob.x, (stamp * v).sum() / stamp.sum() + y0 - blob.y)
    return replace(blob, lobes=tuple(replace(one, x=one.x - dx, y=one.y - dy) for one in blob.lobes))


def rescale_blob(blob: Blob, ratio: float) -> Blob:
    """Return a blob of the same shape whose size is multiplied by ``ratio``."""
    larger = replace(blob, half_width=blob.half_width * ratio)
    if not isinstance(blob, LobedBlob):
        return larger
    lobes = (
        replace(one, x=one.x * ratio, y=one.y * ratio, half_width=one.half_width * ratio)
        for one in blob.lobes
    )
    return replace(larger, lobes=tuple(lobes))
