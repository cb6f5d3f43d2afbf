"""Stage ``evaluate``: metrics of the candidate and the baselines, tables and figures."""

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
    PREDECESSOR,
    DetectorResult,
    evaluate_detector,
    list_detectors,
)
from blobwatch.detector.evaluation import detector_metrics, final_metrics
from blobwatch.detector.explain import saliency_maps, worst_errors
from blobwatch.detector.metrics import Bootstrap
from blobwatch.detector.model_card import format_interval, model_card
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
    """Evaluate the candidate and the baselines on the same test subframes.

    Parameters
    ----------
    root : Path
        Project folder. The fingerprint in the manifest identifies the MLflow run.
    candidate, baseline : Path
        Model folders of the candidate and of the predecessor's network.
    subframes, train_reports : Path
        Outputs of earlier stages.
    templates : Path
        Folder of the shapes of real blobs for the robustness sets; may be empty.
    out : Path
        Output folder.
    settings : Evaluate
    seed : int
        Seed of the bootstrap, the clean frames and the robustness sets.
    workers : int
        Processes.

    Returns
    -------
    dict
        Content of ``metrics.json``.
    """
    draw = Bootstrap(settings.bootstrap, settings.confidence, seed)
    model, rate, radius = Model.load(candidate), settings.false_per_100, settings.match_radius
    detectors = list_detectors(model, Model.load(baseline), radius, workers)
    val, test, final = (read_split(subframes, split) for split in ("val", "test", "final"))
    results = {one.name: evaluate_detector(one, val, test, final, rate) for one in detectors}
    rng = np.random.default_rng([seed, CLEAN_STREAM])
    clean, on_clean = evaluate_clean_frames(
        model, rng, settings.clean_frames, settings.empty_frames, radius, rate, draw, workers
    )
    finders = {
        "cnn": model_finder(candidate, results[CNN].threshold),
        "matched_filter": filter_finder(results[FILTERS].threshold),
        "predecessor": model_finder(baseline, results[PREDECESSOR].threshold),
    }
    profiles = [template.profile for template in read_templates(templates)]
    searched = search_sets(finders, settings.robustness_frames, rate, seed, profiles, workers)
    robustness = report_sets(searched, finders, "cnn", radius, draw, workers)
    reports = {name: compute_metrics(one, test, final, draw) for name, one in results.items()}
    metrics = reports[CNN] | {
        "clean": clean,
        "baselines": {one.detector.key: reports[name] for name, one in results.items() if name != CNN},
        "robustness": robustness,
        "test": {"subframes": len(test), "blobs": len(test.blobs), "exposures": len(set(test.rootnames))},
    }
    metrics = {key: round_floats(value) for key, value in metrics.items()}
    tables = create_tables(results, test, on_clean, draw)
    tables["robustness"] = to_rows(robustness, {one.key: one.name for one in detectors} | {LIMIT: LIMIT})
    tables["predictions"] = prediction_rows(test, results)
    slices = [row for row in tables["slices"] if row["detector"] == CNN]
    card = model_card(model.manifest, metrics, slices, read_table(subframes / "index.csv"))
    aucs = {name: report["subframes"]["auc"] for name, report in reports.items()}
    cnn = results[CNN]
    figures = {
        "completeness": evaluation.plot_completeness(tables["completeness"]),
        "reliability": evaluation.plot_reliability(tables["reliability"]),
        "roc": evaluation.plot_roc_and_precision(tables["roc"], aucs),
        "confusion": evaluation.plot_confusion_matrices(
            {k: confusion_matrix(test.labels, one.test.scores, one.threshold) for k, one in results.items()}
        ),
        "slices": evaluation.plot_slices(slices),
        "robustness": evaluation.plot_robustness(tables["robustness"]),
        "worst_errors": explain.plot_worst_errors(test, *worst_errors(test, cnn.test, cnn.threshold)),
        "saliency": explain.plot_saliency(*saliency_maps(candidate, model, test, cnn.test)),
        "learning_curves": evaluation.plot_learning_curves(read_history(train_reports / "history.csv")),
    }
    with atomic_folder(out) as folder:
        write_json(folder / "metrics.json", metrics)
        write_text(folder / "model_card.md", card)
        for name, rows in tables.items():
            write_table(folder / f"{name}.csv", rows)
        (folder / "figures").mkdir()
        for name, figure in figures.items():
            figure.savefig(folder / "figures" / f"{name}.png", dpi=100, metadata={"Software": None})
    record_evaluation(root, candidate, out, train_reports / "history.csv")
    print_metrics(reports, robustness)
    return metrics


