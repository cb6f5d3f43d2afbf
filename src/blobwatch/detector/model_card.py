"""The model card: what a model is and learned from, how good it is, where it fails, what it is not for."""

import math
from pathlib import Path

from blobwatch.detector.comparison import CNN, FILTERS, IDEAL, LAPLACIAN, PREDECESSOR

NOT_MEASURED = "not measured"
SIMULATED_PREFIX = "izzz"  # rootnames of the simulated season begin so; no real programme is called zzz
TEMPLATE = Path(__file__).with_name("model_card.md")
# Fields of the template: where the manifest and the metrics have them.
MANIFEST = {
    "name": ("name",),
    "architecture": ("architecture", "name"),
    "width": ("architecture", "width"),
    "stride": ("architecture", "stride"),
    "parameters": ("parameters",),
    "version": ("version",),
    "cleaning": ("preprocessing", "cleaning"),
    "whitening": ("preprocessing", "whitening"),
    "scaling": ("preprocessing", "scaling"),
    "clip": ("preprocessing", "clip_sigma"),
    "unknown": ("preprocessing", "unknown"),
    "threshold": ("threshold",),
    "rate": ("fingerprint", "parts", "params", "evaluate.false_per_100"),
    "onnx": ("files", "model.onnx"),
    "fingerprint": ("fingerprint", "sha256"),
}
COUNTS = {
    "test_subframes": ("test", "subframes"),
    "test_blobs": ("test", "blobs"),
    "test_exposures": ("test", "exposures"),
    "final_exposures": ("final", "exposures"),
    "found": ("final", "found"),
    "appearances": ("final", "appearances"),
    "found_above_15": ("final", "found_above_15"),
    "appearances_above_15": ("final", "appearances_above_15"),
    "false_blobs": ("final", "false_blobs"),
    "clean_exposures": ("clean", "exposures"),
    "clean_blobs": ("clean", "blobs"),
}
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


def model_card(manifest: dict, metrics: dict, slices: list[dict], index: list[dict]) -> str:
    """Return the model card; what is missing, None or NaN is said to be not measured.

    Parameters
    ----------
    manifest : dict
        ``manifest.json`` of the artefact.
    metrics : dict
        ``metrics.json`` of the evaluation; a measured leaf has ``value``, ``low`` and ``high``.
    slices : list of dict
        The network's rows: ``slice``, ``part``, ``blobs``, ``recall``, ``low``, ``high``.
    index : list of dict
        Rows of the index of the subframes.

    Returns
    -------
    str
        Markdown; its links to pictures are relative to the folder of the evaluation.

    Notes
    -----
    The rate of new blobs, 1.4 a month, is the average from 19 blobs (March 2010, WFC3 ISR 2010-06) to 153
    (July 2018, WFC3 ISR 2018-06).
    """
    fields = {name: format_value(get_nested(manifest, *place)) for name, place in MANIFEST.items()}
    fields |= {name: format_value(get_nested(metrics, *place)) for name, place in COUNTS.items()}
    fields |= index_fields(index)
    clean = {
        words: get_nested(metrics, "clean", "same_rate", key, "snr_at_half")
        for words, key in OBSERVERS.items()
    }
    return TEMPLATE.read_text(encoding="utf-8").format(
        **fields,
        hashes="\n".join(f"* `{path}`: `{md5}`" for path, md5 in sorted((manifest.get("data") or {}).items()))
        or f"* data: {NOT_MEASURED}",
        subframes=comparison_table("subframes", SUBFRAMES, metrics),
        blobs=comparison_table("blobs", BLOBS, metrics),
        clean=markdown_table(
            ["detector", "SNR of half completeness"],
            [[words, format_interval(measured, 2)] for words, measured in clean.items()],
        ),
        clean_half=format_interval(get_nested(metrics, "clean", "snr_at_half"), 2),
        clean_false=format_interval(get_nested(metrics, "clean", "false_per_100"), 1),
        calibration=format_interval(get_nested(metrics, "subframes", "calibration_error"), 3),
        old_calibration=format_interval(
            get_nested(metrics, "baselines", "predecessor", "subframes", "calibration_error"), 3
        ),
        worst=worst_slices_table(slices),
        robustness=robustness_table(metrics),
        weaknesses=weakness_table(metrics),
        lowest=lowest_bins_table(metrics),
        half=format_interval(get_nested(metrics, "blobs", "snr_at_half"), 2),
    )


