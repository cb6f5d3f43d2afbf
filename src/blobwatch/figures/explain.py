"""Figures of single subframes: the worst errors, and saliency."""

from typing import TYPE_CHECKING

import numpy as np

from blobwatch.dataset.shards import Shard
from blobwatch.figures.evaluation import new_figure
from blobwatch.images.tiling import SUBFRAME

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUE, FALSE = "#009E73", "#CC79A7"  # Okabe and Ito's colours that no detector has
RANGE = 4  # sigma; the grey scale of subframes
WINDOW = 96  # pixels of a subframe around an error


def draw_subframe(axes, image: np.ndarray, title: str) -> None:
    """Draw one scaled subframe, black to white from -4 to 4 sigma."""
    axes.imshow(image, origin="lower", cmap="gray", vmin=-RANGE, vmax=RANGE)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8)


def plot_worst_errors(data: Shard, false: list[tuple], missed: list[tuple]) -> "Figure":
    """Draw the most confident false blobs and the strongest missed blobs.

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
    for row, cases, colour, word in ((0, false, FALSE, "false, p"), (1, missed, TRUE, "missed, SNR")):
        for axes, (index, x, y, value) in zip(grid[row], cases, strict=False):
            axes.axis("on")
            draw_subframe(axes, data.scaled(int(index)), f"{word} {value:.3g}")
            axes.scatter(x, y, s=160, facecolors="none", edgecolors=colour, linewidths=1.5)
            left, low = (float(np.clip(c - WINDOW / 2, 0, SUBFRAME - WINDOW)) for c in (x, y))
            axes.set(xlim=(left, left + WINDOW), ylim=(low, low + WINDOW))
    return figure


def plot_saliency(images: np.ndarray, gradients: np.ndarray, titles: list[str]) -> "Figure":
    """Draw subframes and the pixels that influence their scores.

    Parameters
    ----------
    images, gradients : ndarray, shape (n, 256, 256)
        Scaled subframes, and the gradient of the best cell's logit with respect to each pixel.
    titles : list of str
    """
    figure = new_figure(2.1 * len(images), 4.6)
    grid = figure.subplots(2, len(images), squeeze=False)
    for column, (image, gradient, title) in enumerate(zip(images, gradients, titles, strict=True)):
        draw_subframe(grid[0, column], image, title)
        weight = np.abs(gradient)
        grid[1, column].imshow(weight, origin="lower", cmap="magma", vmax=np.quantile(weight, 0.9995))
        grid[1, column].set(xticks=[], yticks=[])
    return figure
