"""What is measured of each judged exposure to see whether the sky and the model are still what they were."""

from dataclasses import asdict, dataclass

import numpy as np

from blobwatch.images.quality import STREAK, block_medians
from blobwatch.images.scaling import level_and_noise
from blobwatch.predict import Prediction

FAINTEST = 1e-7  # a probability below it says no more


@dataclass(frozen=True)
class Traits:
    """Of one difference image and what the model said of it.

    Attributes
    ----------
    noise : float
        Per pixel, fraction of the background.
    contaminants : float
        Share of the frame, in blocks of 4 x 4 pixels, that lies off the level by more than noise makes.
    score : float
        Median log-odds of a blob in the sixteen subframes: a few that hold one do not move it.
    found : float
        Number of blobs found.
    """

    noise: float
    contaminants: float
    score: float
    found: float

    def as_dict(self) -> dict[str, float]:
        """Return the traits by name."""
        return asdict(self)


WORDS = {
    "noise": "noise per pixel",
    "contaminants": "contaminated share of the frame",
    "score": "median log-odds of a blob in a subframe",
    "found": "blobs found per exposure",
}


def traits_of(answer: Prediction) -> Traits:
    """Return the traits of a judged difference image."""
    level, noise = level_and_noise(answer.frame)
    chances = np.clip(answer.probabilities, FAINTEST, 1 - FAINTEST)
    return Traits(
        noise=noise,
        contaminants=contaminated_share(answer.frame, level, noise),
        score=float(np.median(np.log(chances / (1 - chances)))),
        found=float(len(answer.blobs)),
    )


def contaminated_share(image: np.ndarray, level: float, noise: float) -> float:
    """Return the share of blocks whose median is off the level, either way, by more than noise makes."""
    known, spread = block_medians(image, noise)
    return float((np.abs(known - level) > STREAK * spread).mean())
