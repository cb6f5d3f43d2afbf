"""Statistics of each analyzed exposure that are watched for drift."""

import numpy as np

from blobwatch.images.quality_measures import STREAK, block_medians
from blobwatch.images.scaling import level_and_noise
from blobwatch.predict import Prediction

FAINTEST = 1e-7  # probabilities are clipped to this, so that the log-odds stay finite
STATISTICS = {  # label of each statistic
    "noise": "noise per pixel",
    "contaminants": "contaminated share of the frame",
    "score": "median log-odds of a blob in a subframe",
    "found": "blobs found per exposure",
}


def measure_statistics(prediction: Prediction) -> dict[str, float]:
    """Return the statistics of one difference image and its prediction.

    Returns
    -------
    dict of str to float
        ``noise`` per pixel, fraction of the background; ``contaminants``, the share of 4 x 4 blocks whose
        median differs from the level by more than noise explains; ``score``, the median log-odds of a blob in
        the sixteen subframes (a few subframes with a blob do not change it); ``found``, the number of blobs.
    """
    level, noise = level_and_noise(prediction.frame)
    medians, spread = block_medians(prediction.frame, noise)
    probabilities = np.clip(prediction.probabilities, FAINTEST, 1 - FAINTEST)
    return {
        "noise": noise,
        "contaminants": float((np.abs(medians - level) > STREAK * spread).mean()),
        "score": float(np.median(np.log(probabilities / (1 - probabilities)))),
        "found": float(len(prediction.blobs)),
    }
