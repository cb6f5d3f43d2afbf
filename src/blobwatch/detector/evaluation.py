"""Metrics of one detector on one data set, each with a bootstrap interval."""

import numpy as np

from blobwatch.dataset.shards import Shard
from blobwatch.dataset.subframes import FAINT
from blobwatch.detector.calibration import calibration_error
from blobwatch.detector.metrics import (
    SUBFRAMES_PER_EXPOSURE,
    Bootstrap,
    auc,
    false_per_100,
    finite_median,
    snr_at_half,
)
from blobwatch.detector.scoring import ScoringResult

CLEAR_SNR, BRIGHT_SNR = 10.0, 15.0  # above these a good detector misses few, and almost no, blobs
COMPARED_SNR = (5.0, 30.0)  # range of the strongest blob of the subframes on which detectors are compared


def detector_metrics(
    data: Shard,
    scored: ScoringResult,
    threshold: float,
    draw: Bootstrap,
    has_positions: bool = True,
    calibrated: bool = True,
) -> dict:
    """Return all metrics of one detector on one data set.

    Parameters
    ----------
    data : Shard
    scored : ScoringResult
    threshold : float
        Subframes and blobs with at least this score count as detected.
    draw : Bootstrap
    has_positions : bool
        Whether the detector locates blobs. Otherwise a hit only means the right subframe, and there is no
        position error and no SNR at half completeness.
    calibrated : bool
        Whether the scores are probabilities. Otherwise there is no calibration error.
    """
    return {
        "threshold": round(threshold, 6),
        "subframes": subframe_metrics(data, scored.scores, threshold, draw, calibrated),
        "blobs": blob_metrics(data, scored, threshold, draw, has_positions),
    }


def subframe_metrics(
    data: Shard, scores: np.ndarray, threshold: float, draw: Bootstrap, calibrated: bool
) -> dict:
    """Return the metrics of the classification of subframes."""
    from sklearn.metrics import average_precision_score

    labels, exposures = data.labels, data.rootnames
    predicted, positive = scores >= threshold, labels == 1
    compared = np.flatnonzero(is_compared(data))

    def share(of: np.ndarray, among: np.ndarray):
        return lambda i: float(of[i][among[i]].mean()) if among[i].any() else float("nan")

    metrics = {
        "auc": draw(lambda i: auc(labels[i], scores[i]), exposures),
        "auc_5_to_30": draw(lambda i: auc(labels[compared][i], scores[compared][i]), exposures[compared]),
        "average_precision": draw(lambda i: float(average_precision_score(labels[i], scores[i])), exposures),
        "accuracy": draw.mean(predicted == positive, exposures),
        "recall": draw(share(predicted, positive), exposures),
        "precision": draw(share(positive, predicted), exposures),
    }
    if calibrated:
        metrics["calibration_error"] = draw(lambda i: calibration_error(labels[i], scores[i]), exposures)
    return metrics


def is_compared(data: Shard) -> np.ndarray:
    """Return the mask of subframes without blobs or with their strongest blob within `COMPARED_SNR`."""
    strongest = np.zeros(len(data))
    np.maximum.at(strongest, data.blobs["subframe"], data.blobs["snr"])
    return (data.labels == 0) | ((strongest >= COMPARED_SNR[0]) & (strongest <= COMPARED_SNR[1]))


def blob_metrics(
    data: Shard, scored: ScoringResult, threshold: float, draw: Bootstrap, has_positions: bool
) -> dict:
    """Return the metrics of the detection of blobs."""
    hit, snr = scored.matches.hit >= threshold, data.blobs["snr"]
    exposures = data.rootnames[data.blobs["subframe"]]
    false = scored.matches.false_subframe[scored.matches.false >= threshold]
    per_subframe = np.bincount(false, minlength=len(data))

    clear, bright = snr > CLEAR_SNR, snr > BRIGHT_SNR
    metrics = {
        "recall": draw.mean(hit, exposures),
        "recall_10_to_15": draw.mean(hit[clear & ~bright], exposures[clear & ~bright]),
        "recall_above_15": draw.mean(hit[bright], exposures[bright]),
        "false_per_100": draw.mean(per_subframe, data.rootnames, 100 * SUBFRAMES_PER_EXPOSURE),
    }
    if has_positions:
        error = np.where(hit, scored.matches.error, np.nan)
        metrics |= {
            "snr_at_half": draw(lambda i: snr_at_half(snr[i], hit[i]), exposures),
            "position_error": draw(lambda i: finite_median(error[i]), exposures),
            "position_error_above_10": draw(lambda i: finite_median(error[clear][i]), exposures[clear]),
        }
    return metrics


def final_metrics(data: Shard, scored: ScoringResult, threshold: float) -> dict:
    """Return counts for the blobs of the season in whole frames, which are too few for intervals.

    Faint blobs, which are almost completely part of the stack, count neither as missed nor, if found,
    as false.
    """
    clear = data.blobs["snr"] >= FAINT
    hit = (scored.matches.hit >= threshold)[clear]
    bright = data.blobs["snr"][clear] > BRIGHT_SNR
    return {
        "exposures": len(data) // SUBFRAMES_PER_EXPOSURE,
        "appearances": len(hit),
        "found": int(hit.sum()),
        "appearances_above_15": int(bright.sum()),
        "found_above_15": int(hit[bright].sum()),
        "false_blobs": int((scored.matches.false >= threshold).sum()),
        "false_per_100": round(false_per_100(scored.matches, threshold, len(data)), 4),
    }
