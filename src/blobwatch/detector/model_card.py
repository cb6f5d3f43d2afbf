"""The model card: description, training data, metrics, weaknesses and limits of a model."""

import math
from pathlib import Path

from jinja2 import ChainableUndefined, Environment, Undefined

from blobwatch.detector.comparison import CNN, FILTERS, IDEAL, LAPLACIAN, PREDECESSOR

SIMULATED_PREFIX = "izzz"  # of the rootnames of simulated exposures; no real programme is named zzz
TEMPLATE = Path(__file__).with_name("model_card.md")
NOT_MEASURED = "not measured"
BASELINES = {FILTERS: "matched_filter", PREDECESSOR: "predecessor", LAPLACIAN: "laplacian"}
OBSERVERS = {IDEAL: "ideal_observer", CNN: "cnn", FILTERS: "matched_filters"}
# Rows and columns of the tables: text, keys in metrics.json, digits.
SUBFRAMES = [
    ("AUC", "auc", 3),
    ("AUC, SNR 5-30", "auc_5_to_30", 3),
    ("average precision", "average_precision", 3),
    ("accuracy at the threshold", "accuracy", 3),
    ("recall at the threshold", "recall", 3),
    ("precision at the threshold", "precision", 3),
]
BLOBS = [
    ("recall", "recall", 3),
    ("recall, SNR 10-15", "recall_10_to_15", 3),
    ("recall, SNR above 15", "recall_above_15", 3),
    ("SNR of half completeness", "snr_at_half", 2),
    ("false blobs per 100 exposures", "false_per_100", 1),
    ("position error, median, pixels", "position_error", 2),
    ("position error, SNR above 10, pixels", "position_error_above_10", 2),
]
ROBUSTNESS = [
    ("SNR of half", "cnn", "snr_at_half", 2),
    ("limit", "limit", "snr_at_half", 2),
    ("ratio to the limit", "cnn", "ratio_to_limit", 2),
    ("matched filters", "matched_filter", "snr_at_half", 2),
    ("recall above SNR 15", "cnn", "recall_above_15", 3),
    ("false per 100 frames", "cnn", "false_per_100", 1),
    ("AUC, SNR 5-30", "cnn", "auc_5_to_30", 3),
    ("the predecessor's AUC", "predecessor", "auc_5_to_30", 3),
]
WEAKNESSES = [  # of the network, in its worst robustness set
    ("highest SNR of half", "snr_at_half", 2),
    ("highest ratio to the limit", "ratio_to_limit", 2),
    ("lowest recall, SNR 10-15", "recall_10_to_15", 2),
    ("lowest recall, SNR above 15", "recall_above_15", 2),
    ("most false blobs per 100 frames", "false_per_100", 1),
    ("lowest AUC, SNR 5-30", "auc_5_to_30", 3),
    ("largest position error, median, pixels", "position_error", 2),
]
RECALLS = {"recall_7_to_10": "7-10", "recall_10_to_15": "10-15", "recall_above_15": "above 15"}
LOWEST_BINS = 5  # recalls above SNR 7 that are listed


def model_card(manifest: dict, metrics: dict, slices: list[dict], index: list[dict]) -> str:
    """Return the model card in Markdown; missing values are shown as "not measured".

    Parameters
    ----------
    manifest, metrics : dict
        Content of ``manifest.json`` and ``metrics.json``.
    slices : list of dict
        Rows of ``slices.csv`` of the network.
    index : list of dict
        Rows of the index of the subframes.

    Notes
    -----
    Links to figures are relative to the folder of the evaluation. The rate of new blobs, 1.4 a month, is the
    average between 19 blobs (March 2010, WFC3 ISR 2010-06) and 153 (July 2018, WFC3 ISR 2018-06).
    """
    environment = Environment(
        undefined=ChainableUndefined,
        finalize=format_value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"interval": format_interval, "spaced": lambda name: str(name).replace("_", " ")}
    baselines = metrics.get("baselines") or {}
    sets = (metrics.get("robustness") or {}).get("sets") or {}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        manifest=manifest,
        metrics=metrics,
        detectors={CNN: metrics} | {name: baselines.get(key) for name, key in BASELINES.items()},
        sets=sets,
        worst=select_worst_slices(slices),
        lowest=select_lowest_bins(sets),
        **describe_index(index),
        SUBFRAMES=SUBFRAMES,
        BLOBS=BLOBS,
        OBSERVERS=OBSERVERS,
        ROBUSTNESS=ROBUSTNESS,
        WEAKNESSES=WEAKNESSES,
        NOT_MEASURED=NOT_MEASURED,
    )


