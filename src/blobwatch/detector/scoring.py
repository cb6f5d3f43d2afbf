"""Running a detector over labelled subframes."""

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

MIN_PROBABILITY = 0.02  # probability below which a peak is not worth keeping
Find = Callable[[np.ndarray], tuple[Peaks, float]]  # scaled image -> peaks, and the score of the whole


@dataclass(frozen=True)
class ScoringResult:
    """What a detector said of a set.

    Attributes
    ----------
    scores : ndarray, shape (n,), float
        Per subframe the probability that it holds a new blob.
    found : list of Peaks
        Per subframe.
    matches : Matches
        Found against true blobs.
    """

    scores: np.ndarray
    found: list[Peaks]
    matches: Matches


def score_model(model: Model, data: Shard, radius: float, batch: int = 16) -> ScoringResult:
    """Run a model over a set; ``radius`` (pixels) is what still counts as the same place."""
    scores, found = [], []
    for start in range(0, len(data), batch):
        for output in model.run(data.scaled(slice(start, start + batch))[:, None]):
            peaks = find_peaks(output, model.stride, MIN_PROBABILITY)
            scores.extend(subframe_probabilities(output, model.stride, peaks, MIN_PROBABILITY))
            found.append(peaks)
    return ScoringResult(np.array(scores), found, match_detections(data, found, radius, model.stride))


def score_frames(model: Model, data: Shard, radius: float) -> ScoringResult:
    """Run a model over whole frames, as it is served, and share its answers out to their subframes.

    Parameters
    ----------
    model : Model
    data : Shard
        The ``final`` split: sixteen subframes of each frame, in order.
    radius : float
        Pixels.
    """
    scores, found = [], []
    for start in range(0, len(data), len(tiles())):
        frame = np.empty((SIZE, SIZE), dtype=np.float32)
        for tile in tiles():
            frame[tile.region] = data.scaled(start + tile.index)
        output = model.run(frame[None, None])[0]
        peaks = find_peaks(output, model.stride, MIN_PROBABILITY)
        scores.extend(subframe_probabilities(output, model.stride, peaks, MIN_PROBABILITY))
        for tile in tiles():
            here = [i for i in range(len(peaks)) if tile.holds(peaks.x[i], peaks.y[i])]
            found.append(Peaks(peaks.x[here] - tile.x0, peaks.y[here] - tile.y0, peaks.probability[here]))
    return ScoringResult(np.array(scores), found, match_detections(data, found, radius, model.stride))


def match_detections(data: Shard, found: list[Peaks], radius: float, stride: int) -> Matches:
    """Match found with true blobs; a detector without positions is asked for the right subframe only."""
    return match_blobs(data, found, radius if stride < data.images.shape[-1] else np.inf)


def score_classical(find: Find, data: Shard, radius: float, name: str, workers: int = 1) -> ScoringResult:
    """Run a classical detector over a set.

    Parameters
    ----------
    find : callable
        Of one scaled image, as `baselines.find_by_filter`.
    data : Shard
    radius : float
        Pixels.
    name : str
        Of the detector, for the progress bar.
    workers : int
        Processes.
    """
    answers = run_classical(find, data, name, workers)
    found = [peaks for peaks, _ in answers]
    return ScoringResult(np.array([score for _, score in answers]), found, match_blobs(data, found, radius))


def run_classical(find: Find, data: Shard, name: str, workers: int = 1) -> list[tuple[Peaks, float]]:
    """Return what a classical detector says of each image of a set, of whatever size they are."""
    return list(map_in_processes(partial(run_on_steps, find), list(data.images), name, workers))


def run_on_steps(find: Find, steps: np.ndarray) -> tuple[Peaks, float]:
    """Return what a classical detector says of one image as it is kept."""
    return find(dequantize(steps))
