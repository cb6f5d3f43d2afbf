"""The detectors that are judged side by side: on the same subframes, at the same rate of false blobs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from blobwatch.artefact import Model
from blobwatch.dataset.shards import Shard
from blobwatch.detector.baselines import find_by_filter, find_by_laplacian
from blobwatch.detector.metrics import threshold_at_rate
from blobwatch.detector.scoring import ScoringResult, score_classical, score_frames, score_model
from blobwatch.images.tiling import SUBFRAME

CNN, FILTERS = "CNN", "matched filters"
PREDECESSOR, LAPLACIAN = "predecessor's CNN", "Laplacian of Gaussian"
IDEAL = "ideal observer"  # on clean frames only


@dataclass(frozen=True)
class Detector:
    """One of them.

    Attributes
    ----------
    name : str
        In tables and pictures.
    key : str
        In ``metrics.json`` and ``predictions.csv``.
    score : callable
        Takes a set of subframes and returns `ScoringResult`.
    threshold : float or None
        Of a model that is served, set on val when it was trained; None where it is still to be set there.
    has_positions : bool
        Whether it says where in the subframe a blob is.
    calibrated : bool
        Whether its scores are meant as probabilities.
    score_final : callable or None
        As ``score``, for the season's whole frames; None where it is not asked about them.
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
    """A detector, its threshold, and what it said of the test subframes and of the final frames."""

    detector: Detector
    threshold: float
    test: ScoringResult
    final: ScoringResult | None


def list_detectors(model: Model, predecessor: Model, radius: float, workers: int) -> list[Detector]:
    """Return the network, and what it must beat.

    Parameters
    ----------
    model, predecessor : Model
        The network that is judged; that of the predecessor, trained on the same subframes.
    radius : float
        Pixels within which a found blob is the true one.
    workers : int
        Processes of the classical detectors.
    """

    def classical(find, name: str) -> partial:
        return partial(score_classical, find, radius=radius, name=name, workers=workers)

    def network(of: Model) -> dict:
        return {
            "score": partial(score_model, of, radius=radius),
            "has_positions": has_positions(of),
            "calibrated": True,
        }

    bank = classical(find_by_filter, FILTERS)
    on_frames = partial(score_frames, model, radius=radius)
    return [
        Detector(CNN, "cnn", threshold=model.threshold, score_final=on_frames, **network(model)),
        Detector(FILTERS, "matched_filter", bank, score_final=bank),
        Detector(PREDECESSOR, "predecessor", **network(predecessor)),
        Detector(LAPLACIAN, "laplacian", classical(find_by_laplacian, LAPLACIAN)),
    ]


def has_positions(model: Model) -> bool:
    """Return whether a model says where in a subframe a blob is."""
    return model.stride < SUBFRAME


def evaluate_detector(
    detector: Detector, val: Shard, test: Shard, final: Shard, rate: float
) -> DetectorResult:
    """Run a detector over the test subframes; where it brings no threshold, set one on val.

    Parameters
    ----------
    detector : Detector
    val, test, final : Shard
    rate : float
        False blobs per 100 exposures that the threshold allows on val.
    """
    threshold = detector.threshold
    if threshold is None:
        threshold = threshold_at_rate(detector.score(val).matches, len(val), rate)
    on_final = detector.score_final(final) if detector.score_final else None
    return DetectorResult(detector, threshold, detector.score(test), on_final)
