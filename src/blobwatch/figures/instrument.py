"""Figures of the simulated instrument: comparison with the real one, and steps of a difference."""

import numpy as np

Window = tuple[int, int, int, int]  # x0, x1, y0, y1, pixels of the 1024 frame


def draw_window(
    axes, image: np.ndarray, window: Window, low: float, high: float, colours: str = "gray"
) -> None:
    """Draw a window of a frame in pixel coordinates of the frame."""
    x0, x1, y0, y1 = window
    axes.imshow(
        image[y0:y1, x0:x1],
        origin="lower",
        cmap=colours,
        vmin=low,
        vmax=high,
        extent=(x0 - 0.5, x1 - 0.5, y0 - 0.5, y1 - 0.5),
        interpolation="nearest",
    )
    axes.tick_params(labelsize=7)


def plot_simulated_and_real(pairs: list[tuple[str, np.ndarray, np.ndarray, Window, float, float, str]]):
    """Draw simulated features in the upper row and real ones in the lower row.

    Parameters
    ----------
    pairs : list of (title, simulated, real, window, low, high, colours)
        Frames of shape (1024, 1024), drawn with the same limits.

    Returns
    -------
    matplotlib Figure
    """
    from matplotlib.figure import Figure

    shapes = [(x1 - x0) / (y1 - y0) for _, _, _, (x0, x1, y0, y1), *_ in pairs]
    figure = Figure(figsize=(3.4 * sum(shapes) + 0.5 * len(pairs), 7.6), layout="constrained")
    axes = figure.subplots(2, len(pairs), squeeze=False, width_ratios=shapes)
    for column, (title, simulated, real, window, low, high, colours) in enumerate(pairs):
        for row, (image, whose) in enumerate(((simulated, "simulated"), (real, "real"))):
            draw_window(axes[row, column], image, window, low, high, colours)
            axes[row, column].set_title(f"{title}\n{whose}", fontsize=9)
    return figure


def plot_difference_steps(
    image: np.ndarray, stack: np.ndarray, difference: np.ndarray, places: list[tuple[float, float, float]]
):
    """Draw an exposure, its stack and their difference, with the new blobs circled.

    Parameters
    ----------
    image, stack, difference : ndarray, shape (1024, 1024), fraction of the background
        The blob image of the exposure, the median stack, stack minus blob image.
    places : list of (x, y, radius)
        The new blobs, pixels.

    Returns
    -------
    matplotlib Figure
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    figure = Figure(figsize=(12.0, 4.3), layout="constrained")
    whole = (0, image.shape[1], 0, image.shape[0])
    drawn = (
        ("exposure, glow divided out", image, 1.0),
        ("median stack of the days before", stack, 1.0),
        ("difference = stack - exposure", difference, 0.0),
    )
    for axes, (title, frame, level) in zip(figure.subplots(1, 3), drawn, strict=True):
        draw_window(axes, bin_image(frame, 4), (0, 256, 0, 256), level - 0.02, level + 0.02)
        axes.images[0].set_extent((-0.5, whole[1] - 0.5, -0.5, whole[3] - 0.5))
        axes.set(xlim=(-0.5, whole[1] - 0.5), ylim=(-0.5, whole[3] - 0.5))
        axes.set_title(title, fontsize=10)
        for x, y, radius in places:
            axes.add_patch(Circle((x, y), 3.0 * radius, fill=False, color="tab:orange", linewidth=1.2))
    return figure


def bin_image(image: np.ndarray, side: int) -> np.ndarray:
    """Return the means of ``side`` x ``side`` pixels; NaN is ignored."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    cells = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    known = np.isfinite(cells).sum(axis=(1, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(cells, axis=(1, 3)) / np.where(known, known, np.nan)
