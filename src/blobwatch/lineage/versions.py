"""Every version side by side, and two of them compared: parameters, code, data, and results by slice."""

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
from blobwatch.lineage.fingerprint import differing
from blobwatch.lineage.model_version import Known, Subject
from blobwatch.lineage.promotion.criteria import FLOORS
from blobwatch.lineage.tracking.registry import DATA
from blobwatch.lineage.tracking.runs import flat
from blobwatch.params import Params
from blobwatch.progress import track

SUBFRAMES = Path("data/subframes")


def list_versions(root: Path) -> list[dict]:
    """Return what is known of each version, oldest first.

    Returns
    -------
    list of dict
        ``version``, ``state``, ``sha256`` of the serving model, ``run_id``, ``commit``, ``data`` (path to
        hash), ``metrics`` (name to value, low and high; those on which the gate rests), and of the newest
        promotion ``when``, ``who``, ``reason``, ``forced``.
    """
    known = Known.of(root)
    return [describe(Subject.find(root, known, version)) for version in known.versions]


def describe(subject: Subject) -> dict:
    """Return what is known of one version."""
    record = subject.record or {}
    tags = subject.registered.tags if subject.registered else {}
    data = {name.removeprefix(DATA): value for name, value in tags.items() if name.startswith(DATA)}
    about = {"version": subject.version, "state": subject.state, "sha256": subject.promised.get(ONNX)}
    about |= {"run_id": subject.run_id, "commit": subject.commit, "data": record.get("data") or data}
    names = {name: f"{section}.{name}" for name, (section, *_) in FLOORS.items()}
    about["metrics"] = {
        name: {end: subject.metrics.get(stem + tail) for end, tail in ENDS.items()}
        for name, stem in names.items()
        if subject.metrics.get(stem) is not None
    }
    return about | {key: record.get(key) for key in ("when", "who", "reason", "forced")}


ENDS = {"value": "", "low": "_low", "high": "_high"}


def compare(root: Path, first: str, second: str, params: Params) -> dict:
    """Return in what two versions differ: what they were made from, and how good they are.

    Parameters
    ----------
    root : Path
        The project's folder.
    first, second : str
        ``champion``, or the number of a version.
    params : Params
        How intervals are made.

    Returns
    -------
    dict
        ``versions``; ``params`` and ``data`` (name to the two values); ``code`` (paths); ``exposures`` (only
        in the first, only in the second, altered); ``test`` (how much there is) and ``results``: per slice
        the recall of each and the difference, second minus first, paired and with its interval.

    Raises
    ------
    BlobwatchError
        If a version is unknown, its files are nowhere, or there are no test subframes here.
    """
    known = Known.of(root)
    pair = [Subject.named(root, known, name) for name in (first, second)]
    parts = [one.fingerprint.parts if one.fingerprint else {} for one in pair]
    params_of = [flat(one.get("params", {})) for one in parts]
    data_of, code_of = ([one.get(kind, {}) for one in parts] for kind in ("data", "code"))
    test = read_split(Path(root) / SUBFRAMES, "test")
    radius, draw = params.evaluate.match_radius, bootstrap(params)
    with pair[0].model() as a, pair[1].model() as b:
        judged = [(score_model(model, test, radius), model.threshold) for model in (a, b)]
    return {
        "versions": [one.version for one in pair],
        "params": side_by_side(*params_of),
        "data": side_by_side(*data_of),
        "code": differing(*code_of),
        "exposures": changed_exposures(*(one.get("exposures", {}) for one in parts)),
        "test": {"subframes": len(test), "blobs": len(test.blobs), "exposures": len(set(test.rootnames))},
        "results": results(test, *judged, draw),
    }


def bootstrap(params: Params) -> Bootstrap:
    """Return how intervals are made."""
    return Bootstrap(params.evaluate.bootstrap, params.evaluate.confidence, params.seed)


def side_by_side(first: dict, second: dict) -> dict[str, list]:
    """Return the two values of each key in which two mappings differ."""
    return {key: [first.get(key), second.get(key)] for key in differing(first, second)}


def changed_exposures(first: dict[str, str], second: dict[str, str]) -> dict[str, list[str]]:
    """Return the rootnames that only one of two trainings has, and those whose bytes are others."""
    both = first.keys() & second.keys()
    return {
        "only_first": sorted(first.keys() - second.keys()),
        "only_second": sorted(second.keys() - first.keys()),
        "altered": sorted(name for name in both if first[name] != second[name]),
    }


def results(
    test: Shard, first: tuple[ScoringResult, float], second: tuple[ScoringResult, float], draw: Bootstrap
) -> list[dict]:
    """Return each figure of two models on the same test subframes, and their paired difference."""
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
            recall = partial(recall_of, [one[chosen] for one in hits])
            rows.append(row_of(name, part, recall, where[chosen], draw))
    return rows


def recall_of(hits: list[np.ndarray], i: np.ndarray, k: int) -> float:
    """Return the share of some blobs that the k-th of two models finds."""
    return float(hits[k][i].mean())


def row_of(name: str, part: str, value: Callable, groups: np.ndarray, draw: Bootstrap) -> dict:
    """Return one row: the value of each model and their difference, each with its interval."""
    return {
        "slice": name,
        "part": part,
        "count": len(groups),
        "a": draw(lambda i: value(i, 0), groups),
        "b": draw(lambda i: value(i, 1), groups),
        "difference": draw(lambda i: value(i, 1) - value(i, 0), groups),
    }
