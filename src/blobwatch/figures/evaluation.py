"""Pictures of how good a detector is."""

from typing import TYPE_CHECKING

import numpy as np

from blobwatch.dataset.shards import Shard
from blobwatch.images.tiling import SUBFRAME

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by the colour-blind.
CNN, FILTER, TRUTH, FALSE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SHOWN = 4  # sigma; the grey scale of subframes


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure, inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def learning_curves(history: list[dict]) -> "Figure":
    """Draw loss and AUC over the epochs."""
    figure = new_figure(9, 3.6)
    losses, aucs = figure.subplots(1, 2)
    epochs = [row["epoch"] + 1 for row in history]
    losses.plot(epochs, [row["train_loss"] for row in history], "o-", color=FILTER, label="train")
    losses.plot(epochs, [row["val_loss"] for row in history], "o-", color=CNN, label="val")
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend()
    aucs.plot(epochs, [row["val_auc"] for row in history], "o-", color=CNN)
    aucs.set(xlabel="epoch", ylabel="AUC on val")
    return figure


def confusion_matrix(counts: np.ndarray, title: str) -> "Figure":
    """Draw a confusion matrix, counts and shares of each true class."""
    figure = new_figure(5, 4)
    axes = figure.subplots()
    shares = counts / counts.sum(axis=1, keepdims=True)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for row in range(2):
        for column in range(2):
            dark = shares[row, column] > 0.5
            text = f"{counts[row, column]}\n{100 * shares[row, column]:.1f} %"
            axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
    names = ["no new blob", "new blob"]
    axes.set(xticks=[0, 1], yticks=[0, 1], xticklabels=names, yticklabels=names)
    axes.set(xlabel="said", ylabel="true", title=title)
    return figure


def roc_and_precision(curves: dict[str, list[dict]], aucs: dict[str, dict]) -> "Figure":
    """Draw ROC and precision-recall curves of the detectors; the legend gives each AUC with its interval."""
    figure = new_figure(10, 4.4)
    roc, precision = figure.subplots(1, 2)
    for (name, points), colour in zip(curves.items(), (CNN, FILTER), strict=False):
        value = aucs[name]
        label = f"{name}: AUC {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
        rates = [0.0] + [p["false_positive_rate"] for p in points]
        roc.plot(rates, [0.0] + [p["recall"] for p in points], color=colour, label=label)
        precision.plot(
            [p["recall"] for p in points], [p["precision"] for p in points], color=colour, label=name
        )
    roc.plot([0, 1], [0, 1], ":", color="grey")
    roc.set(xlabel="false positive rate", ylabel="recall", title="ROC")
    precision.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02), title="Precision and recall")
    roc.legend(loc="lower right", fontsize=8)
    return figure


def completeness(slices: dict[str, list[dict]]) -> "Figure":
    """Draw recall against SNR with intervals, one curve per detector."""
    figure = new_figure(6.5, 4.2)
    axes = figure.subplots()
    for (name, rows), colour in zip(slices.items(), (CNN, FILTER), strict=False):
        rows = [row for row in rows if row["slice"] == "snr"]
        recall = np.array([row["recall"] for row in rows])
        errors = np.abs(np.array([[row["low"], row["high"]] for row in rows]).T - recall)
        places = np.arange(len(rows))
        axes.errorbar(places, recall, yerr=errors, fmt="o-", color=colour, capsize=3, label=name)
        axes.set_xticks(places, [f"{row['part']}\n({row['blobs']})" for row in rows], fontsize=8)
    axes.axhline(0.5, color="grey", lw=0.8, ls=":")
    axes.set(xlabel="SNR of the blob (number of blobs)", ylabel="recall", ylim=(-0.02, 1.04))
    axes.set_title("Completeness at each detector's threshold", fontsize=10)
    axes.legend()
    return figure


def slice_chart(rows: list[dict]) -> "Figure":
    """Draw recall with its interval in every slice but those of SNR."""
    rows = [row for row in rows if row["slice"] != "snr"][::-1]
    figure = new_figure(7, 0.34 * len(rows) + 1)
    axes = figure.subplots()
    recall = np.array([row["recall"] for row in rows])
    errors = np.abs(np.array([[row["low"], row["high"]] for row in rows]).T - recall)
    axes.errorbar(recall, np.arange(len(rows)), xerr=errors, fmt="o", color=CNN, capsize=3)
    labels = [f"{row['slice']} {row['part']} ({row['blobs']})" for row in rows]
    axes.set_yticks(np.arange(len(rows)), labels, fontsize=8)
    axes.set(xlabel="recall of blobs", xlim=(0, 1.03))
    axes.grid(axis="x", alpha=0.3)
    return figure


def show_subframe(axes, image: np.ndarray, title: str) -> None:
    """Show one scaled subframe, black to white from -4 to 4 sigma."""
    axes.imshow(image, origin="lower", cmap="gray", vmin=-SHOWN, vmax=SHOWN)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8)


def worst_errors(data: Shard, false: list[tuple], missed: list[tuple]) -> "Figure":
    """Draw the most confident false blobs, and the strongest blobs that were missed.

    Parameters
    ----------
    data : Shard
    false : list of (subframe, x, y, probability)
    missed : list of (subframe, x, y, snr)
    """
    columns = max(len(false), len(missed), 1)
    figure = new_figure(1.9 * columns, 4.6)
    grid = figure.subplots(2, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for row, cases, colour, word in ((0, false, FALSE, "false, p"), (1, missed, TRUTH, "missed, SNR")):
        for axes, (index, x, y, value) in zip(grid[row], cases, strict=False):
            axes.axis("on")
            show_subframe(axes, data.scaled(int(index)), f"{word} {value:.3g}")
            axes.scatter(x, y, s=160, facecolors="none", edgecolors=colour, linewidths=1.5)
            left, low = (float(np.clip(c - 48, 0, SUBFRAME - 96)) for c in (x, y))
            axes.set(xlim=(left, left + 96), ylim=(low, low + 96))
    return figure


def saliency(images: np.ndarray, gradients: np.ndarray, titles: list[str]) -> "Figure":
    """Draw subframes above the pixels that moved their score.

    Parameters
    ----------
    images, gradients : ndarray, shape (n, 256, 256)
        Scaled subframes, and the gradient of the best cell's logit with respect to each pixel.
    titles : list of str
    """
    figure = new_figure(2.1 * len(images), 4.6)
    grid = figure.subplots(2, len(images), squeeze=False)
    for column, (image, gradient, title) in enumerate(zip(images, gradients, titles, strict=True)):
        show_subframe(grid[0, column], image, title)
        weight = np.abs(gradient)
        grid[1, column].imshow(weight, origin="lower", cmap="magma", vmax=np.quantile(weight, 0.9995))
        grid[1, column].set(xticks=[], yticks=[])
    return figure
