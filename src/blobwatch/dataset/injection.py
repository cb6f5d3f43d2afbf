"""Injection of blobs into real or simulated difference images, and random blob shapes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from blobwatch.dataset.lobed_shapes import draw_lobed
from blobwatch.images.tiling import Tile
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import Blob, depth_at_snr, draw_blob, half_width_at, overlap
from blobwatch.instrument.templates import Template, TemplateBlob

MIN_SEPARATION = 14.0  # pixels between the centres of injected blobs; edges may touch
LOBED = 0.6  # share of the wide shapes that have lobes
MAX_DEPTH = 0.6  # fraction of the background

BlobSampler = Callable[[np.random.Generator, float, float], Blob]


def inject_blob(cut: np.ndarray, light: np.ndarray, blob: Blob, x0: int, y0: int) -> None:
    """Inject a new blob into a difference image in place, as lost light.

    Parameters
    ----------
    cut : ndarray, shape (ny, nx), fraction of the background
        Stack minus exposure.
    light : ndarray, shape (ny, nx), fraction of the background
        The exposure's blob image, which the blob attenuates.
    blob : Blob
        In pixels of the frame.
    x0, y0 : int
        Frame position of ``cut[0, 0]``.
    """
    stamp, left, bottom = blob.unit_shape()
    region, part = overlap(stamp, left - x0, bottom - y0, cut.shape)
    cut[region] += blob.depth * part * light[region]


def draw_measured_blob(rng: np.random.Generator, x: float, y: float) -> Blob:
    """Draw a blob with a measured shape and a placeholder depth."""
    return draw_blob(rng, x, y, depth=0.01)


def draw_wide_blob(rng: np.random.Generator, x: float, y: float) -> Blob:
    """Draw a blob with a shape from ranges far wider than measured.

    Notes
    -----
    Half of the sizes follow the measured size at the position with twice its scatter. The other half is
    independent of the position. The measured FWHM is 4.8-25 px. The other ranges enclose the measured ones:
    exponent 0.73-1.84, edge 2-20, axis ratio 1.08 +- 0.05, holes only at the lower left, collars of about 0.1
    of the peak.
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


def mix_in_templates(sampler: BlobSampler, templates: list[Template], share: float) -> BlobSampler:
    """Return a sampler that uses template shapes for a share of the blobs.

    Only templates whose size fits the position are used. They are mirrored at random.
    """

    def draw(rng: np.random.Generator, x: float, y: float) -> Blob:
        fitting = [template for template in templates if template.fits(x, y)]
        if not fitting or rng.uniform() >= share:
            return sampler(rng, x, y)
        chosen = fitting[int(rng.integers(len(fitting)))]
        down, left = (-1 if rng.integers(2) else 1 for _ in range(2))
        mirrored = replace(chosen, profile=chosen.profile[::down, ::left])
        return TemplateBlob(x=x, y=y, half_width=chosen.half_width, depth=0.01, template=mirrored)

    return draw if templates and share else sampler


def draw_log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a log-uniform number."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_sign(rng: np.random.Generator, negative: float = 0.7) -> float:
    """Return -1 with probability ``negative``, else 1."""
    return -1.0 if rng.uniform() < negative else 1.0


def draw_blob_to_inject(
    rng: np.random.Generator,
    tile: Tile,
    taken: list[Blob],
    snr: tuple[float, float],
    noise: float,
    sampler: BlobSampler = draw_measured_blob,
    margin: float = 0.0,
) -> Blob | None:
    """Draw a blob at a free position inside a subframe.

    The centre is at least ``margin`` pixels inside the subframe, except at the edges of the frame, and
    `MIN_SEPARATION` from the blobs in ``taken``. Return None if 20 attempts find no free position.
    """
    spans = [
        (start + margin * (start > 0), start + tile.size - 1 - margin * (start + tile.size < wfc3ir.SIZE))
        for start in (tile.x0, tile.y0)
    ]
    for _ in range(20):
        x, y = (float(rng.uniform(*span)) for span in spans)
        if all(np.hypot(x - other.x, y - other.y) >= MIN_SEPARATION for other in taken):
            blob = sampler(rng, x, y)
            # The power of 1.5 puts more than half of the blobs near the detection limit.
            target = snr[0] * (snr[1] / snr[0]) ** (rng.uniform() ** 1.5)
            return replace(blob, depth=min(MAX_DEPTH, depth_at_snr(blob, target, noise)))
    return None
