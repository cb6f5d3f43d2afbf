"""The report on a detector: metrics with intervals; the same for every detector."""

from dataclasses import dataclass

import numpy as np

from blobwatch.dataset.shards import Shard
from blobwatch.dataset.subframes import FAINT
from blobwatch.detector.calibration import calibration_error
from blobwatch.detector.metrics import (
    SUBFRAMES_PER_EXPOSURE,
    auc,
    bootstrap_interval,
    false_per_100,
    snr_at_half,
)
from blobwatch.detector.scoring import ScoringResult

CLEAR, LOUD = 10.0, 15.0  # SNR above which few, and hardly any, blobs may be missed
COMPARED_SNR = (5.0, 30.0)  # SNR of the strongest blob of the subframes by which detectors are compared


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made."""

    resamples: int
    confidence: float
    seed: int

    def __call__(self, statistic, groups: np.ndarray) -> dict[str, float]:
        """Return a statistic with its interval; ``groups`` names the exposure of each item."""
        return bootstrap_interval(statistic, groups, self.resamples, self.confidence, self.seed)


def subframe_metrics(
    data: Shard, scores: np.ndarray, threshold: float, draw: Bootstrap, calibrated: bool = True
) -> dict:
    """Return how well subframes with and without blobs are told apart, each number with its interval.

    Parameters
    ----------
    data : Shard
    scores : ndarray, shape (n,), float
    threshold : float
        From which a subframe counts as holding a blob.
    draw : Bootstrap
    calibrated : bool
        Whether the scores are meant as probabilities, so that there is a calibration error.
    """
    from sklearn.metrics import average_precision_score

    labels, exposures = data.labels, data.rootnames
    said = scores >= threshold
    positive = labels == 1
    sought = np.flatnonzero(is_compared(data))

    def share(of: np.ndarray, among: np.ndarray):
        return lambda i: float(of[i][among[i]].mean()) if among[i].any() else float("nan")

    metrics = {
        "auc": draw(lambda i: auc(labels[i], scores[i]), exposures),
        "auc_5_to_30": draw(lambda i: auc(labels[sought][i], scores[sought][i]), exposures[sought]),
        "average_precision": draw(lambda i: float(average_precision_score(labels[i], scores[i])), exposures),
        "accuracy": draw(lambda i: float((said == positive)[i].mean()), exposures),
        "recall": draw(share(said, positive), exposures),
        "precision": draw(share(positive, said), exposures),
    }
    if calibrated:
        metrics["calibration_error"] = draw(lambda i: calibration_error(labels[i], scores[i]), exposures)
    return metrics


def is_compared(data: Shard) -> np.ndarray:
    """Return which subframes hold no blob, or one whose strongest has an SNR within `COMPARED_SNR`."""
    strongest = np.zeros(len(data))
    np.maximum.at(strongest, data.blobs["subframe"], data.blobs["snr"])
    return (data.labels == 0) | ((strongest >= COMPARED_SNR[0]) & (strongest <= COMPARED_SNR[1]))


def blob_metrics(
    data: Shard, scored: ScoringResult, threshold: float, draw: Bootstrap, has_positions: bool = True
) -> dict:
    """Return how many blobs are found, and where, each number with its interval.

    Parameters
    ----------
    data : Shard
    scored : ScoringResult
    threshold : float
    draw : Bootstrap
    has_positions : bool
        Whether the detector says where a blob is; if not, it has no position error, and a hit means no
        more than the right subframe, so no SNR at half.
    """
    hit, snr = scored.matches.hit >= threshold, data.blobs["snr"]
    exposures = data.rootnames[data.blobs["subframe"]]
    wrong = scored.matches.false_subframe[scored.matches.false >= threshold]
    per_subframe = np.bincount(wrong, minlength=len(data))

    def recall(members: np.ndarray) -> dict:
        chosen = np.flatnonzero(members)
        return draw(lambda i: float(hit[chosen][i].mean()), exposures[chosen])

    metrics = {
        "recall": recall(snr > 0),
        "recall_10_to_15": recall((snr > CLEAR) & (snr <= LOUD)),
        "recall_above_15": recall(snr > LOUD),
        "false_per_100": draw(
            lambda i: float(100 * SUBFRAMES_PER_EXPOSURE * per_subframe[i].mean()), data.rootnames
        ),
    }
    if has_positions:
        error = np.where(hit, scored.matches.error, np.nan)
        clear = np.flatnonzero(snr > CLEAR)
        metrics |= {
            "snr_at_half": draw(lambda i: snr_at_half(snr[i], hit[i]), exposures),
            "position_error": draw(lambda i: finite_median(error[i]), exposures),
            "position_error_above_10": draw(lambda i: finite_median(error[clear][i]), exposures[clear]),
        }
    return metrics


def finite_median(values: np.ndarray) -> float:
    """Return the median of the finite values, NaN where there is none."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


def detector_metrics(
    data: Shard,
    scored: ScoringResult,
    threshold: float,
    draw: Bootstrap,
    has_positions: bool = True,
    calibrated: bool = True,
) -> dict:
    """Return all metrics of one detector on one set."""
    return {
        "threshold": round(threshold, 6),
        "subframes": subframe_metrics(data, scored.scores, threshold, draw, calibrated),
        "blobs": blob_metrics(data, scored, threshold, draw, has_positions),
    }


def final_metrics(data: Shard, scored: ScoringResult, threshold: float) -> dict:
    """Return how the season's own blobs fared in whole frames; they are few, so counts say it.

    Faint ones, which the stack has all but taken in, count neither as missed nor, where found, as false.
    """
    clear = data.blobs["snr"] >= FAINT
    hit = (scored.matches.hit >= threshold)[clear]
    loud = data.blobs["snr"][clear] > LOUD
    return {
        "exposures": len(data) // SUBFRAMES_PER_EXPOSURE,
        "appearances": len(hit),
        "found": int(hit.sum()),
        "appearances_above_15": int(loud.sum()),
        "found_above_15": int(hit[loud].sum()),
        "false_blobs": int((scored.matches.false >= threshold).sum()),
        "false_per_100": round(false_per_100(scored.matches, threshold, len(data)), 4),
    }
