"""The model card: description, training data, metrics, weaknesses and limits of a model."""

from pathlib import Path

from blobwatch.detector.model_card_tables import (
    BLOBS,
    NOT_MEASURED,
    SUBFRAMES,
    clean_frames_table,
    comparison_table,
    format_interval,
    format_value,
    get_nested,
    lowest_bins_table,
    markdown_table,
    robustness_table,
    weakness_table,
    worst_slices_table,
)

SIMULATED_PREFIX = "izzz"  # of the rootnames of simulated exposures; no real programme is named zzz
TEMPLATE = Path(__file__).with_name("model_card.md")
# Fields of the template, with their location in the manifest and in the metrics.
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
INTERVALS = {  # field: place, digits
    "clean_half": (("clean", "snr_at_half"), 2),
    "clean_false": (("clean", "false_per_100"), 1),
    "calibration": (("subframes", "calibration_error"), 3),
    "old_calibration": (("baselines", "predecessor", "subframes", "calibration_error"), 3),
    "half": (("blobs", "snr_at_half"), 2),
}


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
    fields = {name: format_value(get_nested(manifest, *place)) for name, place in MANIFEST.items()}
    fields |= {name: format_value(get_nested(metrics, *place)) for name, place in COUNTS.items()}
    fields |= {
        name: format_interval(get_nested(metrics, *place), digits)
        for name, (place, digits) in INTERVALS.items()
    }
    hashes = sorted((manifest.get("data") or {}).items())
    return TEMPLATE.read_text(encoding="utf-8").format(
        **fields,
        **index_fields(index),
        hashes="\n".join(f"* `{path}`: `{md5}`" for path, md5 in hashes) or f"* data: {NOT_MEASURED}",
        subframes=comparison_table("subframes", SUBFRAMES, metrics),
        blobs=comparison_table("blobs", BLOBS, metrics),
        clean=clean_frames_table(metrics),
        worst=worst_slices_table(slices),
        robustness=robustness_table(metrics),
        weaknesses=weakness_table(metrics),
        lowest=lowest_bins_table(metrics),
    )


def list_exposures(rows: list[dict]) -> set[str]:
    """Return the rootnames of difference images and of their stacks."""
    return {name for row in rows for name in (row["rootname"], *row["stack"].split())}


def index_fields(index: list[dict]) -> dict[str, str]:
    """Return the template fields that are taken from the index of the subframes."""
    splits = {row["split"]: [r for r in index if r["split"] == row["split"]] for row in index}
    head = ["split", "dates", "MJD", "difference images", "exposures", "subframes", "with a blob", "blobs"]
    exposures = [list_exposures(splits.get(split, [])) for split in ("train", "val", "test")]
    twice = sum(map(len, exposures)) - len(set.union(*exposures))
    val = {key: sum(int(row[key]) for row in splits.get("val", [])) for key in ("subframes", "positive")}
    return {
        "origin": describe_origin("Exposures", list_exposures(index)),
        "test_origin": describe_origin("Test exposures", list_exposures(splits.get("test", []))),
        "shared": format_value(twice if index else None),
        "splits": markdown_table(head, [split_row(split, rows) for split, rows in splits.items()]),
        "depth": format_value(min((len(row["stack"].split()) for row in index), default=None)),
        "prevalence": f"{val['positive'] / val['subframes']:.2f}" if val["subframes"] else NOT_MEASURED,
    }


def describe_origin(what: str, names: set[str]) -> str:
    """Return a sentence with the numbers of simulated and real exposures."""
    if not names:
        return f"{what}: {NOT_MEASURED}."
    real = sum(not name.startswith(SIMULATED_PREFIX) for name in names)
    return f"{what}: {len(names) - real} **simulated** (rootnames `{SIMULATED_PREFIX}...`), {real} **real**."


def split_row(split: str, rows: list[dict]) -> list[str]:
    """Return the table row of a split: dates, MJD and counts."""
    from astropy.time import Time

    moments = [float(row["expstart"]) for row in rows]
    ends = [min(moments), max(moments)]
    days = Time(ends, format="mjd", scale="utc").strftime("%Y-%m-%d")
    sums = [sum(int(row[key]) for row in rows) for key in ("subframes", "positive", "blobs")]
    numbers = [len(rows), len(list_exposures(rows)), *sums]
    return [split, " to ".join(days), " to ".join(f"{end:.2f}" for end in ends), *map(format_value, numbers)]
