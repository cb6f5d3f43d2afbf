"""Stage ``evaluate``: metrics with intervals, by slice, beside the matched-filter bank; pictures."""

import csv
from functools import partial
from pathlib import Path

import numpy as np

from blobwatch.artefact import Model
from blobwatch.dataset.shards import Shard, read_split
from blobwatch.detector.evaluation import (
    Bootstrap,
    confusion,
    final_report,
    report,
    roc_curve,
    slices,
)
from blobwatch.detector.metrics import threshold_for
from blobwatch.detector.scoring import Scored, score_filter, score_frames, score_model
from blobwatch.figures import evaluation as figures
from blobwatch.files import whole_file, whole_folder, write_json
from blobwatch.lineage.recording import read_history, record_evaluation
from blobwatch.params import Evaluate
from blobwatch.progress import console, track

NETWORK, FILTER = "CNN", "matched filters"
GALLERY = 8  # cases in a row of a gallery


def evaluate(
    root: Path,
    candidate: Path,
    subframes: Path,
    train_reports: Path,
    out: Path,
    settings: Evaluate,
    seed: int,
) -> dict:
    """Judge the candidate and the baseline on the same test subframes; write and return the metrics.

    Parameters
    ----------
    root : Path
        Of the project; its MLflow run is found by the fingerprint in the manifest.
    candidate, subframes, train_reports : Path
        What earlier stages wrote.
    out : Path
        Folder that is written.
    settings : Evaluate
    seed : int
        Of the bootstrap.
    """
    draw = Bootstrap(settings.bootstrap, settings.confidence, seed)
    model = Model.load(candidate)
    val, test, final = (read_split(subframes, split) for split in ("val", "test", "final"))
    jobs = [(partial(score_model, model), test), (partial(score_frames, model), final)]
    jobs += [(score_filter, data) for data in (val, test, final)]
    scored = []
    for score, data in track(jobs, len(jobs), "evaluate"):
        scored.append(score(data, settings.match_radius))
    on_test, on_final, filter_val, filter_test, filter_final = scored
    filter_threshold = threshold_for(filter_val.matches, len(val), settings.false_per_100)
    thresholds = {NETWORK: model.threshold, FILTER: filter_threshold}
    tests = {NETWORK: on_test, FILTER: filter_test}
    reports = {name: report(test, tests[name], thresholds[name], draw) for name in tests}
    metrics = reports[NETWORK] | {
        "final": final_report(final, on_final, model.threshold),
        "baselines": {
            "matched_filter": reports[FILTER] | {"final": final_report(final, filter_final, filter_threshold)}
        },
        "test": {"subframes": len(test), "blobs": len(test.blobs), "exposures": len(set(test.rootnames))},
    }
    parts = {name: slices(test, tests[name], thresholds[name], draw) for name in tests}
    curves = {name: roc_curve(test.labels, tests[name].scores) for name in tests}
    with whole_folder(out) as folder:
        write_json(folder / "metrics.json", rounded(metrics))
        write_rows(folder / "roc.csv", curves, [NETWORK, FILTER])
        write_rows(folder / "slices.csv", parts, [NETWORK, FILTER])
        write_predictions(folder / "predictions.csv", test, on_test, filter_test)
        pictures = draw_figures(candidate, model, test, tests, thresholds, parts, curves, reports)
        pictures["learning_curves"] = figures.learning_curves(read_history(train_reports / "history.csv"))
        (folder / "figures").mkdir()
        for name, figure in pictures.items():
            figure.savefig(folder / "figures" / f"{name}.png", dpi=100, metadata={"Software": None})
    record_evaluation(root, candidate, out, train_reports / "history.csv")
    announce(metrics)
    return metrics


