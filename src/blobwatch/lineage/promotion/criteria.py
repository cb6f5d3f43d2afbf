"""What a candidate is worth: absolute floors, and not worse than the champion. Pure functions."""

from dataclasses import dataclass

import numpy as np

from blobwatch.detector.metrics import auc, bootstrap_interval
from blobwatch.errors import BlobwatchError

ROBUSTNESS = "robustness"
# name in params.yaml -> section of metrics.json, the sense of the limit, the quantity in words
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


@dataclass(frozen=True)
class Check:
    """One condition of the gate: whether it holds, the sentence that says so, and the value if measured."""

    name: str
    passed: bool
    sentence: str
    value: float | None = None
    limit: float | None = None


def floors(metrics: dict, limits: dict[str, float]) -> list[Check]:
    """Check the metrics of a candidate against absolute limits.

    Parameters
    ----------
    metrics : dict
        The content of ``reports/evaluate/metrics.json``: section, name, ``{"value": …}``.
    limits : dict
        A limit for each name of ``FLOORS``: the section ``register`` of ``params.yaml``.

    Raises
    ------
    BlobwatchError
        If a metric is not in the report. One that is there without a number does not pass.
    """
    checks = []
    for name, (section, sense, words) in FLOORS.items():
        try:
            value = metrics[section][name]["value"]
        except (KeyError, TypeError):
            raise BlobwatchError(f"metrics.json has no {section}.{name}; run `dvc repro evaluate`") from None
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
class Judgement:
    """What one model said of the test subframes.

    Attributes
    ----------
    labels : ndarray, shape (n,), int
        1 where the subframe holds a new blob, else 0; both must occur.
    rootnames : ndarray, shape (n,), str
        The exposure of each subframe; whole exposures are resampled.
    scores : ndarray, shape (n,), float
        Per subframe.
    found : ndarray, shape (m,), bool
        Which of the blobs that nobody should miss were found, at the model's own threshold.
    blob_rootnames : ndarray, shape (m,), str
        The exposure of each of these.
    """

    labels: np.ndarray
    rootnames: np.ndarray
    scores: np.ndarray
    found: np.ndarray
    blob_rootnames: np.ndarray


def not_worse(
    champion: Judgement, candidate: Judgement, tolerance: float, confidence: float, resamples: int, seed: int
) -> list[Check]:
    """Check that a candidate is not significantly worse than the champion on the same subframes.

    Two figures are compared, each by a paired bootstrap: the AUC of the subframes, and the recall of the
    blobs that nobody should miss.

    Parameters
    ----------
    champion, candidate : Judgement
    tolerance : float
        The interval of the difference must reach above minus this.
    confidence : float
        Of the two-sided percentile interval.
    resamples : int
        Of the paired bootstrap.
    seed : int
        Of the resamples.

    Raises
    ------
    BlobwatchError
        If the two were judged on different subframes, or these are all of one class.
    """
    labels, rootnames = candidate.labels, candidate.rootnames
    if not (np.array_equal(champion.labels, labels) and np.array_equal(champion.rootnames, rootnames)):
        raise BlobwatchError(
            "the two models were judged on different subframes; run `dvc repro` and compare again"
        )
    if set(np.unique(labels)) != {0, 1}:
        raise BlobwatchError(
            "the test subframes are not of both classes; make more with `dvc repro subframes`"
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
        found = bootstrap_interval(difference, exposures, resamples, confidence, seed)
        passed = found["high"] >= limit
        sentence = (
            f"{words} of the candidate minus the champion's is "
            f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}], "
            f"{'not significantly worse' if passed else 'significantly worse'}: "
            f"the interval {'reaches' if passed else 'must reach'} {limit:+.4f}"
        )
        checks.append(Check(f"not_worse_{name}", passed, sentence, found["value"], limit))
    return checks
