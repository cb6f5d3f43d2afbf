"""Stage ``evaluate``: metrics with intervals, by slice, beside the baselines; pictures."""

from pathlib import Path

import numpy as np

from blobwatch.artefact import Model
from blobwatch.dataset.shards import Shard, read_split
from blobwatch.detector.breakdowns import (
    SNR_EDGES,
    completeness_table,
    confusion_matrix,
    roc_curve,
    slice_table,
)
from blobwatch.detector.calibration import reliability_table
from blobwatch.detector.clean_frames import evaluate_clean_frames
from blobwatch.detector.comparison import (
    CNN,
    FILTERS,
    LAPLACIAN,
    PREDECESSOR,
    DetectorResult,
    evaluate_detector,
    list_detectors,
)
from blobwatch.detector.evaluation import Bootstrap, detector_metrics, final_metrics
from blobwatch.detector.explain import saliency_maps, worst_errors
from blobwatch.detector.model_card import model_card
from blobwatch.figures import evaluation, explain
from blobwatch.files import atomic_folder, read_table, write_json, write_table, write_text
from blobwatch.instrument.templates import read_templates
from blobwatch.lineage.tracking.logging import read_history, record_evaluation
from blobwatch.params import Evaluate
from blobwatch.progress import console
from blobwatch.robustness.detectors import filter_finder, model_finder
from blobwatch.robustness.report import LIMIT, report_sets, to_rows
from blobwatch.robustness.search import search_sets

CLEAN_STREAM = 8  # of the seed


def evaluate(
    root: Path,
    candidate: Path,
    baseline: Path,
    subframes: Path,
    templates: Path,
    train_reports: Path,
    out: Path,
    settings: Evaluate,
    seed: int,
    workers: int = 2,
) -> dict:
    """Judge the candidate and the baselines on the same test subframes; write and return the metrics.

    Parameters
    ----------
    root : Path
        Of the project; its MLflow run is found by the fingerprint in the manifest.
    candidate, baseline : Path
        Folders of the network that is judged, and of the predecessor's.
    subframes, train_reports : Path
        What earlier stages wrote.
    templates : Path
        Shapes of real blobs for the robustness sets, where the user has some.
    out : Path
        Folder that is written.
    settings : Evaluate
    seed : int
        Of the bootstrap, of the clean frames and of the robustness sets.
    workers : int
        Processes.
    """
    draw = Bootstrap(settings.bootstrap, settings.confidence, seed)
    model, rate, radius = Model.load(candidate), settings.false_per_100, settings.match_radius
    detectors = list_detectors(model, Model.load(baseline), radius, workers)
    val, test, final = (read_split(subframes, split) for split in ("val", "test", "final"))
    judged = {one.name: evaluate_detector(one, val, test, final, rate) for one in detectors}
    rng = np.random.default_rng([seed, CLEAN_STREAM])
    clean, on_clean = evaluate_clean_frames(model, rng, settings.clean_frames, radius, rate, draw, workers)
    profiles = [template.profile for template in read_templates(templates)]
    finders = {
        "cnn": model_finder(candidate, model.threshold),
        "matched_filter": filter_finder(judged[FILTERS].threshold),
        "predecessor": model_finder(baseline, judged[PREDECESSOR].threshold),
    }
    searched = search_sets(finders, settings.robustness_frames, rate, seed, profiles, workers)
    robustness = report_sets(searched, finders, "cnn", radius, draw, workers)
    reports = {name: report_on(one, test, final, draw) for name, one in judged.items()}
    metrics = reports[CNN] | {
        "clean": clean,
        "baselines": {one.detector.key: reports[name] for name, one in judged.items() if name != CNN},
        "robustness": robustness,
        "test": {"subframes": len(test), "blobs": len(test.blobs), "exposures": len(set(test.rootnames))},
    }
    tables = tables_of(judged, test, on_clean, draw)
    tables["robustness"] = to_rows(robustness, {one.key: one.name for one in detectors} | {LIMIT: LIMIT})
    with atomic_folder(out) as folder:
        write_json(folder / "metrics.json", rounded(metrics))
        for name, rows in tables.items():
            write_table(folder / f"{name}.csv", rows)
        write_predictions(folder / "predictions.csv", test, judged)
        own = [row for row in tables["slices"] if row["detector"] == CNN]
        index = read_table(subframes / "index.csv")
        write_text(folder / "model_card.md", model_card(model.manifest, rounded(metrics), own, index))
        pictures = draw_figures(tables, test, judged, reports)
        pictures["saliency"] = explain.plot_saliency(*saliency_maps(candidate, model, test, judged[CNN].test))
        pictures["learning_curves"] = evaluation.plot_learning_curves(
            read_history(train_reports / "history.csv")
        )
        (folder / "figures").mkdir()
        for name, figure in pictures.items():
            figure.savefig(folder / "figures" / f"{name}.png", dpi=100, metadata={"Software": None})
    record_evaluation(root, candidate, out, train_reports / "history.csv")
    announce(metrics)
    return metrics


