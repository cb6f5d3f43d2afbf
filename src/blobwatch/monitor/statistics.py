"""Statistics of each analyzed exposure that are watched for drift."""

from dataclasses import asdict, dataclass

import numpy as np

from blobwatch.images.quality import STREAK, block_medians
from blobwatch.images.scaling import level_and_noise
from blobwatch.predict import Prediction

FAINTEST = 1e-7  # probabilities are clipped to this, so that the log-odds stay finite
STATISTICS = {  # label of each statistic
    "noise": "noise per pixel",
    "contaminants": "contaminated share of the frame",
    "score": "median log-odds of a blob in a subframe",
    "found": "blobs found per exposure",
}


@dataclass(frozen=True)
class ExposureStatistics:
    """Statistics of one difference image and its prediction.

    Attributes
    ----------
    noise : float
        Per pixel, fraction of the background.
    contaminants : float
        Share of 4 x 4 blocks whose median differs from the level by more than noise explains.
    score : float
        Median log-odds of a blob in the sixteen subframes. A few subframes with a blob do not change it.
    found : float
        Number of blobs found.
    """

    noise: float
    contaminants: float
    score: float
    found: float

    def as_dict(self) -> dict[str, float]:
        """Return the statistics by name."""
        return asdict(self)


def measure_statistics(prediction: Prediction) -> ExposureStatistics:
    """Return the statistics of a difference image."""
    level, noise = level_and_noise(prediction.frame)
    medians, spread = block_medians(prediction.frame, noise)
    probabilities = np.clip(prediction.probabilities, FAINTEST, 1 - FAINTEST)
    return ExposureStatistics(
        noise=noise,
        contaminants=float((np.abs(medians - level) > STREAK * spread).mean()),
        score=float(np.median(np.log(probabilities / (1 - probabilities)))),
        found=float(len(prediction.blobs)),
    )
