"""List all versions, and compare two of them by inputs and by results per slice."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from blobwatch.artefact import ONNX
from blobwatch.dataset.shards import Shard, read_split
from blobwatch.detector.breakdowns import list_slices
from blobwatch.detector.evaluation import Bootstrap
from blobwatch.detector.metrics import auc
from blobwatch.detector.scoring import ScoringResult, score_model
from blobwatch.lineage.fingerprint import differing_keys
from blobwatch.lineage.model_version import ModelVersion, VersionIndex
from blobwatch.lineage.promotion.criteria import FLOORS, find_interval
from blobwatch.lineage.tracking.runs import DATA, flat
from blobwatch.params import Params
from blobwatch.progress import track

SUBFRAMES = Path("data/subframes")


def list_versions(root: Path) -> list[dict]:
    """Return a summary of each version, oldest first.

    Returns
    -------
    list of dict
        ``version``, ``state``, ``sha256`` of the serving model, ``run_id``, ``commit``, ``data`` (path to
        hash) and ``metrics`` (name to value, low and high; only the metrics of the promotion criteria).
        ``when``, ``who``, ``reason`` and ``forced`` describe the newest promotion.
    """
    known = VersionIndex.of(root)
    return [summarize_version(ModelVersion.find(root, known, version)) for version in known.versions]


def summarize_version(subject: ModelVersion) -> dict:
    """Return the summary of one version, see `list_versions`."""
    record = subject.record or {}
    tags = subject.registered.tags if subject.registered else {}
    data = {name.removeprefix(DATA): value for name, value in tags.items() if name.startswith(DATA)}
    summary = {"version": subject.version, "state": subject.state, "sha256": subject.expected_files.get(ONNX)}
    summary |= {"run_id": subject.run_id, "commit": subject.commit, "data": record.get("data") or data}
    found = {name: find_interval(subject.metrics, name) for name in FLOORS}
    summary["metrics"] = {name: one for name, one in found.items() if one["value"] is not None}
    return summary | {key: record.get(key) for key in ("when", "who", "reason", "forced")}


def compare(root: Path, first: str, second: str, params: Params) -> dict:
    """Compare the inputs and the test results of two versions.

    Parameters
    ----------
    root : Path
        The project's folder.
    first, second : str
        ``champion``, or the number of a version.
    params : Params
        Match radius and settings of the bootstrap.

    Returns
    -------
    dict
        ``versions``; ``params`` and ``data`` (name to the two values); ``code`` (paths); ``exposures`` (only
        in the first, only in the second, altered); ``test`` (size of the test split); and ``results``: the
        AUC, and the recall per slice, of both versions. Their paired difference, second minus first, has an
        interval.

    Raises
    ------
    BlobwatchError
        If a version is unknown, its files are not found, or test subframes are missing.
    """
    known = VersionIndex.of(root)
    pair = [ModelVersion.from_name(root, known, name) for name in (first, second)]
    parts = [one.fingerprint.parts if one.fingerprint else {} for one in pair]
    params_of = [flat(one.get("params", {})) for one in parts]
    data_of, code_of = ([one.get(kind, {}) for one in parts] for kind in ("data", "code"))
    test = read_split(Path(root) / SUBFRAMES, "test")
    radius, evaluate = params.evaluate.match_radius, params.evaluate
    draw = Bootstrap(evaluate.bootstrap, evaluate.confidence, params.seed)
    with pair[0].model() as a, pair[1].model() as b:
        one, other = ((score_model(model, test, radius), model.threshold) for model in (a, b))
    return {
        "versions": [one.version for one in pair],
        "params": differing_values(*params_of),
        "data": differing_values(*data_of),
        "code": differing_keys(*code_of),
        "exposures": changed_exposures(*(one.get("exposures", {}) for one in parts)),
        "test": {"subframes": len(test), "blobs": len(test.blobs), "exposures": len(set(test.rootnames))},
        "results": compare_results(test, one, other, draw),
    }


def differing_values(first: dict, second: dict) -> dict[str, list]:
    """Return both values of each key whose values differ."""
    return {key: [first.get(key), second.get(key)] for key in differing_keys(first, second)}


def changed_exposures(first: dict[str, str], second: dict[str, str]) -> dict[str, list[str]]:
    """Return the rootnames added, removed or altered between two trainings."""
    both = first.keys() & second.keys()
    return {
        "only_first": sorted(first.keys() - second.keys()),
        "only_second": sorted(second.keys() - first.keys()),
        "altered": sorted(name for name in both if first[name] != second[name]),
    }


def compare_results(
    test: Shard, first: tuple[ScoringResult, float], second: tuple[ScoringResult, float], draw: Bootstrap
) -> list[dict]:
    """Return AUC and recall of two models with their paired differences."""
    labels, exposures, where = test.labels, test.rootnames, test.rootnames[test.blobs["subframe"]]
    scores = [one.scores for one, _ in (first, second)]
    hits = [one.matches.hit >= threshold for one, threshold in (first, second)]

    def auc_of(i: np.ndarray, k: int) -> float:
        return auc(labels[i], scores[k][i])

    rows = [row_of("all", "subframe AUC", auc_of, exposures, draw)]
    everything = ("all", "recall", np.ones(len(test.blobs), dtype=bool))
    parts = [everything, *list_slices(test)]
    for name, part, members in track(parts, len(parts), "comparing"):
        chosen = np.flatnonzero(members)
        if len(chosen):
            recall = partial(recall_of, [hit[chosen] for hit in hits])
            rows.append(row_of(name, part, recall, where[chosen], draw))
    return rows


def recall_of(hits: list[np.ndarray], i: np.ndarray, k: int) -> float:
    """Return the recall of the k-th model on the blobs ``i``."""
    return float(hits[k][i].mean())


def row_of(name: str, part: str, value: Callable, groups: np.ndarray, draw: Bootstrap) -> dict:
    """Return one row: both values and their difference, with intervals."""
    return {
        "slice": name,
        "part": part,
        "count": len(groups),
        "a": draw(lambda i: value(i, 0), groups),
        "b": draw(lambda i: value(i, 1), groups),
        "difference": draw(lambda i: value(i, 1) - value(i, 0), groups),
    }
