"""The detectors that are compared on the same subframes at the same rate of false blobs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from blobwatch.artefact import Model
from blobwatch.dataset.shards import Shard
from blobwatch.detector.baselines import find_by_filter, find_by_laplacian
from blobwatch.detector.scoring import ScoringResult, score_classical, score_frames, score_model
from blobwatch.detector.threshold import threshold_at_rate
from blobwatch.images.tiling import SUBFRAME

CNN, FILTERS = "CNN", "matched filters"
PREDECESSOR, LAPLACIAN = "predecessor's CNN", "Laplacian of Gaussian"
IDEAL = "ideal observer"  # on clean frames only


@dataclass(frozen=True)
class Detector:
    """One of the compared detectors.

    Attributes
    ----------
    name : str
        Name in tables and figures.
    key : str
        Key in ``metrics.json`` and ``predictions.csv``.
    score : callable
        Takes a set of subframes and returns a `ScoringResult`.
    threshold : float or None
        Deployed threshold; None if it must be chosen on val.
    has_positions : bool
        Whether it returns positions of blobs.
    calibrated : bool
        Whether its scores are probabilities.
    score_final : callable or None
        Like ``score``, for the whole frames of the ``final`` split; None if it is not run on them.
    """

    name: str
    key: str
    score: Callable[[Shard], ScoringResult]
    threshold: float | None = None
    has_positions: bool = True
    calibrated: bool = False
    score_final: Callable[[Shard], ScoringResult] | None = None


@dataclass(frozen=True)
class DetectorResult:
    """A detector, its threshold, and its results on the test subframes and the final frames."""

    detector: Detector
    threshold: float
    test: ScoringResult
    final: ScoringResult | None


def list_detectors(model: Model, predecessor: Model, radius: float, workers: int) -> list[Detector]:
    """Return the network and its baselines.

    ``radius`` is the largest distance of a match in pixels; ``workers`` is the number of processes of the
    classical detectors.
    """

    def network(model: Model) -> dict:
        score = partial(score_model, model, radius=radius)
        return {"score": score, "has_positions": has_positions(model), "calibrated": True}

    def classical(find, name: str) -> partial:
        return partial(score_classical, find, radius=radius, name=name, workers=workers)

    filters = classical(find_by_filter, FILTERS)
    frames = partial(score_frames, model, radius=radius)
    return [
        Detector(CNN, "cnn", threshold=model.threshold, score_final=frames, **network(model)),
        Detector(FILTERS, "matched_filter", filters, score_final=filters),
        Detector(PREDECESSOR, "predecessor", **network(predecessor)),
        Detector(LAPLACIAN, "laplacian", classical(find_by_laplacian, LAPLACIAN)),
    ]


def has_positions(model: Model) -> bool:
    """Return whether a model locates blobs within a subframe."""
    return model.stride < SUBFRAME


def evaluate_detector(
    detector: Detector, val: Shard, test: Shard, final: Shard, rate: float
) -> DetectorResult:
    """Run a detector on the test subframes and the final frames.

    If the detector has no threshold, it is chosen on val for ``rate`` false blobs per 100 exposures.
    """
    threshold = detector.threshold
    if threshold is None:
        threshold = threshold_at_rate(detector.score(val).matches, len(val), rate)
    on_final = detector.score_final(final) if detector.score_final else None
    return DetectorResult(detector, threshold, detector.score(test), on_final)
