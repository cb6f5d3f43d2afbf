"""From an exposure to a blob image: flagged pixels out, large-scale glow divided out."""

import numpy as np

from blobwatch.instrument import wfc3ir


def blob_image(image: np.ndarray, dq: np.ndarray, box: int = 64) -> np.ndarray:
    """Return the exposure in fractions of its own large-scale glow.

    Parameters
    ----------
    image : ndarray, shape (1024, 1024), float, any unit
    dq : ndarray, shape (1024, 1024), int
        Data-quality bits; blobs (512) are kept, unusable pixels become NaN.
    box : int
        Side of the boxes whose medians make the glow, pixels; several times a blob, so that a blob
        stays, with the shallow collar of opposite sign that any such filter leaves.

    Returns
    -------
    ndarray, shape (1024, 1024), float32, about 1
    """
    usable = np.where((dq & wfc3ir.DQ_UNUSABLE) == 0, image, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The median of a box misses its centre where the glow is curved; a second pass finds what is left.
        for _ in range(2):
            glow = large_scale_background(usable, box)
            usable = np.where(glow > 0, usable / glow, np.nan)
    return usable.astype(np.float32)


def large_scale_background(image: np.ndarray, box: int, beyond: bool = True) -> np.ndarray:
    """Return the smooth part of an image: medians of boxes, joined by cubics.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float64
        NaN is left out; both sides must be multiples of ``box``.
    box : int
    beyond : bool
        Let the cubics go on beyond the outermost box centres, rather than keep the value there.

    Returns
    -------
    ndarray, shape (ny, nx), float64
    """
    rows, columns = image.shape[0] // box, image.shape[1] // box
    boxes = image.reshape(rows, box, columns, box).swapaxes(1, 2).reshape(rows * columns, box * box)
    mesh = medians_of_long_rows(boxes).reshape(rows, columns)
    mesh = np.where(np.isfinite(mesh), mesh, median_without_nan(mesh.ravel()))
    down, across = (cubic_interpolation(size, box, beyond) for size in image.shape)
    return down @ mesh @ across.T


def cubic_interpolation(size: int, box: int, beyond: bool = True) -> np.ndarray:
    """Return the matrix, shape (size, size / box), that joins box centres by cubics.

    Each pixel takes the cubic through the four nearest centres (fewer where there are fewer), so the
    curved light of the limb is followed, also beyond the outermost centres.
    """
    count = size // box
    nodes = min(4, count)
    position = (np.arange(size) + 0.5) / box - 0.5  # 0 at the first box's centre
    if not beyond:
        position = np.clip(position, 0, count - 1)
    first = np.clip(np.floor(position).astype(int) - (nodes - 1) // 2, 0, count - nodes)
    matrix = np.zeros((size, count))
    for node in range(nodes):
        weight = np.ones(size)
        for other in range(nodes):
            if other != node:
                weight *= (position - first - other) / (node - other)
        matrix[np.arange(size), first + node] = weight
    return matrix


def median_without_nan(values: np.ndarray) -> np.ndarray:
    """Return the median along the last axis without the NaN, NaN where nothing is left.

    As ``numpy.nanmedian``, and some twenty times as fast on many short rows.
    """
    ordered = np.sort(values, axis=-1)  # NaN goes last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[-1] - 1), axis=-1)
    middle = (low.astype(np.float64) + high) / 2
    return np.where(count > 0, middle, np.nan)[..., 0]


def medians_of_long_rows(values: np.ndarray) -> np.ndarray:
    """Return `median_without_nan` of a few long rows, the same numbers in half the time.

    What is unknown is put below and above all else in turn, so that the middle of each row stays nearly in
    the same place, and the rows need not be sorted but for it.

    Parameters
    ----------
    values : ndarray, shape (rows, n)
    """
    total = values.shape[-1]
    values = values.copy()
    unknown = np.flatnonzero(~np.isfinite(values))
    values.flat[unknown[::2]], values.flat[unknown[1::2]] = np.inf, -np.inf
    starts = np.searchsorted(unknown, np.arange(len(values) + 1) * total)
    count, below = total - np.diff(starts), np.diff(starts // 2)
    low, high = (np.clip(below + place, 0, total - 1) for place in ((count - 1) // 2, count // 2))
    values.partition(np.unique([low, high]), axis=-1)
    rows = np.arange(len(values))
    middle = np.where(count > 0, values[rows, low], np.nan).astype(np.float64)
    return (middle + np.where(count > 0, values[rows, high], np.nan)) / 2
