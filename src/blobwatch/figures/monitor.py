"""Figure of a notice: images, position and light curve of a new blob."""

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from blobwatch.figures.evaluation import new_figure
from blobwatch.figures.prediction import FOUND
from blobwatch.instrument import wfc3ir

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {"before": "stack before", "after": "exposure", "difference": "difference"}
BLUE = "#0072B2"


def plot_new_blob(
    place: tuple[float, float, float],
    corner: tuple[int, int],
    pictures: dict[str, bytes],
    light: dict[str, np.ndarray],
    appeared: tuple[float | None, float],
    title: str,
) -> "Figure":
    """Draw images, position and light curve of a new blob.

    Parameters
    ----------
    place : tuple
        ``x, y, radius``, pixels of the 1024 frame.
    corner : tuple of int
        The pixel of the frame at the lower left of the images.
    pictures : dict of str to bytes
        PNG of ``before``, ``after``, ``difference``.
    light : dict of str to ndarray, shape (n,)
        ``mjd``; ``depth`` and ``error``, the missing light as a fraction of the background.
    appeared : tuple
        MJD of the last exposure without the blob (None if unknown) and of the first with it.
    title : str
    """
    from matplotlib.image import imread
    from matplotlib.patches import Circle

    figure = new_figure(10, 6.2)
    figure.suptitle(title, fontsize=12)
    cutouts, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.15, 1)).flat
    x, y, radius = place
    for axes, (name, words) in zip(cutouts.subplots(1, 3), TITLES.items(), strict=True):
        pixels = imread(BytesIO(pictures[name]))
        left, bottom = corner[0] - 0.5, corner[1] - 0.5
        extent = (left, left + pixels.shape[1], bottom, bottom + pixels.shape[0])
        axes.imshow(pixels, extent=extent, origin="upper", cmap="gray", vmin=0, vmax=1)
        axes.add_patch(Circle((x, y), 1.6 * radius, fill=False, edgecolor=FOUND, linewidth=1.5))
        axes.set_title(words, fontsize=10)
        axes.tick_params(labelsize=8)
    curve, frame = below.subplots(1, 2, width_ratios=(2.4, 1))
    draw_light_curve(curve, light, appeared)
    frame.set(xlim=(0, wfc3ir.SIZE), ylim=(0, wfc3ir.SIZE), aspect="equal")
    frame.set_title("on the detector", fontsize=10)
    frame.plot([x], [y], "o", color=FOUND, markersize=8, markeredgecolor="black")
    frame.tick_params(labelsize=8)
    return figure


def draw_light_curve(axes, light: dict[str, np.ndarray], appeared: tuple[float | None, float]) -> None:
    """Draw the missing light over time with errors, and the onset of the blob."""
    axes.errorbar(light["mjd"], 100 * light["depth"], yerr=100 * light["error"], fmt="o", ms=4, color=BLUE)
    before, first = appeared
    if before is not None:
        axes.axvspan(before, first, color=FOUND, alpha=0.35, lw=0, label="appeared")
        axes.legend(fontsize=8, loc="center right")
    axes.axhline(0, color="0.6", lw=0.8)
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.set(xlabel="MJD", ylabel="missing light [%]")
    axes.tick_params(labelsize=8)
