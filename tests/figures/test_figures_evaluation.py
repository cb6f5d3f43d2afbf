"""The pictures show what the tables say, each detector in its own colour."""

import io

import numpy as np
import pytest
from synthetic import easy_subframes

from blobwatch.detector.comparison import CNN, FILTERS, IDEAL, LAPLACIAN, PREDECESSOR
from blobwatch.figures import explain
from blobwatch.figures.evaluation import (
    COLOURS,
    plot_completeness,
    plot_confusion_matrices,
    plot_learning_curves,
    plot_reliability,
    plot_robustness,
    plot_roc_and_precision,
    plot_slices,
)


def render(figure):
    """Render a figure to reveal drawing errors, and return it."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def test_each_detector_has_its_own_colour():
    assert {CNN, FILTERS, PREDECESSOR, LAPLACIAN, IDEAL} <= COLOURS.keys()
    assert len(set(COLOURS.values())) == len(COLOURS)


def snr_rows(detector: str, frames: str, recalls: list[float]) -> list[dict]:
    return [
        {"detector": detector, "frames": frames, "snr_low": 4 + i, "snr_high": 5 + i, "blobs": 9}
        | {"recall": recall, "low": max(0, recall - 0.1), "high": min(1, recall + 0.05)}
        for i, recall in enumerate(recalls)
    ]


def test_plot_completeness():
    rows = snr_rows(CNN, "contaminated", [0.1, 0.6]) + snr_rows(FILTERS, "contaminated", [0.0, 0.2])
    rows += snr_rows(CNN, "clean", [0.3, 0.8]) + snr_rows(IDEAL, "clean", [0.4, 1.0])
    left, right = render(plot_completeness(rows)).axes
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (left, right)]
    assert legends == [[CNN, FILTERS], [CNN, IDEAL]]
    line = right.containers[1].lines[0]
    assert line.get_xdata().tolist() == [4.5, 5.5]
    assert line.get_ydata().tolist() == [0.4, 1.0]
    assert line.get_color() == COLOURS[IDEAL]
    low, high = left.containers[0].lines[2][0].get_segments()[1][:, 1]
    assert (low, high) == pytest.approx((0.5, 0.65))


def test_plot_reliability():
    rows = [
        {"bin_low": 0.0, "bin_high": 0.5, "subframes": 30, "probability": 0.1, "share": 0.2},
        {"bin_low": 0.5, "bin_high": 1.0, "subframes": 70, "probability": 0.9, "share": 0.8},
    ]
    rows = [row | {"low": row["share"] - 0.1, "high": row["share"] + 0.1} for row in rows]
    upper, lower = render(plot_reliability(rows)).axes
    points = upper.containers[0].lines[0]
    assert list(zip(points.get_xdata(), points.get_ydata(), strict=True)) == [(0.1, 0.2), (0.9, 0.8)]
    assert [bar.get_height() for bar in lower.patches] == [30, 70]
    assert [bar.get_x() for bar in lower.patches] == [0.0, 0.5]


def test_plot_roc_and_precision():
    rows = [
        {"detector": name, "false_positive_rate": rate, "recall": recall, "precision": 0.5}
        for name in (CNN, PREDECESSOR)
        for rate, recall in ((0.1, 0.7), (1.0, 1.0))
    ]
    value = {"value": 0.9, "low": 0.85, "high": 0.95}
    roc, precision = render(plot_roc_and_precision(rows, {CNN: value, PREDECESSOR: value})).axes
    assert roc.lines[0].get_xdata().tolist() == [0.0, 0.1, 1.0]
    assert roc.get_legend().get_texts()[1].get_text() == f"{PREDECESSOR}: AUC 0.900 [0.850, 0.950]"
    assert [line.get_color() for line in precision.lines] == [COLOURS[CNN], COLOURS[PREDECESSOR]]


def test_plot_confusion_matrices():
    first, second = render(
        plot_confusion_matrices({CNN: np.array([[8, 2], [0, 5]]), FILTERS: np.array([[9, 1], [5, 0]])})
    ).axes
    assert [text.get_text() for text in first.texts] == ["8\n80.0 %", "2\n20.0 %", "0\n0.0 %", "5\n100.0 %"]
    assert (first.get_title(), second.get_title()) == (CNN, FILTERS)


def test_plot_robustness():
    rows = [
        {"set": name, "detector": detector, "figure": figure, "value": value, "low": low, "high": high}
        for name, detector, figure, value, low, high in (
            ("white_noise", CNN, "snr_at_half", 5.5, 5.0, 6.0),
            ("bad_pixels", CNN, "snr_at_half", 6.5, 6.0, 7.0),
            ("white_noise", "limit", "snr_at_half", 5.0, 4.5, 5.5),
            ("bad_pixels", CNN, "false_per_100", 3.0, 0.0, 6.0),
            ("white_noise", FILTERS, "snr_at_half", "", "", ""),
        )
    ]
    left, right = render(plot_robustness(rows)).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["bad pixels", "white noise"]
    assert [text.get_text() for text in left.get_legend().get_texts()] == [CNN, "limit"]
    network = left.containers[0].lines[0]
    assert (network.get_xdata().tolist(), [round(y) for y in network.get_ydata()]) == ([5.5, 6.5], [1, 0])
    assert right.containers[0].lines[0].get_xdata().tolist() == [3.0]


def test_plot_slices_excludes_snr():
    rows = [
        {"slice": name, "part": part, "blobs": 7, "recall": 0.8, "low": 0.7, "high": 0.9}
        for name, part in (("snr", "4-5"), ("region", "lower left"), ("half-width", "2-5"))
    ]
    (axes,) = render(plot_slices(rows)).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["half-width: 2-5 (7)", "region: lower left (7)"]


def test_plot_learning_curves_counts_epochs_from_one():
    history = [{"epoch": k, "train_loss": 1 / (k + 1), "val_loss": 0.5, "val_auc": 0.9} for k in range(3)]
    losses, aucs = render(plot_learning_curves(history)).axes
    assert losses.lines[0].get_xdata() == pytest.approx([1, 2, 3])
    assert aucs.lines[0].get_ydata() == pytest.approx([0.9] * 3)


def test_window_of_an_error_at_the_edge_is_complete():
    data = easy_subframes(4)
    figure = render(
        explain.plot_worst_errors(data, [(1, 2.0, 250.0, 0.9)], [(0, 100.0, 90.0, 22.0), (2, 5.0, 5.0, 9.0)])
    )
    false, unused, missed, _ = figure.axes
    assert (false.get_xlim(), false.get_ylim()) == ((0.0, 96.0), (160.0, 256.0))
    assert (missed.get_xlim(), missed.get_ylim()) == ((52.0, 148.0), (42.0, 138.0))
    assert (false.get_title(), missed.get_title()) == ("false, p 0.9", "missed, SNR 22")
    assert not unused.axison


def test_plot_saliency():
    images = np.random.default_rng(0).normal(size=(2, 256, 256))
    figure = render(explain.plot_saliency(images, -images, ["one", "two"]))
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "", ""]
    np.testing.assert_allclose(figure.axes[3].images[0].get_array(), np.abs(images[1]))
