"""The tables beside the metrics: by slice, by SNR, by threshold."""

import itertools

import numpy as np

from blobwatch.dataset.shards import Shard
from blobwatch.detector.evaluation import Bootstrap, finite_median
from blobwatch.detector.scoring import ScoringResult

SNR_EDGES = (4, 5, 6, 7, 8, 10, 12, 15, 20, 30)
SIZE_EDGES = (2, 5, 7, 9, 14)  # half-width, pixels


def slice_table(data: Shard, scored: ScoringResult, threshold: float, draw: Bootstrap) -> list[dict]:
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
    for name, part, members in list_slices(data):
        chosen = np.flatnonzero(members)
        if len(chosen) == 0:
            continue
        recall = draw(lambda i, c=chosen: float(hit[c][i].mean()), exposures[chosen])
        where = finite_median(error[chosen])
        rows.append(
            {"slice": name, "part": part, "blobs": len(chosen)}
            | as_recall(recall)
            | {"position_error": round(where, 4) if np.isfinite(where) else ""}
        )
    return rows


def list_slices(data: Shard) -> list[tuple[str, str, np.ndarray]]:
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


def completeness_table(data: Shard, hit: np.ndarray, edges: tuple[float, ...], draw: Bootstrap) -> list[dict]:
    """Return the recall of blobs between each two SNRs that follow each other.

    Parameters
    ----------
    data : Shard
    hit : ndarray, shape (m,), bool
        Which blobs were found.
    edges : tuple of float
        SNR.
    draw : Bootstrap

    Returns
    -------
    list of dict
        ``snr_low``, ``snr_high``, ``blobs``, ``recall`` with ``low`` and ``high``.
    """
    snr, exposures = data.blobs["snr"], data.rootnames[data.blobs["subframe"]]
    rows = []
    for low, high in itertools.pairwise(edges):
        chosen = np.flatnonzero((snr >= low) & (snr < high))
        if len(chosen):
            recall = draw(lambda i, c=chosen: float(hit[c][i].mean()), exposures[chosen])
            rows.append({"snr_low": low, "snr_high": high, "blobs": len(chosen)} | as_recall(recall))
    return rows


def as_recall(value: dict[str, float]) -> dict[str, float]:
    """Return a recall and the ends of its interval as columns."""
    return {
        name: round(value[key], 6) for name, key in (("recall", "value"), ("low", "low"), ("high", "high"))
    }


def confusion_matrix(labels: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
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