def get_nested(tree: dict, *keys: str):
    """Return what lies deep in nested dicts, None where a key is missing."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def to_number(value: object) -> float | None:
    """Return a finite number, also one that is text; None for anything else."""
    try:
        return float(value) if math.isfinite(float(value)) else None
    except (TypeError, ValueError):
        return None


def format_value(value: object) -> str:
    """Return a value in words."""
    if value is None or value != value:
        return NOT_MEASURED
    return f"{value:,}" if isinstance(value, int) else str(value)


def format_interval(measured: dict | None, digits: int) -> str:
    """Return a number with its interval."""
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
    """Return the table of one section of the metrics, with a column per detector."""
    rows = [
        [
            words,
            *(format_interval(get_nested(metrics, *of, section, key), digits) for of in DETECTORS.values()),
        ]
        for words, (key, digits) in measures.items()
    ]
    return markdown_table([section, *DETECTORS], rows)


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
    sets = get_nested(metrics, "robustness", "sets") or {}
    bins = {"recall_7_to_10": "7-10", "recall_10_to_15": "10-15", "recall_above_15": "above 15"}
    known = [
        (to_number(get_nested(one, "cnn", key, "value")), set_title(name), words, get_nested(one, "cnn", key))
        for name, one in sets.items()
        for key, words in bins.items()
        if to_number(get_nested(one, "cnn", key, "value")) is not None
    ]
    lowest = sorted(known, key=lambda row: row[:3])[:LOWEST_BINS]
    return markdown_table(
        ["SNR", "set", "recall"],
        [[words, name, format_interval(measured, 2)] for _, name, words, measured in lowest],
    )


def set_title(name: str) -> str:
    """Return the name of a set in words."""
    return name.replace("_", " ")


def worst_slices_table(slices: list[dict]) -> str:
    """Return the table of the two parts of each slice with the lowest recall, the lowest first."""
    known = sorted((row for row in slices if to_number(row.get("recall")) is not None), key=recall_order)
    kinds = {row["slice"] for row in known}
    chosen = [row for kind in kinds for row in [r for r in known if r["slice"] == kind][:2]]
    rows = [
        [
            row["slice"],
            str(row["part"]),
            format_interval(row | {"value": row["recall"]}, 2),
            format_value(row.get("blobs")),
        ]
        for row in sorted(chosen, key=recall_order)
    ]
    return markdown_table(["slice", "part", "recall", "blobs"], rows)


def recall_order(row: dict) -> tuple:
    """Return what rows of the slices are ordered by; equal recalls must not fall as they please."""
    return to_number(row["recall"]), row["slice"], row["part"]


def list_exposures(rows: list[dict]) -> set[str]:
    """Return the rootnames of the exposures in difference images, the ones of their stacks too."""
    return {name for row in rows for name in (row["rootname"], *row["stack"].split())}


def index_fields(index: list[dict]) -> dict[str, str]:
    """Return the fields of the template that the index of the subframes gives."""
    splits = {row["split"]: [r for r in index if r["split"] == row["split"]] for row in index}
    head = ["split", "dates", "MJD", "difference images", "exposures", "subframes", "with a blob", "blobs"]
    apart = [list_exposures(splits.get(split, [])) for split in ("train", "val", "test")]
    twice = sum(map(len, apart)) - len(set.union(*apart))
    val = {key: sum(int(row[key]) for row in splits.get("val", [])) for key in ("subframes", "positive")}
    return {
        "origin": describe_origin("Exposures", list_exposures(index)),
        "judged": describe_origin("Test exposures", list_exposures(splits.get("test", []))),
        "shared": format_value(twice if index else None),
        "splits": markdown_table(head, [split_row(split, rows) for split, rows in splits.items()]),
        "depth": format_value(min((len(row["stack"].split()) for row in index), default=None)),
        "prevalence": f"{val['positive'] / val['subframes']:.2f}" if val["subframes"] else NOT_MEASURED,
    }


def describe_origin(what: str, names: set[str]) -> str:
    """Say how many exposures are simulated and how many are real, by their rootnames."""
    if not names:
        return f"{what}: {NOT_MEASURED}."
    real = sum(not name.startswith(SIMULATED_PREFIX) for name in names)
    return f"{what}: {len(names) - real} **simulated** (rootnames `{SIMULATED_PREFIX}...`), {real} **real**."


def split_row(split: str, rows: list[dict]) -> list[str]:
    """Return a split's row of the table: days, moments, counts."""
    from astropy.time import Time

    moments = [float(row["expstart"]) for row in rows]
    ends = [min(moments), max(moments)]
    days = Time(ends, format="mjd", scale="utc").strftime("%Y-%m-%d")
    sums = [sum(int(row[key]) for row in rows) for key in ("subframes", "positive", "blobs")]
    numbers = [len(rows), len(list_exposures(rows)), *sums]
    return [split, " to ".join(days), " to ".join(f"{end:.2f}" for end in ends), *map(format_value, numbers)]
