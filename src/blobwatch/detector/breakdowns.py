"""Tables of the evaluation: by slice, by SNR and by threshold."""

import itertools

import numpy as np

from blobwatch.dataset.shards import Shard
from blobwatch.detector.metrics import Bootstrap, finite_median
from blobwatch.detector.scoring import ScoringResult

SNR_EDGES = (4, 5, 6, 7, 8, 10, 12, 15, 20, 30)
SIZE_EDGES = (2, 5, 7, 9, 14)  # half-width, pixels


def slice_table(data: Shard, scored: ScoringResult, threshold: float, draw: Bootstrap) -> list[dict]:
    """Return recall and position error by SNR, size, region and contaminant.

    Returns
    -------
    list of dict
        ``slice``, ``part``, ``blobs``, ``recall`` with ``low`` and ``high``, ``position_error``.
    """
    hit = scored.matches.hit >= threshold
    error = np.where(hit, scored.matches.error, np.nan)
    rows = []
    for name, part, members in list_slices(data):
        if members.any():
            median = finite_median(error[members])
            row = {"slice": name, "part": part} | recall_columns(data, hit, members, draw)
            rows.append(row | {"position_error": round(median, 4) if np.isfinite(median) else ""})
    return rows


def list_slices(data: Shard) -> list[tuple[str, str, np.ndarray]]:
    """Return the slices: name, part, and the mask of their blobs."""
    blobs = data.blobs
    slices = []
    for name, values, edges in (
        ("snr", blobs["snr"], (*SNR_EDGES, np.inf)),
        ("half-width", blobs["half_width"], SIZE_EDGES),
    ):
        for low, high in itertools.pairwise(edges):
            label = f"{low}-{high}" if np.isfinite(high) else f"above {low}"
            slices.append((name, label, (values >= low) & (values < high)))
    x, y = blobs["frame_x"], blobs["frame_y"]
    left, lower = x < 512, y < 512
    slices += [
        ("region", "lower left", left & lower),
        ("region", "lower right", ~left & lower),
        ("region", "upper left", left & ~lower),
        ("region", "upper right", ~left & ~lower),
        ("region", "within 20 px of the edge", np.minimum.reduce([x, y, 1023 - x, 1023 - y]) < 20),
    ]
    contaminants = data.subframes["contaminant"][blobs["subframe"]]
    for kind in sorted(set(contaminants)):
        slices.append(("contaminant", kind or "none added", contaminants == kind))
    return slices


def completeness_table(data: Shard, hit: np.ndarray, edges: tuple[float, ...], draw: Bootstrap) -> list[dict]:
    """Return the recall of blobs per SNR bin; ``hit`` marks the blobs that were found.

    Returns
    -------
    list of dict
        ``snr_low``, ``snr_high``, ``blobs``, ``recall`` with ``low`` and ``high``.
    """
    snr, rows = data.blobs["snr"], []
    for low, high in itertools.pairwise(edges):
        members = (snr >= low) & (snr < high)
        if members.any():
            rows.append({"snr_low": low, "snr_high": high} | recall_columns(data, hit, members, draw))
    return rows


def recall_columns(data: Shard, hit: np.ndarray, members: np.ndarray, draw: Bootstrap) -> dict:
    """Return the number of blobs in a mask, their recall and its interval."""
    exposures = data.rootnames[data.blobs["subframe"]]
    recall = draw.mean(hit[members], exposures[members])
    columns = (("recall", "value"), ("low", "low"), ("high", "high"))
    return {"blobs": int(members.sum())} | {name: round(recall[key], 6) for name, key in columns}


def confusion_matrix(labels: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the confusion matrix, shape (2, 2), int: rows are true, columns predicted labels."""
    predicted = scores >= threshold
    return np.array([[int(((labels == t) & (predicted == p)).sum()) for p in (0, 1)] for t in (0, 1)])


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
