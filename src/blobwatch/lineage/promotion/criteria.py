"""Criteria for promotion: absolute limits, and the comparison with the champion."""

from dataclasses import dataclass

import numpy as np

from blobwatch.detector.metrics import Bootstrap, auc
from blobwatch.errors import BlobwatchError

ROBUSTNESS = "robustness"
# name in params.yaml -> section of metrics.json, kind of limit, description
FLOORS = {
    "auc": ("subframes", "least", "AUC of the test subframes"),
    "recall_above_15": ("blobs", "least", "recall of blobs above SNR 15"),
    "recall_10_to_15": ("blobs", "least", "recall of blobs of SNR 10 to 15"),
    "snr_at_half": ("blobs", "most", "SNR at which half of the blobs are found"),
    "false_per_100": ("blobs", "most", "false blobs per 100 exposures"),
    "position_error": ("blobs", "most", "median position error in pixels"),
    "worst_snr_at_half": (ROBUSTNESS, "most", "SNR at half in the worst robustness set"),
    "worst_false_per_100": (ROBUSTNESS, "most", "false blobs per 100 frames in the worst robustness set"),
    "worst_recall_above_15": (ROBUSTNESS, "least", "recall above SNR 15 in the worst robustness set"),
}


def find_interval(values: dict[str, float], name: str) -> dict[str, float | None]:
    """Return value, low and high of a criterion from metrics by flat name."""
    stem = f"{FLOORS[name][0]}.{name}"
    return {end: values.get(stem + tail) for end, tail in (("value", ""), ("low", "_low"), ("high", "_high"))}


@dataclass(frozen=True)
class Check:
    """Result of one gate, with a message and, if measured, the value."""

    name: str
    passed: bool
    sentence: str
    value: float | None = None
    limit: float | None = None


def check_floors(metrics: dict, limits: dict[str, float]) -> list[Check]:
    """Check the metrics of a candidate against absolute limits.

    Parameters
    ----------
    metrics : dict
        Content of ``reports/evaluate/metrics.json``: section, name, ``{"value": …}``.
    limits : dict
        Limit for each name of ``FLOORS``: section ``register`` of ``params.yaml``.

    Raises
    ------
    BlobwatchError
        If a metric is absent. A metric without a number fails.
    """
    checks = []
    for name, (section, sense, words) in FLOORS.items():
        try:
            value = metrics[section][name]["value"]
        except (KeyError, TypeError):
            raise BlobwatchError(f"metrics.json has no {section}.{name}. Run `dvc repro evaluate`") from None
        measured = value is not None and bool(np.isfinite(value))
        limit = limits[name]
        passed = measured and bool(value >= limit if sense == "least" else value <= limit)
        found = f"is {value:.4g}" if measured else "could not be measured"
        where = metrics[section].get("worst_sets", {}).get(name.removeprefix("worst_"))
        where = f" ({where.replace('_', ' ')})" if where else ""
        sentence = f"{words}{where} {found}; at {sense} {limit:g} required"
        checks.append(Check(name, passed, sentence, value if measured else None, limit))
    return checks


@dataclass(frozen=True)
class ModelScores:
    """Results of one model on the test subframes.

    Attributes
    ----------
    labels : ndarray, shape (n,), int
        1 if the subframe contains a new blob, else 0. Both must occur.
    rootnames : ndarray, shape (n,), str
        Exposure of each subframe; whole exposures are resampled.
    scores : ndarray, shape (n,), float
        One score per subframe.
    found : ndarray, shape (m,), bool
        Whether each blob above SNR 10 was found at the model's own threshold.
    blob_rootnames : ndarray, shape (m,), str
        Exposure of each of these blobs.
    """

    labels: np.ndarray
    rootnames: np.ndarray
    scores: np.ndarray
    found: np.ndarray
    blob_rootnames: np.ndarray


def check_not_worse(
    champion: ModelScores,
    candidate: ModelScores,
    tolerance: float,
    confidence: float,
    resamples: int,
    seed: int,
) -> list[Check]:
    """Check that a candidate is not significantly worse than the champion.

    A paired bootstrap compares the AUC of the same subframes, and the recall of the blobs above SNR 10.

    Parameters
    ----------
    champion, candidate : ModelScores
    tolerance : float
        The upper end of the interval of the difference must be at least ``-tolerance``.
    confidence : float
        Confidence level of the two-sided percentile interval.
    resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the resampling.

    Raises
    ------
    BlobwatchError
        If the two models used different subframes, or all subframes have one class.
    """
    labels, rootnames = candidate.labels, candidate.rootnames
    if not (np.array_equal(champion.labels, labels) and np.array_equal(champion.rootnames, rootnames)):
        raise BlobwatchError(
            "the two models were evaluated on different subframes. Run `dvc repro` and compare again"
        )
    if set(np.unique(labels)) != {0, 1}:
        raise BlobwatchError(
            "the test subframes do not contain both classes. Create more with `dvc repro subframes`"
        )

    def auc_difference(i: np.ndarray) -> float:
        return auc(labels[i], candidate.scores[i]) - auc(labels[i], champion.scores[i])

    def recall_difference(i: np.ndarray) -> float:
        return float(candidate.found[i].mean() - champion.found[i].mean())

    compared = [("AUC", "auc", auc_difference, rootnames)]
    if len(candidate.found):
        compared.append(("recall above SNR 10", "recall", recall_difference, candidate.blob_rootnames))
    limit = 0.0 - tolerance  # not -0.0
    checks = []
    for words, name, difference, exposures in compared:
        found = Bootstrap(resamples, confidence, seed)(difference, exposures)
        passed = found["high"] >= limit
        sentence = (
            f"{words} of the candidate minus the champion's is "
            f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}], "
            f"{'not significantly worse' if passed else 'significantly worse'}: "
            f"the interval {'reaches' if passed else 'must reach'} {limit:+.4f}"
        )
        checks.append(Check(f"not_worse_{name}", passed, sentence, found["value"], limit))
    return checks
