"""Results of a detector on labelled subframes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from blobwatch.artefact import Model
from blobwatch.dataset.shards import Shard
from blobwatch.detector.metrics import Matches, match_blobs
from blobwatch.images.peaks import Peaks, find_peaks, subframe_probabilities
from blobwatch.images.scaling import dequantize
from blobwatch.images.tiling import tiles
from blobwatch.instrument.wfc3ir import SIZE
from blobwatch.progress import map_in_processes

MIN_PROBABILITY = 0.02  # weaker peaks are dropped
Find = Callable[[np.ndarray], tuple[Peaks, float]]  # scaled image -> peaks, score of the image


@dataclass(frozen=True)
class ScoringResult:
    """Result of a detector on a data set.

    Attributes
    ----------
    scores : ndarray, shape (n,), float
        Probability, per subframe, that it contains a new blob.
    found : list of Peaks
        Detected blobs per subframe.
    matches : Matches
        Detected blobs matched with true blobs.
    """

    scores: np.ndarray
    found: list[Peaks]
    matches: Matches


def score_model(model: Model, data: Shard, radius: float, batch: int = 16) -> ScoringResult:
    """Run a model on a data set; ``radius`` is the largest distance of a match in pixels."""
    scores: list[float] = []
    found = []
    for start in range(0, len(data), batch):
        for output in model.run(data.scaled(slice(start, start + batch))[:, None]):
            peaks = find_peaks(output, model.stride, MIN_PROBABILITY)
            scores.extend(subframe_probabilities(output, model.stride, peaks, MIN_PROBABILITY))
            found.append(peaks)
    return ScoringResult(np.array(scores), found, match_detections(data, found, radius, model.stride))


def score_frames(model: Model, data: Shard, radius: float) -> ScoringResult:
    """Run a model on the whole frames of the ``final`` split, as in production.

    ``data`` contains the sixteen subframes of each frame in order; the results are per subframe.
    """
    scores: list[float] = []
    found = []
    for start in range(0, len(data), len(tiles())):
        frame = np.empty((SIZE, SIZE), dtype=np.float32)
        for tile in tiles():
            frame[tile.region] = data.scaled(start + tile.index)
        output = model.run(frame[None, None])[0]
        peaks = find_peaks(output, model.stride, MIN_PROBABILITY)
        scores.extend(subframe_probabilities(output, model.stride, peaks, MIN_PROBABILITY))
        for tile in tiles():
            here = [i for i in range(len(peaks)) if tile.contains(peaks.x[i], peaks.y[i])]
            found.append(Peaks(peaks.x[here] - tile.x0, peaks.y[here] - tile.y0, peaks.probability[here]))
    return ScoringResult(np.array(scores), found, match_detections(data, found, radius, model.stride))


def match_detections(data: Shard, found: list[Peaks], radius: float, stride: int) -> Matches:
    """Match detected blobs with true blobs.

    For a model without positions, a detection in the right subframe is a match.
    """
    return match_blobs(data, found, radius if stride < data.images.shape[-1] else np.inf)


def score_classical(find: Find, data: Shard, radius: float, name: str, workers: int = 1) -> ScoringResult:
    """Run a classical detector on a data set.

    ``find`` is a detector of one scaled image, such as `baselines.find_by_filter`. ``radius`` is the largest
    distance of a match in pixels, ``name`` the label of the progress bar.
    """
    results = run_classical(find, data, name, workers)
    found = [peaks for peaks, _ in results]
    return ScoringResult(np.array([score for _, score in results]), found, match_blobs(data, found, radius))


def run_classical(find: Find, data: Shard, name: str, workers: int = 1) -> list[tuple[Peaks, float]]:
    """Return the result of a classical detector for each image of a data set."""
    return list(map_in_processes(partial(run_on_quantized, find), list(data.images), name, workers))


def run_on_quantized(find: Find, image: np.ndarray) -> tuple[Peaks, float]:
    """Return the result of a classical detector for one quantized image."""
    return find(dequantize(image))
