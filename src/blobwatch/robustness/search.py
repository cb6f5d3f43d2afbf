"""Frames of the robustness sets drawn and searched, in several processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from blobwatch.dataset.shards import BLOB, SUBFRAME, Shard
from blobwatch.images.peaks import Peaks
from blobwatch.images.tiling import tiles
from blobwatch.progress import map_in_processes
from blobwatch.robustness.detectors import NO_PEAKS, Finder, FinderResult
from blobwatch.robustness.frames import SETS, draw_frame
from blobwatch.robustness.limit import compute_limit

BLOBS = 24  # in a frame that has any
EMPTY = 3  # frames without blobs for each with blobs, since false blobs are rare
TOGETHER = 4  # frames that a process gets at a time


@dataclass(frozen=True)
class SearchedFrame:
    """What there is in one frame, and what each detector that searched it finds."""

    blobs: np.ndarray
    limit: np.ndarray
    found: dict[str, FinderResult]


@dataclass(frozen=True)
class SearchedSet:
    """All frames of one set.

    Attributes
    ----------
    truth : Shard
        Frames in place of subframes, without their images; first those with blobs.
    limit : ndarray, shape (m,), float
        Probability that the limit finds each blob.
    peaks : dict of list of Peaks
        By detector, per frame; none where it did not search.
    scores : dict of ndarray, shape (frames, 16)
        By detector; NaN where it did not search.
    strongest : ndarray, shape (frames, 16), float
        SNR of the strongest blob of a subframe, 0 without.
    """

    truth: Shard
    limit: np.ndarray
    peaks: dict[str, list[Peaks]]
    scores: dict[str, np.ndarray]
    strongest: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Labels of the subframes, shape (frames, 16): 1 where the centre of a blob is inside."""
        return (self.strongest > 0).astype(int)


def search_sets(
    finders: dict[str, Finder],
    frames: int,
    rate: float,
    seed: int,
    templates: Sequence[np.ndarray] = (),
    workers: int = 1,
) -> dict[str, SearchedSet]:
    """Draw all sets and run all detectors over them.

    Parameters
    ----------
    finders : dict of Finder
        By key.
    frames : int
        With blobs, per set; `EMPTY` times as many without.
    rate : float
        False blobs per 100 frames of the limit.
    seed : int
    templates : sequence of ndarray
        Measured profiles beside the drawn shapes.
    workers : int
        Processes.
    """
    total = (1 + EMPTY) * frames
    todo = [(name, index, BLOBS if index < frames else 0) for name in SETS for index in range(total)]
    work = partial(search_frame, finders, rate, seed, templates)
    done = list(map_in_processes(work, todo, "robustness", workers, TOGETHER))
    parts = {name: done[n * total : (n + 1) * total] for n, name in enumerate(SETS)}
    return {name: join_frames(part) for name, part in parts.items()}


def search_frame(
    finders: dict[str, Finder], rate: float, seed: int, templates: Sequence[np.ndarray], item: tuple
) -> SearchedFrame:
    """Draw one frame and run all detectors over it; ``item`` is its set, its number and its blobs."""
    name, index, blobs = item
    rng = np.random.default_rng([seed, list(SETS).index(name), index])
    frame = draw_frame(name, rng, blobs, templates)
    chosen = {key: finder for key, finder in finders.items() if blobs or index % finder.every == 0}
    found = {key: finder.find(frame.image) for key, finder in chosen.items()}
    return SearchedFrame(frame.blobs, compute_limit(frame, rate).recall, found)


def join_frames(frames: list[SearchedFrame]) -> SearchedSet:
    """Return the frames of one set as one."""
    counts = [len(frame.blobs) for frame in frames]
    blobs = np.zeros(sum(counts), dtype=BLOB)
    blobs["subframe"] = np.repeat(np.arange(len(frames)), counts)
    for key in ("x", "y", "snr", "half_width"):
        blobs[key] = np.concatenate([frame.blobs[key] for frame in frames])
    origins = np.zeros(len(frames), dtype=SUBFRAME)
    origins["label"] = np.array(counts) > 0
    names = np.array([f"frame {index:03d}" for index in range(len(frames))])
    truth = Shard(np.zeros((len(frames), 0), dtype=np.int8), origins, blobs, names)
    keys, nothing = frames[0].found, FinderResult(NO_PEAKS, np.full(len(tiles()), np.nan))
    found = {key: [frame.found.get(key, nothing) for frame in frames] for key in keys}
    return SearchedSet(
        truth,
        np.concatenate([frame.limit for frame in frames]),
        {key: [one.peaks for one in found[key]] for key in keys},
        {key: np.stack([one.scores for one in found[key]]) for key in keys},
        np.stack([strongest_blobs(frame.blobs) for frame in frames]),
    )


def strongest_blobs(blobs: np.ndarray) -> np.ndarray:
    """Return the SNR of the strongest blob of each subframe, 0 without, shape (16,)."""
    inside = [[tile.contains(one["x"], one["y"]) for one in blobs] for tile in tiles()]
    return np.array([max(blobs["snr"][members], default=0.0) for members in np.array(inside, dtype=bool)])
