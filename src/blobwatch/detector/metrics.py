"""Metrics of detectors: matches, AUC, thresholds, completeness and bootstrap intervals."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blobwatch.dataset.shards import Shard
from blobwatch.images.peaks import Peaks
from blobwatch.images.tiling import PER_SIDE

SUBFRAMES_PER_EXPOSURE = PER_SIDE**2
NEAR_HALF = 2.0  # SNR range on either side of the threshold that is blurred by noise of 1 sigma


@dataclass(frozen=True)
class Matches:
    """Result of matching detected with true blobs.

    Attributes
    ----------
    hit : ndarray, shape (m,), float64
        Probability of the matching detection of each true blob, 0 if there is none.
    error : ndarray, shape (m,), float64, pixels
        Distance to the matching detection, NaN if there is none.
    false : ndarray, shape (f,), float64
        Probabilities of the detections without a true blob.
    false_subframe : ndarray, shape (f,), int
        Subframes of these detections.
    """

    hit: np.ndarray
    error: np.ndarray
    false: np.ndarray
    false_subframe: np.ndarray


def match_blobs(data: Shard, found: list[Peaks], radius: float) -> Matches:
    """Match detected with true blobs, the most probable first, each at most once.

    Parameters
    ----------
    data : Shard
    found : list of Peaks
        Detections per subframe, in subframe pixels.
    radius : float
        Largest distance of a match, pixels.
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


def far_from_blobs(peaks: Peaks, blobs: np.ndarray, distance: float) -> np.ndarray:
    """Return the mask of the peaks that are farther than ``distance`` from each true blob."""
    separation = np.hypot(peaks.x[:, None] - blobs["x"], peaks.y[:, None] - blobs["y"])
    return (separation > distance).all(axis=1)


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve, NaN if one class is absent."""
    from scipy.stats import rankdata

    positive = labels.astype(bool)
    if positive.all() or not positive.any():
        return float("nan")
    wins = rankdata(scores)[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(wins / (positive.sum() * (~positive).sum()))


def false_per_100(matches: Matches, threshold: float, subframes: int) -> float:
    """Return the number of false blobs above a threshold per 100 exposures."""
    return float(100 * SUBFRAMES_PER_EXPOSURE * (matches.false >= threshold).sum() / subframes)


def snr_at_half(snr: np.ndarray, hit: np.ndarray) -> float:
    """Return the SNR at which completeness crosses one half, NaN if it does not.

    Parameters
    ----------
    snr : ndarray, shape (m,), float
        SNR of the true blobs.
    hit : ndarray, shape (m,), bool
        Which blobs were found.

    Notes
    -----
    The isotonic regression of ``hit`` against ``snr`` crosses one half at the cut with the fewest
    exceptions: blobs found below it or missed above it. This cut jumps from blob to blob. A straight line
    through the hits within `NEAR_HALF` of the cut halves the spread of the result, and hits at high SNR
    have no influence.
    """
    order = np.argsort(snr, kind="stable")
    snr, hit = snr[order].astype(float), hit[order].astype(float)
    wrong = np.concatenate([[0.0], np.cumsum(2 * hit - 1)])  # exceptions, up to a constant
    best = np.flatnonzero(wrong == wrong.min())  # equally good cuts are averaged
    if best[0] == 0 or best[-1] == len(snr):
        return float("nan")  # completeness is above, or below, one half at each SNR
    cut = float(np.mean([snr[best[0] - 1], snr[best[-1]]]))
    near = np.abs(snr - cut) <= NEAR_HALF
    away, found = snr[near] - cut, hit[near]
    spread = float(np.square(away - away.mean()).sum()) if near.any() else 0.0
    slope = float(np.dot(away - away.mean(), found)) / spread if spread > 0 else 0.0
    if slope <= 0:
        return cut
    return cut + float(np.clip(away.mean() + (0.5 - found.mean()) / slope, -NEAR_HALF, NEAR_HALF))


def finite_median(values: np.ndarray) -> float:
    """Return the median of the finite values, NaN if there are none."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


@dataclass(frozen=True)
class Bootstrap:
    """Statistics with bootstrap intervals.

    Whole groups are resampled, because the subframes of one exposure are not independent.

    Attributes
    ----------
    resamples : int
    confidence : float
        For example 0.95.
    seed : int
    """

    resamples: int
    confidence: float
    seed: int

    def __call__(self, statistic: Callable[[np.ndarray], float], groups: np.ndarray) -> dict[str, float]:
        """Return a statistic with its interval.

        Parameters
        ----------
        statistic : callable
            Takes the resampled indices; NaN results are ignored.
        groups : ndarray, shape (n,)
            Group (exposure) of each item.

        Returns
        -------
        dict
            ``value``, ``low``, ``high``.
        """
        rng = np.random.default_rng([self.seed, 7])
        if len(groups) == 0:
            return dict.fromkeys(("value", "low", "high"), float("nan"))
        _, group = np.unique(groups, return_inverse=True)
        members = [np.flatnonzero(group == g) for g in range(group.max() + 1)]
        drawn = [
            statistic(np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))]))
            for _ in range(self.resamples)
        ]
        tail = (1 - self.confidence) / 2
        measured = [value for value in drawn if np.isfinite(value)]
        low, high = np.quantile(measured, [tail, 1 - tail]) if measured else (np.nan, np.nan)
        return {"value": float(statistic(np.arange(len(groups)))), "low": float(low), "high": float(high)}

    def mean(self, values: np.ndarray, groups: np.ndarray, scale: float = 1.0) -> dict[str, float]:
        """Return the mean of values, such as a recall, with its interval."""
        return self(lambda i: float(scale * values[i].mean()), groups)
