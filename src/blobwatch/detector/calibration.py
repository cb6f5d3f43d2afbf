"""Calibration: of the subframes with probability 0.7, 70 % should contain a blob."""

import numpy as np

BINS = 15  # of equal width, from 0 to 1


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the expected calibration error.

    Parameters
    ----------
    labels : ndarray, shape (n,), int
    probabilities : ndarray, shape (n,), float
    """
    # Per bin: count times (mean probability - share of positives), without the division.
    gap = np.bincount(bin_index(probabilities), weights=probabilities - labels, minlength=BINS)
    return float(np.abs(gap).sum() / len(labels))


def bin_index(probabilities: np.ndarray) -> np.ndarray:
    """Return the bin of each probability; 1 belongs to the last bin."""
    return np.minimum((probabilities * BINS).astype(int), BINS - 1)


def reliability_table(labels: np.ndarray, probabilities: np.ndarray, confidence: float) -> list[dict]:
    """Return the rows of the reliability diagram, one per non-empty bin.

    Parameters
    ----------
    labels : ndarray, shape (n,), int
    probabilities : ndarray, shape (n,), float
    confidence : float
        Confidence of the Wilson interval. A bootstrap interval has no width if all labels of a bin are equal.

    Returns
    -------
    list of dict
        ``bin_low``, ``bin_high``, ``subframes``, ``probability`` (mean), ``share`` with a blob,
        with ``low`` and ``high``.
    """
    from scipy.stats import binomtest

    index = bin_index(probabilities)
    rows = []
    for k in np.unique(index):
        here = index == k
        blobs, subframes = int(labels[here].sum()), int(here.sum())
        share = binomtest(blobs, subframes).proportion_ci(confidence, method="wilson")
        row = {
            "bin_low": k / BINS,
            "bin_high": (k + 1) / BINS,
            "subframes": subframes,
            "probability": probabilities[here].mean(),
            "share": blobs / subframes,
            "low": share.low,
            "high": share.high,
        }
        rows.append({key: round(float(value), 6) for key, value in row.items()} | {"subframes": subframes})
    return rows


def fit_platt_scaling(labels: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """Return the slope and shift that calibrate logits (Platt 1999).

    Parameters
    ----------
    labels : ndarray, shape (n,), int
        Must contain both classes.
    logits : ndarray, shape (n,), float

    Returns
    -------
    slope, shift : float
        ``slope * logit + shift`` is the logit of a calibrated probability.
    """
    from sklearn.linear_model import LogisticRegression

    # Clipping limits the influence of a wrong label far out in the long tails.
    model = LogisticRegression(C=1e6, tol=1e-8).fit(np.clip(logits, -15, 15)[:, None], labels)
    return float(model.coef_[0, 0]), float(model.intercept_[0])
