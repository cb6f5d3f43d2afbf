"""Tests of the model card."""

import re

import pytest

from blobwatch.detector.export import PREPROCESSING
from blobwatch.detector.model_card import BLOBS, ROBUSTNESS, SUBFRAMES, WEAKNESSES, model_card


def leaf(value: float) -> dict:
    return {"value": value, "low": value - 0.25, "high": value + 0.25}


def detector(start: float) -> dict:
    """Return a section per table whose numbers are all different."""
    subframes = {key: leaf(start + 0.001 * n) for n, (_, key, _) in enumerate(SUBFRAMES)}
    subframes["calibration_error"] = leaf(start + 0.009)
    return {"subframes": subframes, "blobs": {key: leaf(start + n) for n, (_, key, _) in enumerate(BLOBS)}}


MANIFEST = {
    "name": "blobwatch",
    "version": "0.1.0",
    "architecture": {"name": "compact", "width": 16, "stride": 4},
    "parameters": 84259,
    "preprocessing": PREPROCESSING,
    "threshold": 0.666,
    "files": {"model.onnx": "8a" * 32},
    "fingerprint": {"sha256": "7e" * 32, "parts": {"params": {"evaluate.false_per_100": 5.0}}},
    "data": {"data/subframes": "b0.dir", "data/raw/simulated": "c1.dir"},
}
METRICS = detector(11.0) | {
    "threshold": 0.666,
    "baselines": {name: detector(start) for name, start in
                  (("matched_filter", 21.0), ("predecessor", 31.0), ("laplacian", 41.0))},
    "test": {"subframes": 1600, "blobs": 2519, "exposures": 12},
    "final": {"exposures": 12, "appearances": 25, "found": 20, "appearances_above_15": 14,
              "found_above_15": 13, "false_blobs": 3, "false_per_100": 25.0},
    "clean": {"exposures": 24, "blobs": 1536, "false_per_100": leaf(4.0), "snr_at_half": leaf(6.25),
              "same_rate": {"cnn": {"snr_at_half": leaf(6.0)}, "ideal_observer": {"snr_at_half": leaf(5.5)},
                            "matched_filters": {"snr_at_half": leaf(5.75)}}},
}  # fmt: skip
FIGURES = {(key, figure) for _, key, figure, _ in ROBUSTNESS}
FIGURES |= {("cnn", f"recall_{part}") for part in ("7_to_10", "10_to_15", "above_15")}


def robustness_set(start: float) -> dict:
    """Return the figures of one robustness set, all different."""
    figures: dict = {}
    for n, (key, figure) in enumerate(sorted(FIGURES)):
        figures.setdefault(key, {})[figure] = leaf(start + n)
    return figures


METRICS["robustness"] = {
    "sets": {"white_noise": robustness_set(51.0), "bad_pixels": robustness_set(71.0)},
    "worst_sets": {key: "bad_pixels" for _, key, _ in WEAKNESSES},
} | {f"worst_{key}": leaf(91.0 + n) for n, (_, key, _) in enumerate(WEAKNESSES)}
SLICES = [
    {"slice": kind, "part": part, "blobs": "57", "recall": recall, "low": "0.01", "high": "0.99"}
    for kind, part, recall in (
        ("snr", "4-5", "0.30"),
        ("snr", "5-6", "0.35"),
        ("snr", "6-7", "0.40"),
        ("region", "upper left", "0.90"),
        ("region", "edge", "0.20"),
        ("region", "none there", "nan"),
    )
]


def row(split: str, rootname: str, expstart: float, stack: str) -> dict:
    numbers = {"subframes": "100", "positive": "25" if split == "val" else "40", "blobs": "60"}
    return {"split": split, "rootname": rootname, "expstart": str(expstart), "stack": stack} | numbers


INDEX = [
    row("train", "izzz0005q", 57405.58, "izzz0001q izzz0002q izzz0003q izzz0004q"),
    row("train", "izzz0004q", 57401.98, "izzz0001q izzz0002q izzz0003q"),
    row("val", "izzz000gq", 57542.9, "izzz000aq izzz000bq izzz000cq"),
    row("test", "izzz000wq", 57599.23, "izzz000tq izzz000uq izzz000vq"),
]


def card(manifest=MANIFEST, metrics=METRICS, slices=SLICES, index=INDEX) -> str:
    return model_card(manifest, metrics, slices, index)


