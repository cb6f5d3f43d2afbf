"""The detectors on whole frames of the robustness sets, with blobs and sixteen scores as results."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from blobwatch.artefact import Model
from blobwatch.detections import are_residuals, measure_blobs, prepare_for_model
from blobwatch.detector.baselines import find_snr_peaks, matched_filter, score_from_snr
from blobwatch.detector.comparison import has_positions
from blobwatch.detector.scoring import MIN_PROBABILITY
from blobwatch.images.peaks import Peaks, find_peaks, subframe_probabilities
from blobwatch.images.preparation import prepare_frame
from blobwatch.images.tiling import PER_SIDE, SUBFRAME, tiles


@dataclass(frozen=True)
class FinderResult:
    """Result of a detector on one frame.

    Attributes
    ----------
    peaks : Peaks
        Detections in the frame; empty if the detector does not locate blobs.
    scores : ndarray, shape (16,), float
        Scores of the subframes, row-major from the bottom row.
    """

    peaks: Peaks
    scores: np.ndarray


@dataclass(frozen=True)
class Finder:
    """A detector of whole frames with its deployed threshold.

    Attributes
    ----------
    find : callable
        Picklable function that takes a frame, shape (1024, 1024), with NaN, and returns a `FinderResult`.
    threshold : float
    has_positions : bool
        Whether it locates blobs.
    every : int
        Interval of the frames without blobs that are searched. Above 1 for slow detectors with many false
        blobs.
    """

    find: Callable[[np.ndarray], FinderResult]
    threshold: float
    has_positions: bool = True
    every: int = 1


NO_PEAKS = Peaks(*np.zeros((3, 0)))
load_model = lru_cache(maxsize=2)(partial(Model.load, threads=1))  # once per process
SLOW = 6  # for baselines, which take two to three times as long as the network


def model_finder(folder: Path, threshold: float) -> Finder:
    """Return the finder of a deployed model."""
    if has_positions(Model.load(folder)):
        return Finder(partial(find_by_model, folder, threshold), threshold)
    return Finder(partial(score_by_model, folder), threshold, has_positions=False, every=SLOW)


def filter_finder(threshold: float) -> Finder:
    """Return the finder of the matched filters."""
    return Finder(find_by_filters, threshold, every=SLOW)


def find_by_model(folder: Path, threshold: float, image: np.ndarray) -> FinderResult:
    """Detect, measure and filter blobs in a whole frame with a model, as in production."""
    model = load_model(folder)
    prepared = prepare_for_model(model, image)
    output = model.run(prepared.scaled[None, None])[0]
    peaks = find_peaks(output, model.stride, MIN_PROBABILITY)
    strong = peaks.probability >= threshold
    blobs = measure_blobs(peaks.select(strong), prepared.clean)
    x, y = peaks.x.copy(), peaks.y.copy()
    x[strong], y[strong] = [blob.x for blob in blobs], [blob.y for blob in blobs]
    new = strong.copy()
    new[strong] = ~are_residuals(blobs)
    peaks = Peaks(x, y, peaks.probability)
    scores = subframe_probabilities(output, model.stride, peaks.select(new), threshold)
    return FinderResult(peaks.select(new | ~strong), scores)


def score_by_model(folder: Path, image: np.ndarray) -> FinderResult:
    """Score the subframes of a frame with a model without positions."""
    model = load_model(folder)
    scaled = prepare_for_model(model, image).scaled
    cuts = np.stack([scaled[tile.region] for tile in tiles()])[:, None]
    scores = [subframe_probabilities(one, SUBFRAME, NO_PEAKS, np.inf)[0] for one in model.run(cuts)]
    return FinderResult(NO_PEAKS, np.array(scores))


def find_by_filters(image: np.ndarray) -> FinderResult:
    """Detect blobs in a whole frame with the matched filters."""
    snr = matched_filter(prepare_frame(image).scaled)
    blocks = snr.reshape(PER_SIDE, SUBFRAME, PER_SIDE, SUBFRAME)
    return FinderResult(find_snr_peaks(snr)[0], score_from_snr(blocks.max(axis=(1, 3)).ravel()))
