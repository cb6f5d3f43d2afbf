"""Figures of the performance of the detectors."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can distinguish; one per detector.
COLOURS = {
    "CNN": "#0072B2",
    "CNN, same rate": "#56B4E9",
    "matched filters": "#D55E00",
    "Laplacian of Gaussian": "#E69F00",
    "predecessor's CNN": "#7F7F7F",
    "ideal observer": "#000000",
    "limit": "#009E73",
}
TRAIN, VAL = COLOURS["matched filters"], COLOURS["CNN"]


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure, inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def by_detector(rows: list[dict]) -> dict[str, list[dict]]:
    """Group rows by detector, in the order of the table."""
    names = dict.fromkeys(row["detector"] for row in rows)
    return {name: [row for row in rows if row["detector"] == name] for name in names}


def draw_intervals(axes, places, rows: list[dict], value: str, across: bool = False, **style) -> None:
    """Draw values and their intervals at places along the x axis, or ``across`` it."""
    values = np.array([row[value] for row in rows])
    ends = np.abs(np.array([[row["low"], row["high"]] for row in rows]).T - values)
    x, y = (values, places) if across else (places, values)
    style = {"fmt": "o", "capsize": 2, "xerr" if across else "yerr": ends} | style
    axes.errorbar(x, y, **style)


def plot_learning_curves(history: list[dict]) -> "Figure":
    """Draw loss and AUC over the epochs."""
    figure = new_figure(9, 3.6)
    losses, aucs = figure.subplots(1, 2)
    epochs = [row["epoch"] + 1 for row in history]
    losses.plot(epochs, [row["train_loss"] for row in history], "o-", color=TRAIN, label="train")
    losses.plot(epochs, [row["val_loss"] for row in history], "o-", color=VAL, label="val")
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend()
    aucs.plot(epochs, [row["val_auc"] for row in history], "o-", color=VAL)
    aucs.set(xlabel="epoch", ylabel="AUC on val")
    for axes in (losses, aucs):
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def plot_completeness(rows: list[dict]) -> "Figure":
    """Draw recall against SNR with intervals, on the test subframes and on clean frames.

    Parameters
    ----------
    rows : list of dict
        Of ``completeness.csv``.
    """
    figure = new_figure(11, 4.6)
    titles = {
        "contaminated": "test subframes, each at the threshold set on val",
        "clean": "white noise, same rate of false blobs (CNN: also its own)",
    }
    for axes, (frames, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
        here = [row for row in rows if row["frames"] == frames]
        for name, some in by_detector(here).items():
            middles = [(row["snr_low"] + row["snr_high"]) / 2 for row in some]
            line = "o--" if name == "ideal observer" else "o-"
            draw_intervals(
                axes, middles, some, "recall", label=name, fmt=line, color=COLOURS[name], markersize=4, lw=1.4
            )
        axes.axhline(0.5, color="grey", lw=0.8, ls=":")
        axes.set(xlabel="SNR of the blob", ylim=(-0.02, 1.04))
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, loc="lower right")
    figure.axes[0].set_ylabel("recall")
    return figure


def plot_reliability(rows: list[dict]) -> "Figure":
    """Draw the share of subframes with a blob against the CNN's probability, and a histogram.

    Parameters
    ----------
    rows : list of dict
        Of ``reliability.csv``.
    """
    figure = new_figure(5.2, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], ":", color="grey", label="calibrated")
    probability = [row["probability"] for row in rows]
    draw_intervals(upper, probability, rows, "share", label="CNN", color=COLOURS["CNN"], capsize=3)
    upper.set(ylabel="share that contains a blob", ylim=(-0.03, 1.03))
    upper.legend(loc="upper left")
    left, right = (np.array([row[key] for row in rows]) for key in ("bin_low", "bin_high"))
    counts = [row["subframes"] for row in rows]
    lower.bar(left, counts, right - left, align="edge", color=COLOURS["CNN"], edgecolor="white")
    lower.set(xlabel="probability of the subframe", ylabel="subframes", yscale="log", xlim=(-0.02, 1.02))
    return figure


def plot_roc_and_precision(rows: list[dict], aucs: dict[str, dict]) -> "Figure":
    """Draw ROC and precision-recall curves; the legend lists the AUCs and their intervals.

    Parameters
    ----------
    rows : list of dict
        Of ``roc.csv``.
    aucs : dict
        By detector ``value``, ``low``, ``high``.
    """
    figure = new_figure(11, 4.6)
    roc, precision = figure.subplots(1, 2)
    for name, points in by_detector(rows).items():
        label = "{}: AUC {value:.3f} [{low:.3f}, {high:.3f}]".format(name, **aucs[name])
        rates, recall = ([point[key] for point in points] for key in ("false_positive_rate", "recall"))
        roc.plot([0.0, *rates], [0.0, *recall], color=COLOURS[name], label=label)
        precision.plot(recall, [point["precision"] for point in points], color=COLOURS[name], label=name)
    roc.plot([0, 1], [0, 1], ":", color="grey")
    roc.set(xlabel="false positive rate", ylabel="recall", title="ROC")
    precision.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02), title="Precision and recall")
    roc.legend(loc="lower right", fontsize=8)
    return figure


def plot_confusion_matrices(matrices: dict[str, np.ndarray]) -> "Figure":
    """Draw the (2, 2) confusion matrix of each detector: counts and shares of the true class."""
    figure = new_figure(2.9 * len(matrices) + 0.6, 3.4)
    names = ["no blob", "blob"]
    for axes, (name, counts) in zip(
        figure.subplots(1, len(matrices), sharey=True, squeeze=False)[0], matrices.items(), strict=True
    ):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        for row, column in np.ndindex(2, 2):
            text = f"{counts[row, column]}\n{100 * shares[row, column]:.1f} %"
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour)
        axes.set(xticks=[0, 1], yticks=[0, 1], xticklabels=names, yticklabels=names, xlabel="predicted")
        axes.set_title(name, fontsize=10)
    figure.axes[0].set_ylabel("true")
    return figure


def plot_slices(rows: list[dict]) -> "Figure":
    """Draw recall with its interval in each slice, except slices of SNR.

    Parameters
    ----------
    rows : list of dict
        Of ``slices.csv``, of one detector.
    """
    rows = [row for row in rows if row["slice"] != "snr"][::-1]
    figure = new_figure(7, 0.32 * len(rows) + 1)
    axes = figure.subplots()
    places = np.arange(len(rows))
    draw_intervals(axes, places, rows, "recall", across=True, color=COLOURS["CNN"], capsize=3)
    labels = [f"{row['slice']}: {row['part']} ({row['blobs']})" for row in rows]
    axes.set_yticks(places, labels, fontsize=8)
    lowest = min(row["low"] for row in rows)
    axes.set(xlabel="recall of the CNN (number of blobs in brackets)", xlim=(max(-0.02, lowest - 0.05), 1.02))
    axes.grid(axis="x", alpha=0.3)
    return figure


def plot_robustness(rows: list[dict]) -> "Figure":
    """Draw the SNR at half and the false blobs per 100 frames in each robustness set.

    Parameters
    ----------
    rows : list of dict
        Of ``robustness.csv``.
    """
    sets = list(dict.fromkeys(row["set"] for row in rows))[::-1]
    figure = new_figure(11, 0.4 * len(sets) + 1.6)
    titles = {
        "snr_at_half": "SNR at which half of the blobs are found",
        "false_per_100": "false blobs per 100 frames",
    }
    for axes, (name, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
        measured = [row for row in rows if row["figure"] == name and row["value"] != ""]
        for number, (detector, some) in enumerate(by_detector(measured).items()):
            places = [sets.index(row["set"]) - 0.2 * (number - 1) for row in some]
            style = {"label": detector, "color": COLOURS[detector], "markersize": 4}
            draw_intervals(axes, places, some, "value", across=True, **style)
        axes.set_yticks(range(len(sets)), [one.replace("_", " ") for one in sets])
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    figure.axes[1].set_xscale("symlog", linthresh=10.0)
    figure.axes[1].set_xlim(left=-0.5)
    figure.axes[0].legend(fontsize=8)
    return figure
