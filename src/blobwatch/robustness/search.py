"""Parallel generation and search of the frames of the robustness sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from blobwatch.dataset.shards import BLOB, SUBFRAME, Shard
from blobwatch.images.peaks import Peaks
from blobwatch.images.tiling import PER_SIDE
from blobwatch.images.tiling import SUBFRAME as TILE
from blobwatch.progress import map_in_processes
from blobwatch.robustness.detectors import NO_PEAKS, Finder, FinderResult
from blobwatch.robustness.frames import SETS, draw_frame
from blobwatch.robustness.limit import compute_limit

BLOBS = 24  # per frame with blobs
EMPTY = 3  # frames without blobs per frame with blobs, because false blobs are rare
CHUNK = 4  # frames per task of a process


@dataclass(frozen=True)
class SearchedFrame:
    """The true blobs of one frame, their limit, and the results of the detectors that searched it."""

    blobs: np.ndarray
    limit: np.ndarray
    found: dict[str, FinderResult]


@dataclass(frozen=True)
class SearchedSet:
    """All frames of one set.

    Attributes
    ----------
    truth : Shard
        Frames instead of subframes, without images; frames with blobs come first.
    limit : ndarray, shape (m,), float
        Probability of each blob to be detected at the limit.
    peaks : dict of list of Peaks
        Detections by detector and frame; empty if the frame was not searched.
    scores : dict of ndarray, shape (frames, 16)
        Scores by detector; NaN if the frame was not searched.
    strongest : ndarray, shape (frames, 16), float
        SNR of the strongest blob of each subframe, 0 without blobs.
    """

    truth: Shard
    limit: np.ndarray
    peaks: dict[str, list[Peaks]]
    scores: dict[str, np.ndarray]
    strongest: np.ndarray

    def searched(self, key: str) -> np.ndarray:
        """Return the mask of the frames that a detector searched."""
        return np.isfinite(self.scores[key]).all(axis=1)


def search_sets(
    finders: dict[str, Finder],
    frames: int,
    rate: float,
    seed: int,
    templates: Sequence[np.ndarray] = (),
    workers: int = 1,
) -> dict[str, SearchedSet]:
    """Draw all sets and run all detectors on them.

    Parameters
    ----------
    finders : dict of Finder
        Finders by key.
    frames : int
        Frames with blobs per set. There are `EMPTY` times as many without blobs.
    rate : float
        False blobs per 100 frames at the limit.
    seed : int
    templates : sequence of ndarray
        Measured profiles, used in addition to the drawn shapes.
    workers : int
        Number of processes.
    """
    total = (1 + EMPTY) * frames
    items = [(name, index, BLOBS if index < frames else 0) for name in SETS for index in range(total)]
    work = partial(search_frame, finders, rate, seed, templates)
    done = list(map_in_processes(work, items, "robustness", workers, CHUNK))
    parts = {name: done[n * total : (n + 1) * total] for n, name in enumerate(SETS)}
    return {name: join_frames(part) for name, part in parts.items()}


def search_frame(
    finders: dict[str, Finder], rate: float, seed: int, templates: Sequence[np.ndarray], item: tuple
) -> SearchedFrame:
    """Draw and search one frame; ``item`` is its set, its index and the number of blobs."""
    name, index, blobs = item
    rng = np.random.default_rng([seed, list(SETS).index(name), index])
    frame = draw_frame(name, rng, blobs, templates)
    chosen = {key: finder for key, finder in finders.items() if blobs or index % finder.every == 0}
    found = {key: finder.find(frame.image) for key, finder in chosen.items()}
    return SearchedFrame(frame.blobs, compute_limit(frame, rate), found)


def join_frames(frames: list[SearchedFrame]) -> SearchedSet:
    """Return the frames of one set as a `SearchedSet`."""
    counts = [len(frame.blobs) for frame in frames]
    blobs = np.zeros(sum(counts), dtype=BLOB)
    blobs["subframe"] = np.repeat(np.arange(len(frames)), counts)
    for key in ("x", "y", "snr", "half_width"):
        blobs[key] = np.concatenate([frame.blobs[key] for frame in frames])
    strongest = np.zeros((len(frames), PER_SIDE, PER_SIDE))
    row, column = (((blobs[axis] + 0.5) // TILE).astype(int) for axis in ("y", "x"))
    np.maximum.at(strongest, (blobs["subframe"], row, column), blobs["snr"])
    origins = np.zeros(len(frames), dtype=SUBFRAME)
    origins["label"] = np.array(counts) > 0
    names = np.array([f"frame {index:03d}" for index in range(len(frames))])
    truth = Shard(np.zeros((len(frames), 0), dtype=np.int8), origins, blobs, names)
    keys, missing = frames[0].found, FinderResult(NO_PEAKS, np.full(PER_SIDE**2, np.nan))
    found = {key: [frame.found.get(key, missing) for frame in frames] for key in keys}
    return SearchedSet(
        truth,
        np.concatenate([frame.limit for frame in frames]),
        {key: [one.peaks for one in found[key]] for key in keys},
        {key: np.stack([one.scores for one in found[key]]) for key in keys},
        strongest.reshape(len(frames), -1),
    )
