"""Putting blobs into cuts of real or simulated difference images."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from blobwatch.dataset.shapes import draw_lobed
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import Blob, depth_for, draw_blob, half_width_at, overlap, shape
from blobwatch.instrument.templates import Template, TemplateBlob

MIN_SEPARATION = 14.0  # pixels between the centres of injected blobs: their edges may touch
LOBED = 0.6  # share of the shapes far wider than measured that have lobes, any orientation or both
MAX_DEPTH = 0.6  # fraction of the background

Draw = Callable[[np.random.Generator, float, float], Blob]


def inject_blob(cut: np.ndarray, light: np.ndarray, blob: Blob, x0: int, y0: int) -> None:
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


def draw_measured_blob(rng: np.random.Generator, x: float, y: float) -> Blob:
    """Draw a blob of the shapes that were measured; its depth means nothing yet."""
    return draw_blob(rng, x, y, depth=0.01)


def draw_wide_blob(rng: np.random.Generator, x: float, y: float) -> Blob:
    """Draw a blob of shapes far wider than those measured, so that a network learns what a blob is.

    Notes
    -----
    Half of the sizes keep to the law of the place with twice its scatter, half to none, between the FWHM of
    4.8 and 25 px that were measured. Ranges of the rest enclose the measured ones: exponent 0.73-1.84, edge
    2-20, axis ratio 1.08 +- 0.05, holes only at the lower left, collars of about 0.1 of the peak.
    """
    if rng.uniform() < LOBED:
        return draw_lobed(rng, x, y)
    if rng.uniform() < 0.5:
        half_width = float(np.clip(half_width_at(x, y) + rng.normal(0.0, 1.8), 2.2, 13.0))
    else:
        half_width = draw_log_uniform(rng, 2.2, 13.0)
    ring = half_width > 4.0 and rng.uniform() < 0.2
    return Blob(
        x=x,
        y=y,
        half_width=half_width,
        depth=0.01,
        axis_ratio=float(np.exp(np.clip(rng.normal(0.05, 0.15), -0.4, 0.5))),
        exponent=float(rng.uniform(0.7, 2.5)),
        edge=draw_log_uniform(rng, 1.6, 25.0),
        hole=float(rng.uniform(0.25, 0.6)) if ring else 0.0,
        collar=float(rng.uniform(0.0, 0.2)) if rng.uniform() < 0.4 else 0.0,
    )


def mix_in_templates(draw: Draw, templates: list[Template], share: float) -> Draw:
    """Return how to draw a blob that has, in a share of the cases, the shape of a template.

    A template must be of the size that its place asks for. It is shown mirrored too: no side is special.
    """

    def drawn(rng: np.random.Generator, x: float, y: float) -> Blob:
        fitting = [one for one in templates if one.fits(x, y)]
        if not fitting or rng.uniform() >= share:
            return draw(rng, x, y)
        chosen = fitting[int(rng.integers(len(fitting)))]
        down, left = (-1 if rng.integers(2) else 1 for _ in range(2))
        mirrored = replace(chosen, profile=chosen.profile[::down, ::left])
        return TemplateBlob(x=x, y=y, half_width=chosen.half_width, depth=0.01, template=mirrored)

    return drawn if templates and share else draw


def draw_log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_blob_to_inject(
    rng: np.random.Generator,
    size: int,
    x0: int,
    y0: int,
    taken: list[Blob],
    snr: tuple[float, float],
    noise: float,
    draw: Draw = draw_measured_blob,
    margin: float = 0.0,
) -> Blob | None:
    """Draw a blob of a log-uniform SNR inside a cut, apart from those already there.

    Its centre keeps ``margin`` pixels from the cut's edges, but for those that are the frame's. Returns None
    where twenty tries found no room.
    """
    spans = [
        (start + margin * (start > 0), start + size - 1 - margin * (start + size < wfc3ir.SIZE))
        for start in (x0, y0)
    ]
    for _ in range(20):
        x, y = (float(rng.uniform(*span)) for span in spans)
        if all(np.hypot(x - other.x, y - other.y) >= MIN_SEPARATION for other in taken):
            blob = draw(rng, x, y)
            # The square puts more than half of them where a blob is just found or missed.
            wanted = snr[0] * (snr[1] / snr[0]) ** (rng.uniform() ** 1.5)
            return replace(blob, depth=min(MAX_DEPTH, depth_for(blob, wanted, noise)))
    return None
