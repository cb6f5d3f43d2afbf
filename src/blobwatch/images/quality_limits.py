"""Rejection of an exposure: absolute limits, and the comparison with its recent season.

Absolute limits concern light, saturation, flagged pixels and the target. Beyond them, each measure is
compared with its robust location and scatter in the comparable exposures before it. A prior from properties
of the instrument has the weight of `PRIOR_WEIGHT` exposures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blobwatch.images.quality_measures import MIN_REFERENCES, Quality
from blobwatch.images.scaling import robust_deviation
from blobwatch.instrument import wfc3ir
from blobwatch.settings import QualitySettings

PRIOR_WEIGHT = 3.0  # exposures
SUSPECT_BATCH = 6  # exposures; the share of rejections in a smaller batch is not significant


@dataclass(frozen=True)
class Prior:
    """Expected distribution of one measure without a season.

    Attributes
    ----------
    label : str
        Name in messages.
    location, scatter : float
        Of the measure, or of its natural logarithm if ``log``.
    floor : float
        Smallest scatter: the largest difference of good exposures in a stable season, over the limit.
    log : bool
    """

    label: str
    location: float
    scatter: float
    floor: float
    log: bool = False


# Figures are from the WFC3 Data Handbook (7.5, 7.10), the Instrument Handbook (7.9.2), and frames measured
# for this project. Six scatters span the range of good exposures.
PRIORS = {
    # The left 200 columns are up to twice as bright in usable exposures [DHB 7.10]: a gradient of 1.0 and the
    # usual tilt of the glow must pass in a stable season.
    "gradient": Prior("glow gradient", 0.3, 0.2, 0.2),
    # 0.7 to 1.45 % bad pixels [measured], and about 12,000 cosmic rays in 1,100 s [IHB 7.9.2].
    "flagged": Prior("share of flagged pixels", 0.03, 0.03, 0.02),
    # Three pairs of triplets, 280 px long and 2-3 px wide [measured], cover 2.5 % of the blocks. They are
    # harmless; all their blocks are lit if the noise is low.
    "streaks": Prior("share of lit blocks", 0.002, 0.004, 0.004),
    # A uniform field has none; 0.02 % of the blocks are three or four stars.
    "sources": Prior("share of blocks with a source", 0.0, 2e-4, 2e-4),
    # Stripes of 0.03-0.05 sigma [measured].
    "banding": Prior("banding", 0.05, 0.03, 0.012),
    # 1.0 % in a difference [measured]; 0.3 to 3 times the background changes it by a factor of 1.8.
    "residual": Prior("noise", np.log(0.010), 0.25, 0.06, log=True),
    # The noise of a difference is within a factor of 1.5 to 2 of that of photons and reads.
    "excess": Prior("noise over the expected", 0.0, 0.12, 0.03, log=True),
}

LABELS = {
    "light": "light, electrons per pixel",
    "saturated": "share of saturated pixels",
    "exptime": "exposure time, s",
    "noise": "noise of the exposure alone",
} | {name: prior.label for name, prior in PRIORS.items()}


def unusable_reason(quality: Quality, target: str, settings: QualitySettings) -> str:
    """Return why an exposure is unusable in any season; empty if it is usable."""
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
    """Return the measures in which an exposure is an outlier; empty for none.

    Parameters
    ----------
    quality : Quality
    season : sequence of Quality
        Of the comparable exposures before it.
    settings : QualitySettings
    """
    reasons = []
    for name, prior in PRIORS.items():
        value = to_prior_scale(getattr(quality, name), prior)
        location, scatter = estimate_distribution([getattr(one, name) for one in season], prior)
        sigmas = (value - location) / scatter
        if sigmas > settings.sigmas:
            usual = np.exp(location) if prior.log else location
            found = getattr(quality, name)
            reasons.append(f"{prior.label} {found:.3g}, {sigmas:.1f} sigma from the season's {usual:.3g}")
    if reason := truncated_reason(quality, season, settings):
        reasons.append(reason)
    return "; ".join(reasons)


def truncated_reason(quality: Quality, season: Sequence[Quality], settings: QualitySettings) -> str:
    """Return the reason if exposure time and light are both far below those of the season.

    A short exposure of a bright Earth has enough light, and so has a long exposure of a dim Earth.
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


def estimate_distribution(values: Sequence[float], prior: Prior) -> tuple[float, float]:
    """Return robust location and scatter of a measure in a season, combined with its prior."""
    known = np.array([to_prior_scale(one, prior) for one in values])
    known = known[np.isfinite(known)]
    count = len(known)
    if not count:
        return prior.location, prior.scatter
    middle = float(np.median(known))
    scatter = robust_deviation(known - middle)
    blended = (PRIOR_WEIGHT * prior.scatter + count * scatter) / (PRIOR_WEIGHT + count)
    middle = (PRIOR_WEIGHT * prior.location + count * middle) / (PRIOR_WEIGHT + count)
    return middle, max(blended, prior.floor)


def to_prior_scale(value: float, prior: Prior) -> float:
    """Return a measure, or its logarithm, on the scale of its prior."""
    if not prior.log:
        return value
    return float(np.log(value)) if value > 0 else np.nan


def suspect_message(rejected: int, total: int, settings: QualitySettings) -> str:
    """Return a warning if the share of rejected exposures makes the limits suspect."""
    if total < SUSPECT_BATCH or rejected <= settings.suspect * total:
        return ""
    return (
        f"{rejected} of {total} exposures are rejected. The limits are suspect rather than the exposures: "
        "look at some (blobwatch inspect), accept them (blobwatch overrule), or set difference.quality.sigmas"
    )
