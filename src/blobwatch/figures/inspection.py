"""Figure of an inspected file: its image and the histogram of its pixels."""

from typing import TYPE_CHECKING

import numpy as np

from blobwatch.images.scaling import level_and_noise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from blobwatch.inspection import Inspection

BINS, REACH = 80, 6.0  # of the histogram; it covers +-REACH in units of the noise


def histogram(image: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and bin edges, in units of the noise relative to the level.

    The outermost bins include all values beyond them.

    Parameters
    ----------
    image : ndarray, any shape
        NaN is excluded.
    """
    level, noise = level_and_noise(image)
    scaled = (image[np.isfinite(image)] - level) / noise
    return np.histogram(np.clip(scaled, -REACH, REACH), bins, (-REACH, REACH))


def plot_inspection(found: "Inspection") -> "Figure":
    """Draw the image of an inspected file, and its histogram with that of pure noise."""
    from matplotlib.figure import Figure

    if found.image is None:
        raise ValueError(f"{found.path}: no image to draw. Pass an inspection with an image")
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    shown, below = figure.subplots(1, 2, width_ratios=[1.15, 1])
    level, noise = level_and_noise(found.image)
    picture = shown.imshow(
        found.image, origin="lower", cmap="gray", vmin=level - 4 * noise, vmax=level + 5 * noise
    )
    figure.colorbar(picture, ax=shown, label="fraction of the background", shrink=0.8)
    shown.set(xlabel="x [pixel]", ylabel="y [pixel]", title=f"{found.path.name} ({found.kind})")
    counts, edges = histogram(found.image)
    middles = (edges[1:] + edges[:-1]) / 2
    below.stairs(counts, edges, color="#0072B2", label="pixels")
    normal = np.exp(-(middles**2) / 2) * counts.sum() * (edges[1] - edges[0]) / np.sqrt(2 * np.pi)
    below.plot(middles, normal, color="#D55E00", ls="--", label="pure noise")
    below.set(yscale="log", ylim=(0.5, None), xlabel="sigma above the level", ylabel="pixels")
    below.legend()
    below.set_title(found.use.split(":")[0])
    return figure