def compute_metrics(one: DetectorResult, test: Shard, final: Shard, draw: Bootstrap) -> dict:
    """Return the metrics of one detector on the test subframes and final frames."""
    kind = one.detector
    metrics = detector_metrics(test, one.test, one.threshold, draw, kind.has_positions, kind.calibrated)
    if one.final is not None:
        metrics["final"] = final_metrics(final, one.final, one.threshold)
    return metrics


def create_tables(
    results: dict[str, DetectorResult], test: Shard, on_clean: dict[str, list[dict]], draw: Bootstrap
) -> dict[str, list[dict]]:
    """Return the rows of each table, with the detector as first column."""
    tables: dict[str, list[dict]] = {"roc": [], "slices": [], "completeness": []}
    for name, one in results.items():
        detector = {"detector": name}
        hit = one.test.matches.hit >= one.threshold
        tables["roc"] += [detector | row for row in roc_curve(test.labels, one.test.scores)]
        tables["slices"] += [detector | row for row in slice_table(test, one.test, one.threshold, draw)]
        if one.detector.has_positions:
            rows = completeness_table(test, hit, SNR_EDGES, draw)
            tables["completeness"] += [detector | {"frames": "contaminated"} | row for row in rows]
    for name, rows in on_clean.items():
        tables["completeness"] += [{"detector": name, "frames": "clean"} | row for row in rows]
    tables["reliability"] = reliability_table(test.labels, results[CNN].test.scores, draw.confidence)
    return tables


def round_floats(content: object) -> object:
    """Round nested floats to six digits; replace NaN by None for JSON."""
    if isinstance(content, dict):
        return {key: round_floats(value) for key, value in content.items()}
    if isinstance(content, float):
        return round(content, 6) if np.isfinite(content) else None
    return content


def prediction_rows(data: Shard, results: dict[str, DetectorResult]) -> list[dict]:
    """Return the scores of each test subframe."""
    return [
        {"rootname": data.rootnames[i]}
        | {key: data.subframes[i][key] for key in ("x0", "y0", "contaminant", "label")}
        | {one.detector.key: f"{one.test.scores[i]:.6f}" for one in results.values()}
        for i in range(len(data))
    ]


def print_metrics(reports: dict[str, dict], robustness: dict) -> None:
    """Print the main metrics of each detector, and the network's worst robustness sets."""
    from rich.table import Table

    table = Table("on the test subframes", *reports, title="evaluate")
    for section, name in (
        ("subframes", "auc_5_to_30"),
        ("subframes", "accuracy"),
        ("blobs", "snr_at_half"),
        ("blobs", "recall_10_to_15"),
        ("blobs", "recall_above_15"),
        ("blobs", "false_per_100"),
        ("blobs", "position_error_above_10"),
    ):
        cells = [format_interval(report[section].get(name), 3) for report in reports.values()]
        table.add_row(f"{section}: {name.replace('_', ' ')}", *cells)
    console.print(table)
    worst = Table("in the worst robustness set", "", "set", title="robustness")
    for name, where in robustness["worst_sets"].items():
        value = format_interval(robustness[f"worst_{name}"], 3)
        worst.add_row(name.replace("_", " "), value, where.replace("_", " "))
    console.print(worst)
