"""Figure of a prediction: the frame, its sixteen subframes, and circles around blobs."""

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


def plot_prediction(result: "Prediction") -> "Figure":
    """Draw a frame with its probabilities and blobs, and close-ups of the most probable blobs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.2), layout="constrained")
    grid = figure.add_gridspec(3, 4)
    whole = figure.add_subplot(grid[:, :3])
    scaled = scale_frame(result.frame)
    draw_frame(whole, scaled, result)
    for row in range(3):
        axes = figure.add_subplot(grid[row, 3])
        axes.set(xticks=[], yticks=[])
        if row < len(result.blobs):
            draw_close_up(axes, scaled, result, result.blobs[row])
        else:
            axes.axis("off")
    return figure


def draw_frame(axes, scaled: np.ndarray, result: "Prediction") -> None:
    """Draw the frame, binned 2 x 2, with subframes, probabilities and circles."""
    binned = scaled.reshape(512, 2, 512, 2).mean(axis=(1, 3)) * 2  # sigma of the binned pixels
    edges = (-0.5, wfc3ir.SIZE - 0.5)
    axes.imshow(binned, origin="lower", cmap="gray", vmin=-4, vmax=5, extent=(*edges, *edges))
    for line in range(SUBFRAME, wfc3ir.SIZE, SUBFRAME):
        axes.axhline(line - 0.5, color="white", lw=0.4, alpha=0.5)
        axes.axvline(line - 0.5, color="white", lw=0.4, alpha=0.5)
    for tile, probability in zip(tiles(), result.probabilities, strict=True):
        holds = probability >= result.threshold
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
        [b.x for b in result.blobs],
        [b.y for b in result.blobs],
        s=260,
        facecolors="none",
        edgecolors=FOUND,
        linewidths=1.8,
    )
    draw_masked(axes, result.masked, size=1.0)
    if result.residuals:
        x, y = [b.x for b in result.residuals], [b.y for b in result.residuals]
        axes.scatter(x, y, s=60, marker="x", color=MASKED, label="residual of an old blob")
    if result.masked.any() or result.residuals:
        axes.legend(loc="lower right", fontsize=8, markerscale=4, handletextpad=0.2, framealpha=0.7)
    count = len(result.blobs)
    summary = "no new blob" if count == 0 else f"{count} new blob{'s' if count > 1 else ''}"
    version = f"version {result.model['version']}" if result.model["version"] else "unregistered model"
    axes.set_title(f"{result.rootname}: {summary}  (blobwatch, {version})")
    axes.set(xlabel="x [pixel]", ylabel="y [pixel]", xlim=edges, ylim=edges)


def draw_masked(axes, masked: np.ndarray, size: float) -> None:
    """Mark the masked pixels by squares of ``size`` points squared."""
    y, x = np.nonzero(masked)
    label = f"{len(x)} bad pixels masked"
    axes.scatter(x, y, s=size, marker="s", color=MASKED, linewidths=0, alpha=0.8, label=label)


def draw_close_up(axes, scaled: np.ndarray, result: "Prediction", blob: "FoundBlob") -> None:
    """Draw 64 pixels around a blob, its radius, and the masked pixels."""
    from matplotlib.patches import Circle

    axes.imshow(scaled, origin="lower", cmap="gray", vmin=-4, vmax=5)
    axes.set(xlim=(blob.x - 32, blob.x + 32), ylim=(blob.y - 32, blob.y + 32))
    draw_masked(axes, result.masked, size=6.0)
    axes.add_patch(Circle((blob.x, blob.y), blob.radius, fill=False, edgecolor=FOUND, linewidth=1.5))
    axes.set_title(
        f"({blob.x:.1f}, {blob.y:.1f})  p {blob.probability:.3f}\nSNR {blob.snr:.1f}, "
        f"depth {100 * blob.depth:.2f} %, radius {blob.radius:.1f} px",
        fontsize=8,
    )
