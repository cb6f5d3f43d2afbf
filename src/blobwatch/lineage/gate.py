"""The gate in front of promotion: absolute floors, and not worse than the champion. Pure functions."""

from dataclasses import dataclass

import numpy as np

from blobwatch.detector.metrics import auc, interval
from blobwatch.errors import BlobwatchError

# name in params.yaml -> section of metrics.json, the sense of the limit, the quantity in words
FLOORS = {
    "auc": ("subframes", "least", "AUC of the test subframes"),
    "recall_above_15": ("blobs", "least", "recall of blobs above SNR 15"),
    "false_per_100": ("blobs", "most", "false blobs per 100 exposures"),
    "position_error": ("blobs", "most", "median position error in pixels"),
}


@dataclass(frozen=True)
class Check:
    """One condition of the gate: a value, its limit, whether it holds, and the sentence that says so."""

    name: str
    passed: bool
    value: float | None
    limit: float
    sentence: str


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
        sentence = f"{words} {found}; at {sense} {limit:g} required"
        checks.append(Check(name, passed, value if measured else None, limit, sentence))
    return checks


def not_worse(
    labels: np.ndarray,
    rootnames: np.ndarray,
    champion: np.ndarray,
    candidate: np.ndarray,
    tolerance: float,
    confidence: float,
    resamples: int,
    seed: int,
) -> Check:
    """Check that a candidate is not significantly worse than the champion on the same subframes.

    Parameters
    ----------
    labels : ndarray, shape (n,), int
        1 where the subframe holds a new blob, else 0; both must occur.
    rootnames : ndarray, shape (n,), str
        The exposure of each subframe; whole exposures are resampled.
    champion, candidate : ndarray, shape (n,), float
        The scores that the two models give to these subframes.
    tolerance : float
        The interval of the AUC difference must reach above minus this.
    confidence : float
        Of the two-sided percentile interval.
    resamples : int
        Of the paired bootstrap.
    seed : int
        Of the resamples.

    Raises
    ------
    BlobwatchError
        If the two were scored on different subframes, or these are all of one class.
    """
    if not (labels.shape == np.shape(champion) == np.shape(candidate)):
        raise BlobwatchError(
            "the two models were scored on different subframes; run `dvc repro` and compare again"
        )
    if set(np.unique(labels)) != {0, 1}:
        raise BlobwatchError(
            "the test subframes are not of both classes; make more with `dvc repro subframes`"
        )

    def difference(chosen: np.ndarray) -> float:
        return auc(labels[chosen], candidate[chosen]) - auc(labels[chosen], champion[chosen])

    found = interval(difference, rootnames, resamples, confidence, seed)
    limit = 0.0 - tolerance  # not -0.0
    passed = found["high"] >= limit
    sentence = (
        "AUC of the candidate minus the champion's is "
        f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}], "
        f"{'not significantly worse' if passed else 'significantly worse'}: "
        f"the interval {'reaches' if passed else 'must reach'} {limit:+.4f}"
    )
    return Check("not_worse", passed, found["value"], limit, sentence)
