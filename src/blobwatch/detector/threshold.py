"""The threshold above which a detection counts as a blob, chosen on val."""

import numpy as np

from blobwatch.artefact import Model
from blobwatch.dataset.shards import Shard
from blobwatch.detector.metrics import SUBFRAMES_PER_EXPOSURE, Matches
from blobwatch.detector.scoring import score_model


def choose_threshold(model: Model, val_set: Shard, radius: float, rate: float) -> float:
    """Return the threshold with the target rate of false blobs per 100 exposures on val."""
    matches = score_model(model, val_set, radius).matches
    threshold = threshold_at_rate(matches, len(val_set), rate)
    return min(round(threshold, 6), 0.999999)  # a threshold of 1 would reject every blob


def threshold_at_rate(matches: Matches, subframes: int, rate: float) -> float:
    """Return the lowest threshold with at most ``rate`` false blobs per 100 exposures.

    It is the mean, in logit, of the last accepted and the first rejected false blob.
    """
    allowed = int(np.floor(rate * subframes / SUBFRAMES_PER_EXPOSURE / 100))
    ordered = np.sort(matches.false)[::-1]
    if len(ordered) <= allowed:
        return float(ordered[-1]) * 0.999 if len(ordered) else 0.5
    rejected = ordered[allowed]
    if rejected >= 1.0 - 1e-12:
        return float(np.nextafter(rejected, 2.0))  # no probability exceeds it, so nothing is detected
    above = ordered[ordered > rejected]  # equal probabilities are rejected together
    accepted = above[-1] if len(above) else 1.0 - (1.0 - rejected) / 4
    pair = np.array([rejected, min(accepted, 1.0 - 1e-15)])  # the logit of 1 is infinite
    logits = np.log(pair) - np.log1p(-pair)
    return float(1.0 / (1.0 + np.exp(-logits.mean())))
