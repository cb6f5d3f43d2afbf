"""How good a detector is: scores of subframes, blobs found and missed, intervals."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blobwatch.dataset.shards import Shard
from blobwatch.images.peaks import Peaks
from blobwatch.images.tiling import PER_SIDE

SUBFRAMES_PER_EXPOSURE = PER_SIDE**2
NEAR_HALF = 2.0  # SNR; noise of 1 sigma blurs the threshold by as much on either side


@dataclass(frozen=True)
class Matches:
    """What became of each true and each found blob.

    Attributes
    ----------
    hit : ndarray, shape (m,), float64
        Per true blob of the set the probability of the found one at its place, 0 where there is none.
    error : ndarray, shape (m,), float64, pixels
        Distance to it, NaN where there is none.
    false : ndarray, shape (f,), float64
        Probabilities of the found blobs at whose place there is no true one.
    false_subframe : ndarray, shape (f,), int
        Where they are.
    """

    hit: np.ndarray
    error: np.ndarray
    false: np.ndarray
    false_subframe: np.ndarray


def match_blobs(data: Shard, found: list[Peaks], radius: float) -> Matches:
    """Pair found with true blobs, the most probable first, each at most once.

    Parameters
    ----------
    data : Shard
    found : list of Peaks
        Per subframe, in subframe pixels.
    radius : float
        Pixels within which they are the same.
    """
    hit, error = np.zeros(len(data.blobs)), np.full(len(data.blobs), np.nan)
    false, where = [], []
    for index, peaks in enumerate(found):
        first = int(np.searchsorted(data.blobs["subframe"], index))
        known = data.blobs_of(index)
        free = np.ones(len(known), dtype=bool)
        for x, y, probability in zip(peaks.x, peaks.y, peaks.probability, strict=True):
            distance = np.where(free, np.hypot(known["x"] - x, known["y"] - y), np.inf)
            nearest = int(distance.argmin()) if len(known) else -1
            if nearest >= 0 and distance[nearest] <= radius:
                free[nearest] = False
                hit[first + nearest], error[first + nearest] = probability, distance[nearest]
            else:
                false.append(probability)
                where.append(index)
    return Matches(hit, error, np.array(false, dtype=float), np.array(where, dtype=int))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve, NaN where one class is absent."""
    from scipy.stats import rankdata

    positive = labels.astype(bool)
    if positive.all() or not positive.any():
        return float("nan")
    wins = rankdata(scores)[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(wins / (positive.sum() * (~positive).sum()))


def false_per_100(matches: Matches, threshold: float, subframes: int) -> float:
    """Return the false blobs above a threshold per 100 exposures of sixteen subframes."""
    return float(100 * SUBFRAMES_PER_EXPOSURE * (matches.false >= threshold).sum() / subframes)


def threshold_at_rate(matches: Matches, subframes: int, rate: float) -> float:
    """Return the lowest threshold at which there are at most ``rate`` false blobs per 100 exposures.

    Half-way, in logit, between the last false blob allowed and the first that is not.
    """
    allowed = int(np.floor(rate * subframes / SUBFRAMES_PER_EXPOSURE / 100))
    ordered = np.sort(matches.false)[::-1]
    if len(ordered) <= allowed:
        return float(ordered[-1]) * 0.999 if len(ordered) else 0.5
    first_refused = ordered[allowed]
    if first_refused >= 1.0 - 1e-12:
        return float(np.nextafter(first_refused, 2.0))  # nothing is above it, so nothing will be found
    above = ordered[ordered > first_refused]  # of equal ones none can be kept
    last_allowed = above[-1] if len(above) else 1.0 - (1.0 - first_refused) / 4
    pair = np.array([first_refused, min(last_allowed, 1.0 - 1e-15)])  # a logit of 1 is infinite
    logits = np.log(pair) - np.log1p(-pair)
    return float(1.0 / (1.0 + np.exp(-logits.mean())))


def snr_at_half(snr: np.ndarray, hit: np.ndarray) -> float:
    """Return the SNR at which completeness crosses one half, NaN where it does not.

    Parameters
    ----------
    snr : ndarray, shape (m,), float
        Of the true blobs.
    hit : ndarray, shape (m,), bool
        Which were found.

    Notes
    -----
    The isotonic regression of ``hit`` against ``snr`` crosses one half at the cut that leaves the fewest
    blobs on the wrong side, found below or missed above. It jumps from blob to blob, so a straight line
    through the hits within `NEAR_HALF` of it gives the answer, which halves the spread; what happens at
    high SNR does not matter.
    """
    order = np.argsort(snr, kind="stable")
    snr, hit = snr[order].astype(float), hit[order].astype(float)
    wrong = np.concatenate([[0.0], np.cumsum(2 * hit - 1)])  # of the cut before each blob, less a constant
    best = np.flatnonzero(wrong == wrong.min())  # cuts that are equally good share the crossing
    if best[0] == 0 or best[-1] == len(snr):
        return float("nan")  # half are found, or missed, at every SNR that was tried
    cut = float(np.mean([snr[best[0] - 1], snr[best[-1]]]))
    near = np.abs(snr - cut) <= NEAR_HALF
    away, found = snr[near] - cut, hit[near]
    spread = float(np.square(away - away.mean()).sum()) if near.any() else 0.0
    slope = float(np.dot(away - away.mean(), found)) / spread if spread > 0 else 0.0
    if slope <= 0:
        return cut
    return cut + float(np.clip(away.mean() + (0.5 - found.mean()) / slope, -NEAR_HALF, NEAR_HALF))


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float],
    groups: np.ndarray,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, float]:
    """Return a statistic with its bootstrap interval.

    Whole groups are resampled, since what comes from one exposure is not independent.

    Parameters
    ----------
    statistic : callable
        Takes the chosen indices, with repeats; NaN results are left out.
    groups : ndarray, shape (n,)
        The group, an exposure, of each item.
    resamples : int
    confidence : float
        For instance 0.95.
    seed : int

    Returns
    -------
    dict
        ``value``, ``low``, ``high``.
    """
    rng = np.random.default_rng([seed, 7])
    if len(groups) == 0:
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    _, group = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(group == g) for g in range(group.max() + 1)]
    drawn = [
        statistic(np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))]))
        for _ in range(resamples)
    ]
    tail = (1 - confidence) / 2
    measured = [value for value in drawn if np.isfinite(value)]
    low, high = np.quantile(measured, [tail, 1 - tail]) if measured else (np.nan, np.nan)
    return {"value": float(statistic(np.arange(len(groups)))), "low": float(low), "high": float(high)}
