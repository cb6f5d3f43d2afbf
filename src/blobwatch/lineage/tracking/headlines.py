"""Main metrics and tables of an evaluation, and one run per baseline with metrics of the same names."""

import hashlib
import json
from pathlib import Path

from blobwatch.files import read_table
from blobwatch.lineage.tracking.logged_model import NOTE
from blobwatch.lineage.tracking.runs import KIND, flat, log_metrics, tag_data
from blobwatch.lineage.tracking.store import INTERVALS, Store

BASELINE = "blobwatch.baseline"  # tag: hash of the metrics of a baseline
INTERVAL = ("value", "low", "high")
NAMES = {
    "subframes": (
        *("auc", "auc_5_to_30", "average_precision", "accuracy", "recall", "precision"),
        "calibration_error",
    ),
    "blobs": (
        *("recall", "recall_10_to_15", "recall_above_15", "snr_at_half", "false_per_100"),
        *("position_error", "position_error_above_10"),
    ),
    "clean": ("false_per_100",),
    "robustness": ("worst_snr_at_half", "worst_false_per_100", "worst_recall_above_15"),
}
TABLES = ("slices", "completeness", "robustness")
DETECTORS = {  # names in the tables
    "matched_filter": "matched filters",
    "predecessor": "predecessor's CNN",
    "laplacian": "Laplacian of Gaussian",
}
BASELINE_FIGURES = ("roc.png", "confusion.png", "completeness.png")
BASELINE_NOTE = """A detector that was scored on the same test subframes as the networks, as a baseline.
Its metrics have the same names as those of a network, so that both can be compared in one chart.
`tables/metrics.json` contains the intervals."""


def metric_values(metrics: dict) -> dict[str, float]:
    """Return metrics by flat name: ``subframes.auc``, ``subframes.auc_low`` and ``…_high``."""
    values = {}
    for name, value in flat(metrics).items():
        stem, _, last = name.rpartition(".")
        if last in INTERVAL and stem:
            name = stem if last == "value" else f"{stem}_{last}"
        values[name] = value
    return values


def log_headlines(store: Store, run_id: str, metrics: dict) -> None:
    """Log the main metrics of an evaluation; store their bounds in a tag.

    A metric per bound would hide the main metrics in `mlflow ui`.
    """
    values = metric_values(metrics)
    names = [f"{section}.{name}" for section, names in NAMES.items() for name in names]
    bounds = [f"{name}_{end}" for name in names for end in INTERVAL[1:]]
    log_metrics(store, run_id, {name: values[name] for name in names if name in values})
    intervals = {name: values[name] for name in bounds if values.get(name) is not None}
    store.client.set_tag(run_id, INTERVALS, json.dumps(intervals))


def read_headlines(run) -> dict[str, float]:
    """Return the metrics of an MLflow run with their bounds."""
    return run.data.metrics | json.loads(run.data.tags.get(INTERVALS, "{}"))


def metric_rows(metrics: dict) -> list[dict]:
    """Return a row per metric: name, value, low, high."""
    values = {name: value for name, value in metric_values(metrics).items() if not isinstance(value, str)}
    bounds = {f"{name}_{end}" for name in values for end in INTERVAL[1:]}
    return [
        {"metric": name, "value": value} | {end: values.get(f"{name}_{end}") for end in INTERVAL[1:]}
        for name, value in values.items()
        if name not in bounds
    ]


def log_tables(store: Store, run_id: str, reports: Path, metrics: dict, detector: str | None = None) -> None:
    """Log all metrics and the tables of an evaluation, for `mlflow.load_table`.

    If ``detector`` is given, only its rows are logged.
    """
    tables = {"metrics": metric_rows(metrics)}
    for name in TABLES:
        if (reports / f"{name}.csv").is_file():
            rows = read_table(reports / f"{name}.csv")
            tables[name] = [row for row in rows if detector in (None, row.get("detector"))]
    files = []
    for name, rows in tables.items():
        if rows:
            # The format of `MlflowClient.log_table`, which appends to a table and needs pandas.
            content = {"columns": list(rows[0]), "data": [[*map(to_number, row.values())] for row in rows]}
            files.append({"path": f"tables/{name}.json", "type": "table"})
            store.client.log_dict(run_id, content, files[-1]["path"])
    store.client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps(files))


def to_number(cell: object) -> object:
    """Return a cell as a number if it is one; an empty cell as None."""
    try:
        return float(cell) if isinstance(cell, str) else cell
    except ValueError:
        return cell or None


def log_baselines(store: Store, run_id: str, reports: Path, metrics: dict, data: dict[str, str]) -> None:
    """Log each baseline as a run, unless a run has its metrics.

    Parameters
    ----------
    store : Store
    run_id : str
        Run of the network, whose commit and start the new runs get.
    reports : Path
        Folder with tables and ``figures/``.
    metrics : dict
        Content of ``metrics.json``.
    data : dict
        DVC hash by path.
    """
    network = store.client.get_run(run_id)
    for key, measured in metrics.get("baselines", {}).items():
        mark = hashlib.sha256(json.dumps([key, measured, data], sort_keys=True).encode()).hexdigest()
        if store.client.search_runs([store.experiment_id], f"tags.`{BASELINE}` = '{mark}'", max_results=1):
            continue
        copied = ("mlflow.source.git", "mlflow.user", "blobwatch.dirty", "blobwatch.rebuilt")
        tags = {name: value for name, value in network.data.tags.items() if name.startswith(copied)}
        tags |= {"mlflow.runName": f"baseline-{key.replace('_', '-')}", KIND: "baseline", NOTE: BASELINE_NOTE}
        run = store.client.create_run(store.experiment_id, network.info.start_time, tags | tag_data(data))
        log_headlines(store, run.info.run_id, measured)
        log_tables(store, run.info.run_id, reports, measured, DETECTORS.get(key, key))
        store.client.log_dict(run.info.run_id, measured, "evaluate/metrics.json")
        for name in BASELINE_FIGURES:
            if (reports / "figures" / name).is_file():
                store.client.log_artifact(run.info.run_id, str(reports / "figures" / name), "figures")
        store.client.set_tag(run.info.run_id, BASELINE, mark)  # last
        store.client.set_terminated(run.info.run_id, "FINISHED", network.info.end_time)