def to_number(value: float | str | None) -> float | None:
    """Return a value as a finite float, None if that is impossible."""
    try:
        number = float("nan" if value is None else value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def format_value(value: object) -> str:
    """Return a value as text."""
    if value is None or isinstance(value, Undefined) or value != value:
        return NOT_MEASURED
    return f"{value:,}" if isinstance(value, int) else str(value)


def format_interval(measured: dict | None, digits: int) -> str:
    """Return a value with its interval as text."""
    measured = measured if isinstance(measured, dict) else {}
    value, low, high = (to_number(measured.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return NOT_MEASURED
    if low is None or high is None:
        return f"{value:.{digits}f} (interval {NOT_MEASURED})"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def select_worst_slices(slices: list[dict]) -> list[dict]:
    """Return the two parts with the lowest recall of each slice, the lowest first."""
    known = [row | {"value": row["recall"]} for row in slices if to_number(row.get("recall")) is not None]
    known.sort(key=lambda row: (to_number(row["recall"]), row["slice"], row["part"]))
    ranks = [sum(other["slice"] == row["slice"] for other in known[:n]) for n, row in enumerate(known)]
    return [row for row, rank in zip(known, ranks, strict=True) if rank < 2]


def select_lowest_bins(sets: dict[str, dict]) -> list[tuple]:
    """Return the lowest recalls of the network above SNR 7: recall, set, SNR, interval."""
    bins = [
        (recall, name.replace("_", " "), words, measured)
        for name, one in sets.items()
        for key, words in RECALLS.items()
        if (measured := (one.get("cnn") or {}).get(key))
        and (recall := to_number(measured.get("value"))) is not None
    ]
    return sorted(bins, key=lambda one: one[:3])[:LOWEST_BINS]


def list_exposures(rows: list[dict]) -> set[str]:
    """Return the rootnames of difference images and of their stacks."""
    return {name for row in rows for name in (row["rootname"], *row["stack"].split())}


def describe_index(index: list[dict]) -> dict[str, object]:
    """Return the template fields that are taken from the index of the subframes."""
    splits = {row["split"]: [r for r in index if r["split"] == row["split"]] for row in index}
    exposures = [list_exposures(splits.get(split, [])) for split in ("train", "val", "test")]
    val = {key: sum(int(row[key]) for row in splits.get("val", [])) for key in ("subframes", "positive")}
    return {
        "origin": describe_origin("Exposures", list_exposures(index)),
        "test_origin": describe_origin("Test exposures", exposures[2]),
        "shared": sum(map(len, exposures)) - len(set.union(*exposures)) if index else None,
        "splits": [describe_split(split, rows) for split, rows in splits.items()],
        "depth": min((len(row["stack"].split()) for row in index), default=None),
        "prevalence": f"{val['positive'] / val['subframes']:.2f}" if val["subframes"] else None,
    }


def describe_origin(what: str, names: set[str]) -> str:
    """Return a sentence with the numbers of simulated and real exposures."""
    if not names:
        return f"{what}: {NOT_MEASURED}."
    real = sum(not name.startswith(SIMULATED_PREFIX) for name in names)
    return f"{what}: {len(names) - real} **simulated** (rootnames `{SIMULATED_PREFIX}...`), {real} **real**."


def describe_split(split: str, rows: list[dict]) -> list[str]:
    """Return the table row of a split: dates, MJD and counts."""
    from astropy.time import Time

    moments = [float(row["expstart"]) for row in rows]
    ends = [min(moments), max(moments)]
    days = Time(ends, format="mjd", scale="utc").strftime("%Y-%m-%d")
    sums = [sum(int(row[key]) for row in rows) for key in ("subframes", "positive", "blobs")]
    numbers = [len(rows), len(list_exposures(rows)), *sums]
    return [split, " to ".join(days), " to ".join(f"{end:.2f}" for end in ends), *map(format_value, numbers)]