def cells(text: str, first: str) -> list[str]:
    """Return the cells of the only table row with this first cell."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_complete_card_contains_all_values():
    text = card()
    assert "not measured" not in text
    assert not re.search(r"[{}]|\bNone\b|\bnan\b", text)
    for hash_ in ("8a" * 32, "7e" * 32, "b0.dir", "c1.dir"):
        assert f"`{hash_}`" in text
    for part in ("cleaning", "whitening", "scaling"):
        assert PREPROCESSING[part] in text


def test_rows_contain_all_detectors_with_intervals():
    text = card()
    starts = ("11.000 [10.750, 11.250]", "21.000 [20.750, 21.250]", "31.000 [30.750, 31.250]")
    assert cells(text, "AUC") == [*starts, "41.000 [40.750, 41.250]"]
    for words, *_ in (*SUBFRAMES, *BLOBS):
        for row in [line for line in text.splitlines() if line.startswith(f"| {words} |")]:
            assert len(re.findall(r"[\d.]+ \[[\d.]+, [\d.]+\]", row)) == 4


def test_card_contains_ideal_observer():
    text = card()
    assert cells(text, "ideal observer") == ["5.50 [5.25, 5.75]"]
    assert "half completeness 6.25 [6.00, 6.50], false blobs per 100 frames 4.0 [3.8, 4.2]" in text


def test_card_contains_robustness_sets_and_weaknesses():
    text = card()
    sets = METRICS["robustness"]["sets"]
    snr = sets["bad_pixels"]["cnn"]["snr_at_half"]["value"]
    assert cells(text, "bad pixels")[0] == f"{snr:.2f} [{snr - 0.25:.2f}, {snr + 0.25:.2f}]"
    assert len(cells(text, "white noise")) == len(ROBUSTNESS)
    assert cells(text, "highest ratio to the limit") == ["bad pixels", "92.00 [91.75, 92.25]"]
    lowest = text.split("lowest recall:")[1].split("| SNR | set | recall |")[1].splitlines()[2:]
    (first, second) = (line.split("|")[1:3] for line in lowest[:2])
    assert first == [" 10-15 ", " white noise "]
    assert second == [" 7-10 ", " white noise "]


@pytest.mark.parametrize("value", [{"value": None, "low": None, "high": None}, None])
def test_missing_value_is_shown_as_not_measured(value):
    text = card(metrics=METRICS | {"blobs": METRICS["blobs"] | {"snr_at_half": value}})
    assert cells(text, "SNR of half completeness")[:2] == ["not measured", "24.00 [23.75, 24.25]"]
    assert "below the SNR of half completeness (not measured)" in " ".join(text.split())
    text = card(metrics=METRICS | {"subframes": {"auc": {"value": 11.0, "high": 12.0}}})
    assert cells(text, "AUC")[0] == "11.000 (interval not measured)"


def test_card_without_any_data():
    text = model_card({}, {}, [], [])
    assert text.count("not measured") > 60
    assert "simulated" not in text.split("## How good")[0]


@pytest.mark.parametrize(
    ("tree", "key"), [("manifest", k) for k in MANIFEST] + [("metrics", k) for k in METRICS]
)
def test_card_with_a_missing_key(tree, key):
    complete = {"manifest": MANIFEST, "metrics": METRICS}[tree]
    text = card(**{tree: {k: value for k, value in complete.items() if k != key}})
    assert ("not measured" in text) == ((tree, key) != ("metrics", "threshold"))


def test_card_contains_dates_and_counts_of_splits():
    text = card()
    assert cells(text, "train") == [
        "2016-01-14 to 2016-01-18",
        "57401.98 to 57405.58",
        "2",
        "5",  # one is in a stack as well as a difference image
        "200",
        "80",
        "120",
    ]
    assert "Exposures in more than one of train, val and test: 0." in text
    assert "this number of exposures: 3." in " ".join(text.split())
    assert "share of subframes with a blob: 0.25" in text


def test_card_counts_exposures_in_two_splits():
    text = card(index=[*INDEX, row("test", "izzz000xq", 57602.0, "izzz000wq izzz000gq izzz000vq")])
    assert "Exposures in more than one of train, val and test: 1." in text


def test_card_distinguishes_simulated_and_real_exposures():
    assert "Exposures: 13 **simulated** (rootnames `izzz...`), 0 **real**." in card()
    assert "Test exposures: 4 **simulated** (rootnames `izzz...`), 0 **real**." in card()
    mixed = [*INDEX, row("test", "ich219i8q", 57602.0, "ich219iaq izzz000vq")]
    assert "Exposures: 13 **simulated** (rootnames `izzz...`), 2 **real**." in card(index=mixed)
    assert "Test exposures: 4 **simulated** (rootnames `izzz...`), 2 **real**." in card(index=mixed)


def test_worst_slices_are_sorted_with_two_per_slice():
    text = card().split("## Where it fails")[1].split("##")[0]
    parts = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("|")][2:6]
    assert parts == ["edge", "4-5", "5-6", "upper left"]
    assert "| region | edge | 0.20 [0.01, 0.99] | 57 |" in text


def test_card_links_the_figures_of_the_evaluation():
    assert set(re.findall(r"\]\((.+?)\)", card())) == {
        f"figures/{name}.png"
        for name in ("completeness", "reliability", "robustness", "slices", "worst_errors")
    }
