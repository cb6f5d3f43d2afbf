"""Clean frames: white noise and blobs of known SNR, to compare detectors with the ideal observer."""

from dataclasses import replace

import numpy as np

from blobwatch.artefact import Model
from blobwatch.dataset.injection import inject_blob
from blobwatch.dataset.shards import BLOB, SUBFRAME, Shard
from blobwatch.dataset.subframes import make_blob_row
from blobwatch.detections import prepare_for_model
from blobwatch.detector.baselines import find_by_filter, score_from_snr, snr_from_score
from blobwatch.detector.breakdowns import completeness_table
from blobwatch.detector.comparison import CNN, FILTERS, IDEAL
from blobwatch.detector.ideal_observer import find_by_ideal_observer
from blobwatch.detector.metrics import Bootstrap, far_from_blobs, match_blobs, snr_at_half
from blobwatch.detector.scoring import MIN_PROBABILITY, run_classical
from blobwatch.images.peaks import Peaks, find_peaks
from blobwatch.images.scaling import quantize, scale_frame
from blobwatch.instrument.blobs import depth_at_snr, draw_blob
from blobwatch.instrument.wfc3ir import SIZE
from blobwatch.progress import track

PER_SIDE = 8  # cells along each side of a frame; each contains one blob
JITTER = 24.0  # largest offset from the middle of the cell, pixels
AWAY = 40.0  # peaks farther than this from each blob, in pixels, are noise; blobs are at least 2 * AWAY apart
NOISE_AREA = 1.0 - np.pi * AWAY**2 * PER_SIDE**2 / SIZE**2  # fraction of a frame that is far from any blob
SNR = (3.0, 12.0)
SNR_EDGES = (3, 4, 4.5, 5, 5.5, 6, 6.5, 7, 8, 9, 10, 12)
TAIL = 100  # number of the highest noise peaks to which the tail is fitted
SAME_RATE = f"{CNN}, same rate"
KEYS = {SAME_RATE: "cnn", IDEAL: "ideal_observer", FILTERS: "matched_filters"}


def draw_clean_frame(rng: np.random.Generator, blobs: bool = True) -> tuple[np.ndarray, list]:
    """Draw a clean frame, float32, in sigma per pixel, and its blobs.

    The blobs are on a jittered grid and do not overlap. The unit of their depth is sigma.
    """
    image = rng.standard_normal((SIZE, SIZE), dtype=np.float32)
    drawn = []
    middles = (np.arange(PER_SIDE) + 0.5) * (SIZE / PER_SIDE) - 0.5
    for y in middles if blobs else ():
        for x in middles:
            dx, dy = rng.uniform(-JITTER, JITTER, 2)
            blob = draw_blob(rng, x + dx, y + dy, depth=1.0)
            blob = replace(blob, depth=depth_at_snr(blob, rng.uniform(*SNR), noise=1.0))
            inject_blob(image, np.ones_like(image), blob, 0, 0)
            drawn.append(blob)
    return image, drawn


def draw_clean_set(rng: np.random.Generator, frames: int) -> Shard:
    """Draw clean frames as a shard with images of shape (frames, 1024, 1024)."""
    images, rows = [], []
    for number in range(frames):
        image, blobs = draw_clean_frame(rng)
        images.append(quantize(scale_frame(image, 0.0, 1.0)))
        rows += [make_blob_row(number, blob.x, blob.y, blob, noise=1.0, injected=True) for blob in blobs]
    origins = np.zeros(frames, dtype=SUBFRAME)
    origins["label"] = 1
    names = np.array([f"clean {number:03d}" for number in range(frames)])
    return Shard(np.stack(images), origins, np.array(rows, dtype=BLOB), names)


def find_by_model(model: Model, image: np.ndarray) -> Peaks:
    """Return the detections of a model in a whole frame, scaled as in production."""
    output = model.run(prepare_for_model(model, image).scaled[None, None])[0]
    return find_peaks(output, model.stride, MIN_PROBABILITY)


def noise_probabilities(data: Shard, found: list[Peaks]) -> np.ndarray:
    """Return the probabilities of the detections far from any true blob."""
    far = [far_from_blobs(peaks, data.blobs_of(index), AWAY) for index, peaks in enumerate(found)]
    return np.concatenate([peaks.probability[mask] for peaks, mask in zip(found, far, strict=True)])