def report_on(one: DetectorResult, test: Shard, final: Shard, draw: Bootstrap) -> dict:
    """Return the metrics of one detector on the test subframes, and on the final frames where it saw them."""
    kind = one.detector
    metrics = detector_metrics(test, one.test, one.threshold, draw, kind.has_positions, kind.calibrated)
    if one.final is not None:
        metrics["final"] = final_metrics(final, one.final, one.threshold)
    return metrics


def tables_of(
    judged: dict[str, DetectorResult], test: Shard, on_clean: dict[str, list[dict]], draw: Bootstrap
) -> dict[str, list[dict]]:
    """Return the rows of each table, the detector in front."""
    tables = {"roc": [], "slices": [], "completeness": []}
    for name, one in judged.items():
        who = {"detector": name}
        hit = one.test.matches.hit >= one.threshold
        tables["roc"] += [who | row for row in roc_curve(test.labels, one.test.scores)]
        tables["slices"] += [who | row for row in slice_table(test, one.test, one.threshold, draw)]
        if one.detector.has_positions:
            rows = completeness_table(test, hit, SNR_EDGES, draw)
            tables["completeness"] += [who | {"frames": "contaminated"} | row for row in rows]
    for name, rows in on_clean.items():
        tables["completeness"] += [{"detector": name, "frames": "clean"} | row for row in rows]
    tables["reliability"] = reliability_table(test.labels, judged[CNN].test.scores, draw.confidence)
    return tables


def rounded(content: object) -> object:
    """Return nested data with floats to six digits; a NaN, which JSON does not know, becomes None."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, float):
        return round(content, 6) if np.isfinite(content) else None
    return content


def write_predictions(path: Path, data: Shard, judged: dict[str, DetectorResult]) -> None:
    """Write what was said of each test subframe, so that any metric can be made anew."""
    write_table(
        path,
        [
            {"rootname": data.rootnames[i]}
            | {key: data.subframes[i][key] for key in ("x0", "y0", "contaminant", "label")}
            | {one.detector.key: f"{one.test.scores[i]:.6f}" for one in judged.values()}
            for i in range(len(data))
        ],
    )


def draw_figures(
    tables: dict[str, list[dict]], test: Shard, judged: dict[str, DetectorResult], reports: dict[str, dict]
) -> dict:
    """Return the pictures by name."""
    network = judged[CNN]
    matrices = {
        name: confusion_matrix(test.labels, one.test.scores, one.threshold) for name, one in judged.items()
    }
    aucs = {name: reports[name]["subframes"]["auc"] for name in judged}
    own = [row for row in tables["slices"] if row["detector"] == CNN]
    return {
        "completeness": evaluation.plot_completeness(tables["completeness"]),
        "reliability": evaluation.plot_reliability(tables["reliability"]),
        "roc": evaluation.plot_roc_and_precision(tables["roc"], aucs),
        "confusion": evaluation.plot_confusion_matrices(matrices),
        "slices": evaluation.plot_slices(own),
        "robustness": evaluation.plot_robustness(tables["robustness"]),
        "worst_errors": explain.plot_worst_errors(test, *worst_errors(test, network.test, network.threshold)),
    }


def announce(metrics: dict) -> None:
    """Say the main figures, each beside those of the classical detectors."""
    from rich.table import Table

    beside = {CNN: metrics, FILTERS: metrics["baselines"]["matched_filter"]}
    beside |= {PREDECESSOR: metrics["baselines"]["predecessor"], LAPLACIAN: metrics["baselines"]["laplacian"]}
    table = Table("on the test subframes", *beside, title="evaluate")
    for section, name in (
        ("subframes", "auc_5_to_30"),
        ("subframes", "accuracy"),
        ("blobs", "snr_at_half"),
        ("blobs", "recall_10_to_15"),
        ("blobs", "recall_above_15"),
        ("blobs", "false_per_100"),
        ("blobs", "position_error_above_10"),
    ):
        cells = [in_words(of[section].get(name)) for of in beside.values()]
        table.add_row(f"{section}: {name.replace('_', ' ')}", *cells)
    console.print(table)
    worst = Table("in the worst robustness set", "", "set", title="robustness")
    for name, where in metrics["robustness"]["worst_sets"].items():
        value = in_words(metrics["robustness"][f"worst_{name}"])
        worst.add_row(name.replace("_", " "), value, where.replace("_", " "))
    console.print(worst)


def in_words(value: dict[str, float] | None) -> str:
    """Return a figure with its interval; a dash where the detector has none."""
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]" if value else "-"
