"""Quality of an exposure, measured in the exposure and in its difference from recent ones.

Streaks, sources, banding and the noise are measured in the difference from the median of recent exposures.
Patterns that are the same in all exposures, such as errors of a flat, cancel there.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from blobwatch.images.flatten import cut_boxes, median_without_nan
from blobwatch.images.scaling import robust_deviation
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.exposures import Exposure

BLOCK = 4  # pixels; side of the blocks that detect light; a streak is 2-3 px wide
STRIP, FIRST = 16, 6  # the difference is measured on rows FIRST to FIRST + BLOCK of every STRIP rows
STREAK = 4.0  # sigma of a block median above which a block is lit
SOURCE = 3.0  # sigma per pixel
SOURCE_PIXELS = 4  # bright pixels of a block with a source; a cosmic ray or bad pixels have fewer
EDGE = 12  # pixels at the edges of the frame that differ from the rest [measured: 10-12]
MIN_REFERENCES = 3  # the median of fewer is not robust against one bad exposure


@dataclass(frozen=True)
class Quality:
    """Measures of one exposure; NaN where a measure is unknown.

    Attributes
    ----------
    light : float
        Median signal, electrons per pixel.
    gradient : float
        Brightest minus faintest part of the large-scale glow, over its median.
    flagged, saturated : float
        Share of the light-sensitive pixels that are unusable, and that are saturated.
    exptime : float
        Seconds.
    noise : float
        Noise per pixel of the exposure, fraction of the background.
    residual : float
        Noise per pixel of the difference from recent exposures, fraction of the background.
    excess : float
        ``residual`` over the noise of photons and reads.
    streaks : float
        Share of 4 x 4 blocks whose median is significantly above the background.
    sources : float
        Share of 4 x 4 blocks that contain a compact source.
    banding : float
        Scatter of the medians of rows or columns in excess of noise, in units of the noise per pixel.
    """

    light: float = np.nan
    gradient: float = np.nan
    flagged: float = np.nan
    saturated: float = np.nan
    exptime: float = np.nan
    noise: float = np.nan
    residual: float = np.nan
    excess: float = np.nan
    streaks: float = np.nan
    sources: float = np.nan
    banding: float = np.nan

    def as_dict(self) -> dict[str, float]:
        """Return the measures by name."""
        return asdict(self)


MEASURES = tuple(one.name for one in fields(Quality))


def measure_exposure(exposure: Exposure, image: np.ndarray, box: int = 64) -> Quality:
    """Measure an exposure without references.

    Parameters
    ----------
    exposure : Exposure
    image : ndarray, shape (1024, 1024), float32, fraction of the glow
        Its blob image.
    box : int
        Side of the boxes whose medians define the glow, pixels.
    """
    inner = slice(wfc3ir.BORDER, -wfc3ir.BORDER)
    finite = np.isfinite(exposure.image)
    usable = finite & (exposure.dq & wfc3ir.DQ_UNUSABLE == 0)
    saturated = exposure.dq & wfc3ir.DQ_SATURATED != 0
    sample = 4  # every fourth pixel of a row and of a column suffices for the glow
    # Without usable pixels the light still distinguishes saturated from blank exposures.
    shown = np.where(usable if usable.any() else finite, exposure.image, np.nan)[::sample, ::sample]
    glow = median_without_nan(cut_boxes(shown, box // sample))
    glow = glow[np.isfinite(glow)]
    level = float(np.median(glow)) if glow.size else np.nan
    return Quality(
        light=level * exposure.exptime * exposure.gain,
        gradient=float((glow.max() - glow.min()) / level) if glow.size and level > 0 else np.nan,
        flagged=float(1.0 - usable[inner, inner].mean()),
        saturated=float(saturated[inner, inner].mean()),
        exptime=exposure.exptime,
        noise=float(pixel_noise(image[::4])),
    )


def measure_difference(
    quality: Quality, image: np.ndarray, references: Sequence[np.ndarray], lights: Sequence[float]
) -> Quality:
    """Add the measures of the difference from recent exposures.

    Parameters
    ----------
    quality : Quality
        As `measure_exposure` returns it.
    image : ndarray, shape (1024, 1024), float32, fraction of the glow
    references : sequence of ndarray, the same shape
        Blob images of recent comparable exposures, at least `MIN_REFERENCES`; otherwise nothing is added.
    lights : sequence of float
        Their median signals, electrons per pixel.
    """
    if len(references) < MIN_REFERENCES:
        return quality
    reference = median_without_nan(np.stack([sample_strips(one) for one in references], axis=-1))
    excess_light = sample_strips(image) - reference
    noise = float(pixel_noise(excess_light))
    if not noise > 0:
        return quality
    medians, error = block_medians(excess_light, noise)
    bright = (cut_boxes(excess_light, BLOCK) > np.nanmedian(excess_light) + SOURCE * noise).sum(axis=-1)
    spread = np.pi / (2 * (len(lights) - 1) + np.pi)  # variance of a median over that of one value
    variance = spread * np.median([expected_noise(one) ** 2 for one in lights])
    expected = np.sqrt(expected_noise(quality.light) ** 2 + variance)
    return replace(
        quality,
        residual=noise,
        excess=float(noise / expected),
        streaks=float((medians > np.median(medians) + STREAK * error).mean()),
        sources=float((bright >= SOURCE_PIXELS).mean()),
        banding=measure_banding(excess_light, noise),
    )


def sample_strips(image: np.ndarray) -> np.ndarray:
    """Return a quarter of the rows, in strips of `BLOCK`: shape (256, 1024)."""
    strips = image.reshape(-1, STRIP, image.shape[1])[:, FIRST : FIRST + BLOCK]
    return strips.reshape(-1, image.shape[1])


def pixel_noise(image: np.ndarray) -> float:
    """Return the noise per pixel from steps between neighbours, which exclude structure."""
    steps = image[:, 1:] - image[:, :-1]
    steps = steps[np.isfinite(steps)]
    return robust_deviation(steps) / np.sqrt(2.0) if steps.size else np.nan


def expected_noise(electrons: float) -> float:
    """Return the noise of photons and reads, fraction of the background."""
    if not electrons > 0:
        return np.nan
    return float(np.sqrt(electrons + wfc3ir.READ_NOISE**2) / electrons)


def block_medians(image: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """Return the finite medians of 4 x 4 blocks, and their error in Gaussian noise."""
    medians = median_without_nan(cut_boxes(image, BLOCK))
    return medians[np.isfinite(medians)], 1.2533 * noise / BLOCK


def measure_banding(excess_light: np.ndarray, noise: float) -> float:
    """Return the scatter of the medians of rows or columns in excess of noise, in sigma."""
    light = excess_light[:, EDGE:-EDGE]
    half = light.shape[1] // 2  # the amplifiers read halves of a row
    scatters = []
    for lines in (light[:, :half], light[:, half:], light.T):
        medians = median_without_nan(lines)
        medians = medians[np.isfinite(medians)] / noise
        # Robust, since scattered light at the edge of the frame leaves a residual in some columns.
        scatter = robust_deviation(medians - np.median(medians)) if medians.size else np.nan
        scatters.append(np.sqrt(max(0.0, scatter**2 - np.pi / 2 / lines.shape[1])))
    return float(max(scatters))
