"""Quality of an exposure, judged relative to the recent season.

An exposure is unusable where that is physically plain: no light, saturation, too many flagged pixels,
another target. Beyond that, each measure is compared with its robust location and scatter over the
comparable exposures before it. While these are few, a prior from the facts of the instrument counts as
`PRIOR_WEIGHT` exposures.

Streaks, sources, banding and the noise are measured in the difference from the median of recent exposures.
A pattern that is the same in each exposure, such as the error of a flat, cancels there and does not count.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from blobwatch.images.blobimage import median_without_nan
from blobwatch.images.scaling import deviation
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.exposures import Exposure
from blobwatch.settings import QualitySettings

BLOCK = 4  # pixels on a side of the blocks that detect light; a streak is 2-3 px wide
STRIP, FIRST = 16, 6  # the difference is measured on rows FIRST to FIRST + BLOCK of every STRIP rows
STREAK = 4.0  # sigma of a block median above which a block is lit
SOURCE = 3.0  # sigma per pixel
SOURCE_PIXELS = 4  # of a block that must be as bright; a cosmic ray or a pair of bad pixels has fewer
EDGE = 12  # pixels at the edges of the frame that differ from the rest [measured: 10-12]
MIN_REFERENCES = 3  # the median of fewer is not robust against one bad exposure
PRIOR_WEIGHT = 3.0  # exposures
SUSPECT_BATCH = 6  # smallest batch whose share of rejected exposures means something


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
        Noise per pixel of the exposure alone, fraction of the background.
    residual : float
        Noise per pixel of the difference from recent exposures, fraction of the background.
    excess : float
        ``residual`` over what photons and reads contribute.
    streaks : float
        Share of 4 x 4 blocks whose median lies above the background by more than noise explains.
    sources : float
        Share of 4 x 4 blocks that contain a compact source.
    banding : float
        Scatter of the medians of rows or columns beyond what noise explains, in units of the noise per pixel.
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


@dataclass(frozen=True)
class Prior:
    """Expected distribution of one measure where no season is known yet.

    Attributes
    ----------
    label : str
        Name in messages.
    location, scatter : float
        Of the measure, or of its natural logarithm where ``log``.
    floor : float
        Smallest scatter; what good exposures of the steadiest season may differ by, over the limit.
    log : bool
    """

    label: str
    location: float
    scatter: float
    floor: float
    log: bool = False


# Figures are from the WFC3 Data Handbook (7.5, 7.10), the Instrument Handbook (7.9.2), and frames measured
# for this project. The scatters are chosen such that six of them span what good exposures may show.
PRIORS = {
    # The left 200 columns are up to twice as bright in usable exposures [DHB 7.10].
    "gradient": Prior("glow gradient", 0.3, 0.15, 0.15),
    # 0.7 to 1.45 % bad pixels [measured], and about 12,000 cosmic rays in 1,100 s [IHB 7.9.2].
    "flagged": Prior("share of flagged pixels", 0.03, 0.03, 0.02),
    # Faint trails (0.6 sigma) and triplets (1.3 sigma), 2-3 px wide, light well below 1 % of the blocks.
    "streaks": Prior("share of lit blocks", 0.002, 0.004, 0.002),
    # An evenly lit field has none; 0.02 % of the blocks is three or four stars.
    "sources": Prior("share of blocks with a source", 0.0, 2e-4, 2e-4),
    # Stripes of 0.03-0.05 sigma [measured].
    "banding": Prior("banding", 0.05, 0.03, 0.012),
    # 1.0 % in a difference [measured]; 0.3 to 3 times the background changes it by a factor of 1.8.
    "residual": Prior("noise", np.log(0.010), 0.25, 0.06, log=True),
    # Photons and reads explain the noise of a difference within a factor of 1.5 to 2.
    "excess": Prior("noise over the expected", 0.0, 0.12, 0.03, log=True),
}


LABELS = {
    "light": "light, electrons per pixel",
    "saturated": "share of saturated pixels",
    "exptime": "exposure time, s",
    "noise": "noise of the exposure alone",
} | {name: prior.label for name, prior in PRIORS.items()}


def measure_exposure(exposure: Exposure, image: np.ndarray, box: int = 64) -> Quality:
    """Measure what an exposure shows by itself.

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
    # Where nothing is usable the light still decides between a saturated and a blank exposure.
    shown = np.where(usable if usable.any() else finite, exposure.image, np.nan)[::sample, ::sample]
    glow = box_medians(shown, box // sample)
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
    """Add what the difference from recent exposures shows.

    Parameters
    ----------
    quality : Quality
        As `measure_exposure` returns it.
    image : ndarray, shape (1024, 1024), float32, fraction of the glow
    references : sequence of ndarray, the same shape
        Blob images of recent comparable exposures; with fewer than `MIN_REFERENCES` nothing is added.
    lights : sequence of float
        Their median signals, electrons per pixel.
    """
    if len(references) < MIN_REFERENCES:
        return quality
    reference = median_without_nan(np.stack([sampled(one) for one in references], axis=-1))
    excess_light = sampled(image) - reference
    noise = float(pixel_noise(excess_light))
    if not noise > 0:
        return quality
    blocks = excess_light.reshape(-1, BLOCK, wfc3ir.SIZE // BLOCK, BLOCK).swapaxes(1, 2)
    blocks = blocks.reshape(*blocks.shape[:2], BLOCK * BLOCK)
    spread = np.pi / (2 * (len(lights) - 1) + np.pi)  # variance of a median over that of one value
    variance = spread * np.median([expected_noise(one) ** 2 for one in lights])
    expected = np.sqrt(expected_noise(quality.light) ** 2 + variance)
    return replace(
        quality,
        residual=noise,
        excess=float(noise / expected),
        streaks=lit_share(blocks, noise),
        sources=source_share(blocks, noise),
        banding=banding(excess_light, noise),
    )


def unusable_reason(quality: Quality, target: str, settings: QualitySettings) -> str:
    """Return why an exposure is unusable whatever its season; empty where it is usable."""
    if target and settings.target.upper() not in target.upper():
        return f"target {target}, not the Earth (TARGNAME must contain {settings.target})"
    if quality.saturated > settings.saturated or quality.light >= wfc3ir.SATURATION:
        return f"saturated: {quality.light:.0f} electrons per pixel, {quality.saturated:.0%} of the pixels"
    if quality.flagged > settings.flagged:
        return f"{quality.flagged:.0%} of the pixels are flagged, at most {settings.flagged:.0%} may be"
    if not quality.light >= settings.light:
        return f"no light: {quality.light:.0f} electrons per pixel, at least {settings.light:g} are needed"
    return ""


def outlier_reason(quality: Quality, season: Sequence[Quality], settings: QualitySettings) -> str:
    """Return in which measures an exposure is an outlier; empty for none.

    Parameters
    ----------
    quality : Quality
    season : sequence of Quality
        Of the comparable exposures before it.
    settings : QualitySettings
    """
    reasons = []
    for name, prior in PRIORS.items():
        value = transformed(getattr(quality, name), prior)
        location, scatter = distribution([getattr(one, name) for one in season], prior)
        sigmas = (value - location) / scatter
        if sigmas > settings.sigmas:
            usual = np.exp(location) if prior.log else location
            found = getattr(quality, name)
            reasons.append(f"{prior.label} {found:.3g}, {sigmas:.1f} sigma from the season's {usual:.3g}")
    if reason := truncated_reason(quality, season, settings):
        reasons.append(reason)
    return "; ".join(reasons)


def truncated_reason(quality: Quality, season: Sequence[Quality], settings: QualitySettings) -> str:
    """Return the reason where both exposure time and light fall far short of the season's.

    A short exposure of a bright Earth has all the light it needs, and so has a long one of a dim Earth.
    """
    if len(season) < MIN_REFERENCES:
        return ""
    seconds, light = (
        float(np.median([getattr(one, name) for one in season])) for name in ("exptime", "light")
    )
    share = settings.truncated
    if quality.exptime >= share * seconds or quality.light >= share * light:
        return ""
    return (
        f"truncated ramp: {quality.exptime:.0f} s and {quality.light:.0f} electrons per pixel, "
        f"the season has {seconds:.0f} s and {light:.0f}"
    )


def distribution(values: Sequence[float], prior: Prior) -> tuple[float, float]:
    """Return robust location and scatter of a measure over a season, blended with its prior."""
    known = np.array([transformed(one, prior) for one in values])
    known = known[np.isfinite(known)]
    count = len(known)
    if not count:
        return prior.location, prior.scatter
    middle = float(np.median(known))
    scatter = deviation(known - middle)
    blended = (PRIOR_WEIGHT * prior.scatter + count * scatter) / (PRIOR_WEIGHT + count)
    middle = (PRIOR_WEIGHT * prior.location + count * middle) / (PRIOR_WEIGHT + count)
    return middle, max(blended, prior.floor)


def transformed(value: float, prior: Prior) -> float:
    """Return a measure on the scale on which it is compared."""
    if not prior.log:
        return value
    return float(np.log(value)) if value > 0 else np.nan


def suspect_message(rejected: int, total: int, settings: QualitySettings) -> str:
    """Return a warning where so many exposures are rejected that the limits are suspect."""
    if total < SUSPECT_BATCH or rejected <= settings.suspect * total:
        return ""
    return (
        f"{rejected} of {total} exposures are rejected. The limits are suspect rather than the exposures: "
        "look at some (blobwatch inspect), accept them (blobwatch overrule), or set difference.quality.sigmas"
    )


def sampled(image: np.ndarray) -> np.ndarray:
    """Return a quarter of the rows, in strips of `BLOCK`: shape (256, 1024)."""
    strips = image.reshape(-1, STRIP, image.shape[1])[:, FIRST : FIRST + BLOCK]
    return strips.reshape(-1, image.shape[1])


def box_medians(image: np.ndarray, box: int) -> np.ndarray:
    """Return the medians of boxes, without NaN; NaN where a box has nothing else."""
    rows, columns = image.shape[0] // box, image.shape[1] // box
    cells = image[: rows * box, : columns * box].reshape(rows, box, columns, box).swapaxes(1, 2)
    return median_without_nan(cells.reshape(rows, columns, box * box))


def pixel_noise(image: np.ndarray) -> float:
    """Return the noise per pixel from steps between neighbours, so that no structure counts."""
    steps = image[:, 1:] - image[:, :-1]
    steps = steps[np.isfinite(steps)]
    return deviation(steps) / np.sqrt(2.0) if steps.size else np.nan


def expected_noise(electrons: float) -> float:
    """Return the noise of photons and reads, fraction of the background."""
    if not electrons > 0:
        return np.nan
    return float(np.sqrt(electrons + wfc3ir.READ_NOISE**2) / electrons)


def block_medians(image: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """Return the known medians of 4 x 4 blocks, and the error that Gaussian noise gives each."""
    blocks = box_medians(image, BLOCK)
    return blocks[np.isfinite(blocks)], median_error(noise)


def median_error(noise: float) -> float:
    """Return the error of the median of a 4 x 4 block."""
    return 1.2533 * noise / BLOCK


def lit_share(blocks: np.ndarray, noise: float) -> float:
    """Return the share of blocks whose median lies above the background by more than noise explains."""
    medians = median_without_nan(blocks)
    medians = medians[np.isfinite(medians)]
    if not medians.size:
        return np.nan
    return float((medians > np.median(medians) + STREAK * median_error(noise)).mean())


def source_share(blocks: np.ndarray, noise: float) -> float:
    """Return the share of blocks in which several pixels are bright."""
    background = np.nanmedian(blocks)
    bright = (blocks > background + SOURCE * noise).sum(axis=-1)
    return float((bright >= SOURCE_PIXELS).mean())


def banding(excess_light: np.ndarray, noise: float) -> float:
    """Return the scatter of the medians of rows or columns beyond what noise explains, in sigma."""
    light = excess_light[:, EDGE:-EDGE]
    half = light.shape[1] // 2  # the amplifiers read halves of a row
    scatters = []
    for lines in (light[:, :half], light[:, half:], light.T):
        medians = median_without_nan(lines)
        medians = medians[np.isfinite(medians)] / noise
        variance = medians.var() - np.pi / 2 / lines.shape[1] if medians.size else np.nan
        scatters.append(np.sqrt(max(0.0, variance)))
    return float(max(scatters))
