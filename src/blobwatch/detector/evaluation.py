"""The report on a detector: metrics with intervals, by slice, curves; the same for every detector."""

import itertools
from dataclasses import dataclass

import numpy as np

from blobwatch.dataset.shards import Shard
from blobwatch.dataset.subframes import FAINT
from blobwatch.detector.metrics import SUBFRAMES_PER_EXPOSURE, auc, false_per_100, interval
from blobwatch.detector.scoring import Scored

SNR_EDGES = (4, 5, 6, 7, 8, 10, 12, 15, 20, 30)
SIZE_EDGES = (2, 5, 7, 9, 14)  # half-width, pixels
LOUD = 15.0  # SNR above which hardly a blob may be missed


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made."""

    resamples: int
    confidence: float
    seed: int

    def __call__(self, statistic, groups: np.ndarray) -> dict[str, float]:
        """Return a statistic with its interval; ``groups`` names the exposure of each item."""
        return interval(statistic, groups, self.resamples, self.confidence, self.seed)


def subframe_metrics(
    labels: np.ndarray, scores: np.ndarray, exposures: np.ndarray, threshold: float, draw: Bootstrap
) -> dict:
    """Return AUC, average precision, accuracy, recall and precision of subframes, each with its interval.

    Parameters
    ----------
    labels : ndarray, shape (n,), int
    scores : ndarray, shape (n,), float
    exposures : ndarray, shape (n,), str
        The exposure of each; whole exposures are resampled.
    threshold : float
        From which a subframe counts as holding a blob.
    draw : Bootstrap
    """
    from sklearn.metrics import average_precision_score

    said = scores >= threshold
    positive = labels == 1

    def share(of: np.ndarray, among: np.ndarray):
        return lambda i: float(of[i][among[i]].mean()) if among[i].any() else float("nan")

    return {
        "auc": draw(lambda i: auc(labels[i], scores[i]), exposures),
        "average_precision": draw(lambda i: float(average_precision_score(labels[i], scores[i])), exposures),
        "accuracy": draw(lambda i: float((said == positive)[i].mean()), exposures),
        "recall": draw(share(said, positive), exposures),
        "precision": draw(share(positive, said), exposures),
    }


def blob_metrics(data: Shard, scored: Scored, threshold: float, draw: Bootstrap) -> dict:
    """Return recall, false blobs per 100 exposures and position error, each with its interval."""
    hit = scored.matches.hit >= threshold
    error = np.where(hit, scored.matches.error, np.nan)
    loud = np.flatnonzero(data.blobs["snr"] > LOUD)
    exposures = data.rootnames[data.blobs["subframe"]]
    wrong = scored.matches.false_subframe[scored.matches.false >= threshold]
    per_subframe = np.bincount(wrong, minlength=len(data))
    return {
        "recall": draw(lambda i: float(hit[i].mean()), exposures),
        "recall_above_15": draw(lambda i: float(hit[loud][i].mean()), exposures[loud]),
        "false_per_100": draw(
            lambda i: float(100 * SUBFRAMES_PER_EXPOSURE * per_subframe[i].mean()), data.rootnames
        ),
        "position_error": draw(lambda i: median_of_finite(error[i]), exposures),
    }


def median_of_finite(values: np.ndarray) -> float:
    """Return the median of the finite values, NaN where there is none."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


def slices(data: Shard, scored: Scored, threshold: float, draw: Bootstrap) -> list[dict]:
    """Return recall and position error by SNR, by size and by region of the detector.

    Returns
    -------
    list of dict
        ``slice``, ``part``, ``blobs``, ``recall`` with ``low`` and ``high``, ``position_error``.
    """
    hit = scored.matches.hit >= threshold
    error = np.where(hit, scored.matches.error, np.nan)
    exposures = data.rootnames[data.blobs["subframe"]]
    rows = []
    for name, part, members in parts_of(data):
        chosen = np.flatnonzero(members)
        if len(chosen) == 0:
            continue
        recall = draw(lambda i, c=chosen: float(hit[c][i].mean()), exposures[chosen])
        where = median_of_finite(error[chosen])
        rows.append(
            {
                "slice": name,
                "part": part,
                "blobs": len(chosen),
                "recall": round(recall["value"], 6),
                "low": round(recall["low"], 6),
                "high": round(recall["high"], 6),
                "position_error": round(where, 4) if np.isfinite(where) else "",
            }
        )
    return rows


def parts_of(data: Shard) -> list[tuple[str, str, np.ndarray]]:
    """Return the slices: name, part, and which blobs are in it."""
    blobs = data.blobs
    parts = []
    for name, values, edges in (
        ("snr", blobs["snr"], (*SNR_EDGES, np.inf)),
        ("half-width", blobs["half_width"], SIZE_EDGES),
    ):
        for low, high in itertools.pairwise(edges):
            label = f"{low}-{high}" if np.isfinite(high) else f"above {low}"
            parts.append((name, label, (values >= low) & (values < high)))
    left, lower = blobs["frame_x"] < 512, blobs["frame_y"] < 512
    for label, members in (
        ("lower left", left & lower),
        ("lower right", ~left & lower),
        ("upper left", left & ~lower),
        ("upper right", ~left & ~lower),
    ):
        parts.append(("region", label, members))
    edge = np.minimum.reduce(
        [blobs["frame_x"], blobs["frame_y"], 1023 - blobs["frame_x"], 1023 - blobs["frame_y"]]
    )
    parts.append(("region", "within 20 px of the edge", edge < 20))
    contaminants = data.subframes["contaminant"][blobs["subframe"]]
    for kind in sorted(set(contaminants)):
        parts.append(("contaminant", kind or "none added", contaminants == kind))
    return parts


def confusion(labels: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the confusion matrix, shape (2, 2), int: rows are the truth, columns what was said."""
    said = scores >= threshold
    return np.array([[int(((labels == t) & (said == s)).sum()) for s in (0, 1)] for t in (0, 1)])


def roc_curve(labels: np.ndarray, scores: np.ndarray) -> list[dict]:
    """Return the ROC and precision-recall points, one per distinct score."""
    order = np.argsort(-scores, kind="stable")
    hits, falses = np.cumsum(labels[order] == 1), np.cumsum(labels[order] == 0)
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    return [
        {
            "threshold": round(float(scores[order][i]), 6),
            "false_positive_rate": round(float(falses[i] / falses[-1]), 6),
            "recall": round(float(hits[i] / hits[-1]), 6),
            "precision": round(float(hits[i] / (hits[i] + falses[i])), 6),
        }
        for i in last
    ]


def report(data: Shard, scored: Scored, threshold: float, draw: Bootstrap) -> dict:
    """Return all metrics of one detector on one set."""
    return {
        "threshold": round(threshold, 6),
        "subframes": subframe_metrics(data.labels, scored.scores, data.rootnames, threshold, draw),
        "blobs": blob_metrics(data, scored, threshold, draw),
    }


def final_report(data: Shard, scored: Scored, threshold: float) -> dict:
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
