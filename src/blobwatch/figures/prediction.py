"""The picture of an answer: the frame, its sixteen subframes, circles on what was found."""

from typing import TYPE_CHECKING

import numpy as np

from blobwatch.images.scaling import scale_frame
from blobwatch.images.tiling import SUBFRAME, tiles
from blobwatch.instrument import wfc3ir

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from blobwatch.detections import FoundBlob
    from blobwatch.predict import Prediction

FOUND = "#E69F00"
MASKED = "#56B4E9"


def plot_prediction(answer: "Prediction") -> "Figure":
    """Draw a whole frame with its probabilities and blobs, and a close-up of the most probable ones.

    Parameters
    ----------
    answer : Prediction
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.2), layout="constrained")
    grid = figure.add_gridspec(3, 4)
    whole = figure.add_subplot(grid[:, :3])
    scaled = scale_frame(answer.frame)
    draw_frame(whole, scaled, answer)
    for row in range(3):
        axes = figure.add_subplot(grid[row, 3])
        axes.set(xticks=[], yticks=[])
        if row < len(answer.blobs):
            draw_close_up(axes, scaled, answer, answer.blobs[row])
        else:
            axes.axis("off")
    return figure


def draw_frame(axes, scaled: np.ndarray, answer: "Prediction") -> None:
    """Draw the frame, binned 2 x 2, with the grid of subframes, their probabilities, and circles."""
    binned = scaled.reshape(512, 2, 512, 2).mean(axis=(1, 3)) * 2  # sigma of the binned pixels
    edges = (-0.5, wfc3ir.SIZE - 0.5)
    axes.imshow(binned, origin="lower", cmap="gray", vmin=-4, vmax=5, extent=(*edges, *edges))
    for line in range(SUBFRAME, wfc3ir.SIZE, SUBFRAME):
        axes.axhline(line - 0.5, color="white", lw=0.4, alpha=0.5)
        axes.axvline(line - 0.5, color="white", lw=0.4, alpha=0.5)
    for tile, probability in zip(tiles(), answer.probabilities, strict=True):
        holds = probability >= answer.threshold
        axes.text(
            tile.x0 + 8,
            tile.y0 + tile.size - 8,
            f"{probability:.2f}",
            va="top",
            fontsize=9,
            color=FOUND if holds else "white",
            weight="bold" if holds else "normal",
            bbox={"facecolor": "black", "alpha": 0.5, "pad": 1.5, "edgecolor": "none"},
        )
    axes.scatter(
        [b.x for b in answer.blobs],
        [b.y for b in answer.blobs],
        s=260,
        facecolors="none",
        edgecolors=FOUND,
        linewidths=1.8,
    )
    draw_masked(axes, answer.masked, size=1.0)
    if answer.residuals:
        x, y = [b.x for b in answer.residuals], [b.y for b in answer.residuals]
        axes.scatter(x, y, s=60, marker="x", color=MASKED, label="residual of an old blob")
    if answer.masked.any() or answer.residuals:
        axes.legend(loc="lower right", fontsize=8, markerscale=4, handletextpad=0.2, framealpha=0.7)
    count = len(answer.blobs)
    said = "no new blob" if count == 0 else f"{count} new blob{'s' if count > 1 else ''}"
    version = f"version {answer.model['version']}" if answer.model["version"] else "unregistered model"
    axes.set_title(f"{answer.rootname}: {said}  (blobwatch, {version})")
    axes.set(xlabel="x [pixel]", ylabel="y [pixel]", xlim=edges, ylim=edges)


def draw_masked(axes, masked: np.ndarray, size: float) -> None:
    """Mark the masked pixels by squares, ``size`` in points squared."""
    y, x = np.nonzero(masked)
    label = f"{len(x)} bad pixels masked"
    axes.scatter(x, y, s=size, marker="s", color=MASKED, linewidths=0, alpha=0.8, label=label)


def draw_close_up(axes, scaled: np.ndarray, answer: "Prediction", blob: "FoundBlob") -> None:
    """Show 64 pixels around one blob, its radius, and the masked pixels."""
    from matplotlib.patches import Circle

    axes.imshow(scaled, origin="lower", cmap="gray", vmin=-4, vmax=5)
    axes.set(xlim=(blob.x - 32, blob.x + 32), ylim=(blob.y - 32, blob.y + 32))
    draw_masked(axes, answer.masked, size=6.0)
    axes.add_patch(Circle((blob.x, blob.y), blob.radius, fill=False, edgecolor=FOUND, linewidth=1.5))
    axes.set_title(
        f"({blob.x:.1f}, {blob.y:.1f})  p {blob.probability:.3f}\nSNR {blob.snr:.1f}, "
        f"depth {100 * blob.depth:.2f} %, radius {blob.radius:.1f} px",
        fontsize=8,
    )
