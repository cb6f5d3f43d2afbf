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
    clean, on_clean = evaluate_clean_frames(model, rng, settings.clean_frames, radius, rate, draw, workers)
    robustness = evaluate_robustness(candidate, baseline, templates, results, settings, seed, draw, workers)
    reports = {name: compute_metrics(one, test, final, draw) for name, one in results.items()}
    metrics = reports[CNN] | {
        "clean": clean,
        "baselines": {one.detector.key: reports[name] for name, one in results.items() if name != CNN},
        "robustness": robustness,
        "test": {"subframes": len(test), "blobs": len(test.blobs), "exposures": len(set(test.rootnames))},
    }
    tables = create_tables(results, test, on_clean, draw)
    tables["robustness"] = to_rows(robustness, {one.key: one.name for one in detectors} | {LIMIT: LIMIT})
    learning_curves = read_history(train_reports / "history.csv")
    with atomic_folder(out) as folder:
        write_json(folder / "metrics.json", round_floats(metrics))
        for name, rows in tables.items():
            write_table(folder / f"{name}.csv", rows)
        write_predictions(folder / "predictions.csv", test, results)
        index, own = read_table(subframes / "index.csv"), cnn_rows(tables)
        write_text(folder / "model_card.md", model_card(model.manifest, round_floats(metrics), own, index))
        figures = draw_figures(tables, test, results, reports)
        figures["saliency"] = explain.plot_saliency(*saliency_maps(candidate, model, test, results[CNN].test))
        figures["learning_curves"] = evaluation.plot_learning_curves(learning_curves)
        (folder / "figures").mkdir()
        for name, figure in figures.items():
            figure.savefig(folder / "figures" / f"{name}.png", dpi=100, metadata={"Software": None})
    record_evaluation(root, candidate, out, train_reports / "history.csv")
    print_metrics(metrics)
    return metrics


def evaluate_robustness(
    candidate: Path,
    baseline: Path,
    templates: Path,
    results: dict[str, DetectorResult],
    settings: Evaluate,
    seed: int,
    draw: Bootstrap,
    workers: int,
) -> dict:
    """Return the metrics of the robustness sets."""
    profiles = [template.profile for template in read_templates(templates)]
    finders = {
        "cnn": model_finder(candidate, results[CNN].threshold),
        "matched_filter": filter_finder(results[FILTERS].threshold),
        "predecessor": model_finder(baseline, results[PREDECESSOR].threshold),
    }
    frames, rate = settings.robustness_frames, settings.false_per_100
    searched = search_sets(finders, frames, rate, seed, profiles, workers)
    return report_sets(searched, finders, "cnn", settings.match_radius, draw, workers)


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
    tables = {"roc": [], "slices": [], "completeness": []}
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


def cnn_rows(tables: dict[str, list[dict]]) -> list[dict]:
    """Return the slices of the candidate."""
    return [row for row in tables["slices"] if row["detector"] == CNN]


def round_floats(content: object) -> object:
    """Round nested floats to six digits; replace NaN by None for JSON."""
    if isinstance(content, dict):
        return {key: round_floats(value) for key, value in content.items()}
    if isinstance(content, float):
        return round(content, 6) if np.isfinite(content) else None
    return content


def write_predictions(path: Path, data: Shard, results: dict[str, DetectorResult]) -> None:
    """Write the scores of each test subframe."""
    write_table(
        path,
        [
            {"rootname": data.rootnames[i]}
            | {key: data.subframes[i][key] for key in ("x0", "y0", "contaminant", "label")}
            | {one.detector.key: f"{one.test.scores[i]:.6f}" for one in results.values()}
            for i in range(len(data))
        ],
    )


def draw_figures(
    tables: dict[str, list[dict]], test: Shard, results: dict[str, DetectorResult], reports: dict[str, dict]
) -> dict:
    """Return the figures by name."""
    network = results[CNN]
    matrices = {
        name: confusion_matrix(test.labels, one.test.scores, one.threshold) for name, one in results.items()
    }
    aucs = {name: reports[name]["subframes"]["auc"] for name in results}
    own = cnn_rows(tables)
    return {
        "completeness": evaluation.plot_completeness(tables["completeness"]),
        "reliability": evaluation.plot_reliability(tables["reliability"]),
        "roc": evaluation.plot_roc_and_precision(tables["roc"], aucs),
        "confusion": evaluation.plot_confusion_matrices(matrices),
        "slices": evaluation.plot_slices(own),
        "robustness": evaluation.plot_robustness(tables["robustness"]),
        "worst_errors": explain.plot_worst_errors(test, *worst_errors(test, network.test, network.threshold)),
    }


def print_metrics(metrics: dict) -> None:
    """Print the main metrics next to those of the baselines."""
    from rich.table import Table

    columns = {CNN: metrics, FILTERS: metrics["baselines"]["matched_filter"]}
    columns |= {
        PREDECESSOR: metrics["baselines"]["predecessor"],
        LAPLACIAN: metrics["baselines"]["laplacian"],
    }
    table = Table("on the test subframes", *columns, title="evaluate")
    for section, name in (
        ("subframes", "auc_5_to_30"),
        ("subframes", "accuracy"),
        ("blobs", "snr_at_half"),
        ("blobs", "recall_10_to_15"),
        ("blobs", "recall_above_15"),
        ("blobs", "false_per_100"),
        ("blobs", "position_error_above_10"),
    ):
        cells = [format_interval(report[section].get(name)) for report in columns.values()]
        table.add_row(f"{section}: {name.replace('_', ' ')}", *cells)
    console.print(table)
    worst = Table("in the worst robustness set", "", "set", title="robustness")
    for name, where in metrics["robustness"]["worst_sets"].items():
        value = format_interval(metrics["robustness"][f"worst_{name}"])
        worst.add_row(name.replace("_", " "), value, where.replace("_", " "))
    console.print(worst)


def format_interval(value: dict[str, float] | None) -> str:
    """Return a value with its interval, or a dash if it is missing."""
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]" if value else "-"
