"""Tables of the model card in Markdown."""

import math

from blobwatch.detector.comparison import CNN, FILTERS, IDEAL, LAPLACIAN, PREDECESSOR

NOT_MEASURED = "not measured"
ROBUSTNESS = {  # heading of the table: detector, figure, digits
    "SNR of half": ("cnn", "snr_at_half", 2),
    "limit": ("limit", "snr_at_half", 2),
    "ratio to the limit": ("cnn", "ratio_to_limit", 2),
    "matched filters": ("matched_filter", "snr_at_half", 2),
    "recall above SNR 15": ("cnn", "recall_above_15", 3),
    "false per 100 frames": ("cnn", "false_per_100", 1),
    "AUC, SNR 5-30": ("cnn", "auc_5_to_30", 3),
    "the predecessor's AUC": ("predecessor", "auc_5_to_30", 3),
}
WEAKNESSES = {  # of the network, in its worst robustness set
    "worst_snr_at_half": ("highest SNR of half", 2),
    "worst_ratio_to_limit": ("highest ratio to the limit", 2),
    "worst_recall_10_to_15": ("lowest recall, SNR 10-15", 2),
    "worst_recall_above_15": ("lowest recall, SNR above 15", 2),
    "worst_false_per_100": ("most false blobs per 100 frames", 1),
    "worst_auc_5_to_30": ("lowest AUC, SNR 5-30", 3),
    "worst_position_error": ("largest position error, median, pixels", 2),
}
LOWEST_BINS = 5  # recalls above SNR 7 that are listed
DETECTORS = {
    CNN: (),
    FILTERS: ("baselines", "matched_filter"),
    PREDECESSOR: ("baselines", "predecessor"),
    LAPLACIAN: ("baselines", "laplacian"),
}
OBSERVERS = {IDEAL: "ideal_observer", CNN: "cnn", FILTERS: "matched_filters"}
SUBFRAMES = {
    "AUC": ("auc", 3),
    "AUC, SNR 5-30": ("auc_5_to_30", 3),
    "average precision": ("average_precision", 3),
    "accuracy at the threshold": ("accuracy", 3),
    "recall at the threshold": ("recall", 3),
    "precision at the threshold": ("precision", 3),
}
BLOBS = {
    "recall": ("recall", 3),
    "recall, SNR 10-15": ("recall_10_to_15", 3),
    "recall, SNR above 15": ("recall_above_15", 3),
    "SNR of half completeness": ("snr_at_half", 2),
    "false blobs per 100 exposures": ("false_per_100", 1),
    "position error, median, pixels": ("position_error", 2),
    "position error, SNR above 10, pixels": ("position_error_above_10", 2),
}


def get_nested(tree: dict, *keys: str):
    """Return a value of nested dicts, None if a key is missing."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def to_number(value: object) -> float | None:
    """Return a value as a finite float, None if that is impossible."""
    try:
        return float(value) if math.isfinite(float(value)) else None
    except (TypeError, ValueError):
        return None


def format_value(value: object) -> str:
    """Return a value as text."""
    if value is None or value != value:
        return NOT_MEASURED
    return f"{value:,}" if isinstance(value, int) else str(value)


def format_interval(measured: dict | None, digits: int) -> str:
    """Return a value with its interval as text."""
    value, low, high = (to_number(get_nested(measured, key)) for key in ("value", "low", "high"))
    if value is None:
        return NOT_MEASURED
    if low is None or high is None:
        return f"{value:.{digits}f} (interval {NOT_MEASURED})"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    if not rows:
        return f"{head[0]}: {NOT_MEASURED}"
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def comparison_table(section: str, measures: dict, metrics: dict) -> str:
    """Return the table of one section of the metrics, one column per detector."""
    rows = [
        [
            words,
            *(format_interval(get_nested(metrics, *of, section, key), digits) for of in DETECTORS.values()),
        ]
        for words, (key, digits) in measures.items()
    ]
    return markdown_table([section, *DETECTORS], rows)


def clean_frames_table(metrics: dict) -> str:
    """Return the table of the detectors on clean frames."""
    rows = [
        [words, format_interval(get_nested(metrics, "clean", "same_rate", key, "snr_at_half"), 2)]
        for words, key in OBSERVERS.items()
    ]
    return markdown_table(["detector", "SNR of half completeness"], rows)


def robustness_table(metrics: dict) -> str:
    """Return the table of the robustness sets."""
    sets = get_nested(metrics, "robustness", "sets") or {}
    rows = [
        [
            set_title(name),
            *(format_interval(get_nested(one, key, figure), n) for key, figure, n in ROBUSTNESS.values()),
        ]
        for name, one in sets.items()
    ]
    return markdown_table(["set", *ROBUSTNESS], rows)


def weakness_table(metrics: dict) -> str:
    """Return the table of the network's worst robustness set for each figure."""
    rows = []
    for key, (words, digits) in WEAKNESSES.items():
        name = get_nested(metrics, "robustness", "worst_sets", key.removeprefix("worst_"))
        value = format_interval(get_nested(metrics, "robustness", key), digits)
        rows.append([words, set_title(format_value(name)), value])
    return markdown_table(["figure", "worst set", "value"], rows)


def lowest_bins_table(metrics: dict) -> str:
    """Return the table of the robustness sets and SNRs above 7 with the lowest recall of the network."""
    bins = {"recall_7_to_10": "7-10", "recall_10_to_15": "10-15", "recall_above_15": "above 15"}
    rows = []
    for name, one in (get_nested(metrics, "robustness", "sets") or {}).items():
        for key, words in bins.items():
            measured = get_nested(one, "cnn", key)
            recall = to_number(get_nested(measured, "value"))
            if recall is not None:
                rows.append((recall, set_title(name), words, format_interval(measured, 2)))
    return markdown_table(
        ["SNR", "set", "recall"], [[words, name, text] for _, name, words, text in sorted(rows)[:LOWEST_BINS]]
    )


def set_title(name: str) -> str:
    """Return the name of a robustness set with spaces."""
    return name.replace("_", " ")


def worst_slices_table(slices: list[dict]) -> str:
    """Return the table of the two parts with the lowest recall of each slice."""
    known = sorted((row for row in slices if to_number(row.get("recall")) is not None), key=recall_order)
    kinds = sorted({row["slice"] for row in known})
    chosen = [row for kind in kinds for row in [r for r in known if r["slice"] == kind][:2]]
    rows = []
    for row in sorted(chosen, key=recall_order):
        recall = format_interval(row | {"value": row["recall"]}, 2)
        rows.append([row["slice"], str(row["part"]), recall, format_value(row.get("blobs"))])
    return markdown_table(["slice", "part", "recall", "blobs"], rows)


def recall_order(row: dict) -> tuple:
    """Return the sort key of rows; equal recalls are ordered by name."""
    return to_number(row["recall"]), row["slice"], row["part"]