def rounded(content: object) -> object:
    """Return nested data with floats to six digits; a NaN, which JSON does not know, becomes None."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, float):
        return round(content, 6) if np.isfinite(content) else None
    return content


def write_rows(path: Path, tables: dict[str, list[dict]], names: list[str]) -> None:
    """Write one table per detector into one CSV, the detector in front."""
    with whole_file(path) as unfinished, unfinished.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["detector", *tables[names[0]][0]], lineterminator="\n")
        writer.writeheader()
        for name in names:
            writer.writerows({"detector": name} | row for row in tables[name])


def write_predictions(path: Path, data: Shard, network: Scored, bank: Scored) -> None:
    """Write what was said of each test subframe, so that any metric can be made anew."""
    with whole_file(path) as unfinished, unfinished.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["rootname", "x0", "y0", "contaminant", "label", "cnn", "matched_filter"])
        for i in range(len(data)):
            row = data.subframes[i]
            said = [f"{network.scores[i]:.6f}", f"{bank.scores[i]:.6f}"]
            writer.writerow(
                [data.rootnames[i], row["x0"], row["y0"], row["contaminant"], row["label"], *said]
            )


def draw_figures(
    candidate: Path,
    model: Model,
    test: Shard,
    tests: dict[str, Scored],
    thresholds: dict[str, float],
    parts: dict[str, list[dict]],
    curves: dict[str, list[dict]],
    reports: dict[str, dict],
) -> dict:
    """Return the pictures by name."""
    matrices = {
        name: confusion(test.labels, tests[name].scores, thresholds[name]) for name in (NETWORK, FILTER)
    }
    aucs = {name: reports[name]["subframes"]["auc"] for name in tests}
    images, gradients, titles = salient(candidate, model, test, tests[NETWORK])
    return {
        "confusion": figures.confusion_matrix(matrices[NETWORK], "CNN, test subframes"),
        "confusion_matched_filter": figures.confusion_matrix(
            matrices[FILTER], "Matched filters, test subframes"
        ),
        "roc": figures.roc_and_precision(curves, aucs),
        "completeness": figures.completeness(parts),
        "slices": figures.slice_chart(parts[NETWORK]),
        "worst_errors": figures.worst_errors(test, *errors_of(test, tests[NETWORK], model.threshold)),
        "saliency": figures.saliency(images, gradients, titles),
    }


def errors_of(data: Shard, scored: Scored, threshold: float) -> tuple[list[tuple], list[tuple]]:
    """Return the most confident false blobs and the strongest missed ones, as the gallery wants them."""
    false = []
    for k in np.argsort(-scored.matches.false, kind="stable")[:GALLERY]:
        index, probability = scored.matches.false_subframe[k], scored.matches.false[k]
        peaks = scored.found[index]
        j = int(np.argmin(np.abs(peaks.probability - probability)))
        false.append((index, peaks.x[j], peaks.y[j], probability))
    lost = np.flatnonzero(scored.matches.hit < threshold)
    lost = lost[np.argsort(-data.blobs["snr"][lost], kind="stable")][:GALLERY]
    missed = [tuple(data.blobs[i][["subframe", "x", "y", "snr"]]) for i in lost]
    return false, missed


def salient(
    candidate: Path, model: Model, data: Shard, scored: Scored
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return subframes, the gradient of their best cell's logit, and titles: from sure to wrong."""
    import torch

    from blobwatch.detector.export import load_network

    network = load_network(candidate, model.manifest)
    wrong = np.abs(scored.scores - data.labels)
    order = np.argsort(wrong, kind="stable")
    positive = order[data.labels[order] == 1]
    negative = order[data.labels[order] == 0]
    chosen = np.concatenate([positive[[0, len(positive) // 2, -2, -1]], negative[[0, -2, -1]]])
    images = torch.from_numpy(data.scaled(chosen)[:, None]).requires_grad_()
    network(images)[:, 0].amax(dim=(1, 2)).sum().backward()
    titles = [f"true {data.labels[i]}, p {scored.scores[i]:.3f}" for i in chosen]
    return images.detach().numpy()[:, 0], images.grad.numpy()[:, 0], titles


def announce(metrics: dict) -> None:
    """Say the main figures, each beside the baseline's."""
    from rich.table import Table

    table = Table("on the test subframes", "CNN", "matched filters", title="evaluate")
    bank = metrics["baselines"]["matched_filter"]
    for section, name in (
        ("subframes", "auc"),
        ("subframes", "accuracy"),
        ("blobs", "recall"),
        ("blobs", "recall_above_15"),
        ("blobs", "false_per_100"),
        ("blobs", "position_error"),
    ):
        figures_of = (of[section][name] for of in (metrics, bank))
        cells = [f"{of['value']:.3f} [{of['low']:.3f}, {of['high']:.3f}]" for of in figures_of]
        table.add_row(f"{section}: {name.replace('_', ' ')}", *cells)
    console.print(table)
