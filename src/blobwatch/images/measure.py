"""What is measured at a blob's place: radius, SNR and depth, by fitting the amplitude of its shape."""

from dataclasses import dataclass

import numpy as np

from blobwatch.instrument.blobs import Blob, half_width_at, overlap, radius_at, shape

TRIALS = (0.6, 0.75, 0.9, 1.0, 1.15, 1.3, 1.5)  # half-widths, in units of the one expected at the place


@dataclass(frozen=True)
class Measured:
    """Radius in pixels, SNR as amplitude of the unit-norm shape over the noise, depth in the image's unit."""

    radius: float
    snr: float
    depth: float


def measure(image: np.ndarray, x: float, y: float, level: float, noise: float) -> Measured:
    """Fit the amplitude of blob shapes of several sizes at a place, and keep the best.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), new blob positive
        NaN is left out.
    x, y : float
        Pixels.
    level, noise : float
        Of the frame, in its unit.

    Notes
    -----
    The shape is the typical one (flat-topped diamond); its expected size is set by the place. The radius
    is the observatory's mask radius for that place, scaled as the half-width is.
    """
    best = Measured(radius_at(x, y), 0.0, 0.0)
    for trial in TRIALS:
        blob = Blob(x, y, max(1.5, trial * half_width_at(x, y)), 1.0)
        stamp, x0, y0 = shape(blob)
        region, part = overlap(stamp, x0, y0, image.shape)
        values = image[region].astype(np.float64) - level
        known = np.isfinite(values)
        power = float((part[known] ** 2).sum())
        if power <= 0:
            continue
        depth = float((part[known] * values[known]).sum() / power)
        snr = depth * np.sqrt(power) / noise
        if snr > best.snr:
            best = Measured(trial * radius_at(x, y), float(snr), depth)
    return best