def strength_threshold(strengths: np.ndarray, frames: float, rate: float) -> float:
    """Return the strength that noise exceeds with ``rate`` peaks per 100 frames.

    Parameters
    ----------
    strengths : ndarray, shape (k,), float
        Strengths of noise peaks, on a scale on which the logarithm of the number of higher peaks decreases
        linearly: the squared SNR of a linear filter, or the logit of a network.
    frames : float
        Number of frames in which the peaks were found.
    rate : float

    Notes
    -----
    At low rates only one or two peaks remain, so a line is fitted to the `TAIL` highest peaks. A
    Gaussian field has ``t exp(-t**2 / 2)`` peaks above ``t``, dominated by the exponential. For the logits
    of the networks the linear decrease was measured between one and ten peaks per frame.
    """
    highest = np.sort(strengths)[::-1][:TAIL]
    if len(highest) < 3 or highest[0] == highest[-1]:
        return -np.inf  # almost no peaks: each threshold satisfies the rate
    above = np.log(100 * (np.arange(len(highest)) + 0.5) / frames)
    slope, start = np.polyfit(highest, above, 1)
    return float((np.log(rate) - start) / slope)


def network_threshold(noise: np.ndarray, frames: int, rate: float) -> float:
    """Return the probability that noise exceeds with ``rate`` peaks per 100 frames."""
    logit = strength_threshold(np.log(noise) - np.log1p(-noise), frames, rate)
    # Less probable peaks are dropped; a network with fewer peaks stays below the rate.
    return max(MIN_PROBABILITY, float(1 / (1 + np.exp(-logit))))


def filter_threshold(data: Shard, found: list[Peaks], rate: float) -> float:
    """Return the score threshold of a linear filter.

    At this score, it has ``rate`` noise peaks per 100 clean frames.
    """
    snr = snr_from_score(noise_probabilities(data, found))
    squared = strength_threshold(snr**2, len(data) * NOISE_AREA, rate)
    return float(score_from_snr(np.sqrt(max(0.0, squared))))


def evaluate_clean_frames(
    model: Model,
    rng: np.random.Generator,
    frames: int,
    empty: int,
    radius: float,
    rate: float,
    draw: Bootstrap,
    workers: int = 1,
) -> tuple[dict, dict[str, list[dict]]]:
    """Evaluate the network, the matched filters and the ideal observer on the same clean frames.

    Parameters
    ----------
    model : Model
    rng : Generator
    frames : int
        Frames with blobs.
    empty : int
        Frames without blobs, for the network.
    radius : float
        Largest distance of a match, pixels.
    rate : float
        False blobs per 100 frames at which the detectors are compared.
    draw : Bootstrap
    workers : int
        Processes of the matched filters.

    Returns
    -------
    report : dict
        ``exposures``, ``blobs``; ``false_per_100`` and ``snr_at_half`` of the network at its deployed
        threshold; ``same_rate`` with ``threshold`` and ``snr_at_half`` of each detector.
    completeness : dict of list of dict
        Rows of ``completeness.csv`` by detector.
    """
    data = draw_clean_set(rng, frames)
    found = {CNN: [find_by_model(model, data.scaled(index)) for index in range(frames)]}
    found[FILTERS] = [peaks for peaks, _ in run_classical(find_by_filter, data, f"{FILTERS}, clean", workers)]
    found[IDEAL] = [peaks for peaks, _ in run_classical(find_by_ideal_observer, data, IDEAL)]
    found[SAME_RATE] = found[CNN]
    bar = track(range(empty), empty, f"{CNN}, clean")
    noise = [find_by_model(model, draw_clean_frame(rng, blobs=False)[0]).probability for _ in bar]
    thresholds = {CNN: model.threshold, SAME_RATE: network_threshold(np.concatenate(noise), empty, rate)}
    thresholds |= {name: filter_threshold(data, found[name], rate) for name in (FILTERS, IDEAL)}
    hits = {name: match_blobs(data, found[name], radius).hit >= thresholds[name] for name in thresholds}
    exposures, snr = data.rootnames[data.blobs["subframe"]], data.blobs["snr"]

    def estimate_half(hit: np.ndarray) -> dict[str, float]:
        return draw(lambda index: snr_at_half(snr[index], hit[index]), exposures)

    half = {name: estimate_half(hit) for name, hit in hits.items()}
    false = np.array([(probability >= model.threshold).sum() for probability in noise])
    report = {
        "exposures": frames,
        "blobs": len(data.blobs),
        "false_per_100": draw.mean(false, np.arange(empty), 100),
        "snr_at_half": half[CNN],
        "same_rate": {
            key: {"threshold": round(float(thresholds[name]), 6), "snr_at_half": half[name]}
            for name, key in KEYS.items()
        },
    }
    return report, {name: completeness_table(data, hit, SNR_EDGES, draw) for name, hit in hits.items()}
