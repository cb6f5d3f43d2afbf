"""Whether a probability is one: of the subframes given 0.7, seven in ten should hold a blob."""

import numpy as np

BINS = 15  # of equal width, from 0 to 1


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the expected calibration error: mean distance of probability and share, over the bins.

    Parameters
    ----------
    labels : ndarray, shape (n,), int
    probabilities : ndarray, shape (n,), float
    """
    number = bin_index(probabilities)
    # Per bin: count times (mean probability - share of positives), without the division.
    gap = np.bincount(number, weights=probabilities - labels, minlength=BINS)
    return float(np.abs(gap).sum() / len(labels))


def bin_index(probabilities: np.ndarray) -> np.ndarray:
    """Return the number of the bin of each probability; 1 belongs to the last."""
    return np.minimum((probabilities * BINS).astype(int), BINS - 1)


def reliability_table(labels: np.ndarray, probabilities: np.ndarray, confidence: float) -> list[dict]:
    """Return the reliability diagram, one row per bin that is not empty.

    Parameters
    ----------
    labels : ndarray, shape (n,), int
    probabilities : ndarray, shape (n,), float
    confidence : float
        Of the interval, Wilson's: resampling says nothing of the few subframes of a bin that are all alike.

    Returns
    -------
    list of dict
        ``bin_low``, ``bin_high``, ``subframes``, ``probability`` (mean), ``share`` that holds a blob,
        with ``low`` and ``high``.
    """
    from scipy.stats import binomtest

    number = bin_index(probabilities)
    rows = []
    for k in np.unique(number):
        here = number == k
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
    """Return slope and shift that make ``slope * logit + shift`` the logit of a probability (Platt 1999).

    Parameters
    ----------
    labels : ndarray, shape (n,), int
        Of both classes.
    logits : ndarray, shape (n,), float
    """
    from sklearn.linear_model import LogisticRegression

    # The tails are long, and a wrong one far out must not turn the slope.
    model = LogisticRegression(C=1e6, tol=1e-8).fit(np.clip(logits, -15, 15)[:, None], labels)
    return float(model.coef_[0, 0]), float(model.intercept_[0])
