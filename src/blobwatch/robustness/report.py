"""Metrics of each detector and of the limit on each robustness set, with intervals."""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np

from blobwatch.detector.evaluation import COMPARED_SNR
from blobwatch.detector.metrics import (
    Bootstrap,
    Matches,
    auc,
    far_from_blobs,
    finite_median,
    match_blobs,
    snr_at_half,
)
from blobwatch.progress import map_in_processes
from blobwatch.robustness.detectors import Finder
from blobwatch.robustness.search import SearchedSet

LIMIT = "limit"
RESAMPLES = 300  # upper limit; more would take longer than the detectors
SNR_EDGES = (3, 5, 7, 10, 15, np.inf)
AWAY = 30.0  # a false blob farther than this from each true blob, in pixels, is unrelated to it
# Metrics for which the worst set is reported; True if high values are bad.
WORST = {
    "snr_at_half": True,
    "ratio_to_limit": True,
    "false_per_100": True,
    "recall_10_to_15": False,
    "recall_above_15": False,
    "auc_5_to_30": False,
    "position_error": True,
}


def report_sets(
    searched: dict[str, SearchedSet],
    finders: dict[str, Finder],
    main: str,
    radius: float,
    draw: Bootstrap,
    workers: int = 1,
) -> dict:
    """Return the metrics of all sets.

    Parameters
    ----------
    searched : dict of SearchedSet
        Results by set.
    finders : dict of Finder
        Finders by key.
    main : str
        Key of the detector for which the worst sets are reported.
    radius : float
        Largest distance of a match, pixels.
    draw : Bootstrap
    workers : int
        Number of processes.

    Returns
    -------
    dict
        ``sets``: metrics by set and detector (and ``limit``), each with ``value``, ``low``, ``high``;
        ``worst_…``: each metric of the worst set; ``worst_sets``: name of the worst set by metric.
    """
    draw = replace(draw, resamples=min(draw.resamples, RESAMPLES))
    known = {key: (finder.threshold, finder.has_positions) for key, finder in finders.items()}
    work = partial(report_set, known, radius, draw)
    reports = map_in_processes(work, list(searched.values()), "intervals", workers)
    sets = dict(zip(searched, reports, strict=True))
    worst = {figure: worst_set(sets, main, figure) for figure in WORST}
    values = {f"worst_{figure}": sets[name][main][figure] for figure, name in worst.items()}
    return {"sets": sets, "worst_sets": worst} | values


def worst_set(sets: dict[str, dict], key: str, figure: str) -> str:
    """Return the set with the worst value of a metric; NaN is the worst value."""
    sign = 1.0 if WORST[figure] else -1.0
    values = {name: sign * report[key][figure]["value"] for name, report in sets.items()}
    return max(values, key=lambda name: values[name] if np.isfinite(values[name]) else np.inf)


def report_set(
    known: dict[str, tuple[float, bool]], radius: float, draw: Bootstrap, one: SearchedSet
) -> dict:
    """Return the metrics of each detector and of the limit on one set."""
    snr, frames = one.truth.blobs["snr"], one.truth.rootnames[one.truth.blobs["subframe"]]

    def half_figure(hit: np.ndarray) -> dict:
        """Return the SNR at half completeness."""
        return {"snr_at_half": draw(lambda i: snr_at_half(snr[i], hit[i]), frames)}

    def recall_figures(hit: np.ndarray) -> dict:
        """Return the recall in each SNR bin."""
        figures = {}
        for low, high in itertools.pairwise(SNR_EDGES):
            members = (snr >= low) & (snr < high)
            name = f"recall_{low}_to_{high}" if np.isfinite(high) else f"recall_above_{low}"
            figures[name] = draw.mean(hit[members], frames[members])
        return figures

    def blob_figures(matches: Matches, threshold: float) -> dict:
        """Return recall, position error and the ratio to the limit."""
        hit = matches.hit >= threshold
        error = np.where(hit, matches.error, np.nan)

        def ratio(i: np.ndarray) -> float:
            return snr_at_half(snr[i], hit[i]) / snr_at_half(snr[i], one.limit[i])

        figures = half_figure(hit) | {"ratio_to_limit": draw(ratio, frames)}
        figures["position_error"] = draw(lambda i: finite_median(error[i]), frames)
        return figures | recall_figures(hit)

    reports = {}
    for key, (threshold, has_positions) in known.items():
        reports[key] = subframe_figures(one, key, threshold, draw)
        if has_positions:
            matches = match_blobs(one.truth, one.peaks[key], radius)
            reports[key] |= blob_figures(matches, threshold)
            reports[key] |= false_figures(one, key, matches, threshold, draw)
    return reports | {LIMIT: half_figure(one.limit) | recall_figures(one.limit)}


def subframe_figures(one: SearchedSet, key: str, threshold: float, draw: Bootstrap) -> dict:
    """Return the metrics of the classification of subframes, with negatives from empty frames."""
    scores = one.scores[key]
    empty = one.searched(key) & (one.truth.labels == 0)
    compared = (one.strongest >= COMPARED_SNR[0]) & (one.strongest <= COMPARED_SNR[1])
    chosen = compared | empty[:, None]  # (frames, 16)
    labels, chosen_scores = (one.strongest > 0)[chosen].astype(int), scores[chosen]
    frames = np.repeat(one.truth.rootnames, chosen.sum(axis=1))
    false = (scores[empty] >= threshold).sum(axis=1)
    return {
        "auc_5_to_30": draw(lambda i: auc(labels[i], chosen_scores[i]), frames),
        "false_subframes_per_100": draw.mean(false, np.arange(len(false)), 100),
    }


def false_figures(one: SearchedSet, key: str, matches: Matches, threshold: float, draw: Bootstrap) -> dict:
    """Return the rates of false blobs far from true blobs and of displaced or duplicate detections.

    Only the former are counted per 100 frames, because these frames contain far more blobs than real frames.
    """
    found, searched = one.peaks[key], np.flatnonzero(one.searched(key))
    far = np.array(
        [
            (far_from_blobs(peaks, one.truth.blobs_of(n), AWAY) & (peaks.probability >= threshold)).sum()
            for n, peaks in enumerate(found)
        ]
    )
    false = matches.false_subframe[matches.false >= threshold]
    near = np.bincount(false, minlength=len(found)) - far
    blobs = np.bincount(one.truth.blobs["subframe"], minlength=len(found))
    some = np.flatnonzero(blobs)
    near, blobs = near[some], blobs[some]
    return {
        "false_per_100": draw.mean(far[searched], searched, 100),
        "displaced_per_100_blobs": draw(lambda i: float(100 * near[i].sum() / blobs[i].sum()), some),
    }


def to_rows(report: dict, names: dict[str, str]) -> list[dict]:
    """Return the rows of ``robustness.csv``: one per set, detector and metric.

    ``report`` is the result of `report_sets`; ``names`` contains the names of the detectors by key.
    """
    return [
        {"set": name, "detector": names[key], "figure": figure}
        | {end: value if np.isfinite(value) else "" for end, value in measured.items()}
        for name, detectors in report["sets"].items()
        for key, figures in detectors.items()
        for figure, measured in figures.items()
    ]
