"""Blob images: exposures without flagged pixels, divided by the large-scale glow."""

import numpy as np

from blobwatch.instrument import wfc3ir


def blob_image(image: np.ndarray, dq: np.ndarray, box: int = 64) -> np.ndarray:
    """Divide an exposure by its large-scale glow.

    Parameters
    ----------
    image : ndarray, shape (1024, 1024), float, any unit
    dq : ndarray, shape (1024, 1024), int
        Data-quality bits. Unusable pixels become NaN; known blobs (512) do not.
    box : int
        Side of the boxes whose medians define the glow, pixels. It is several times a blob, so that blobs
        remain, with a shallow ring of opposite sign.

    Returns
    -------
    ndarray, shape (1024, 1024), float32, about 1
    """
    usable = np.where((dq & wfc3ir.DQ_UNUSABLE) == 0, image, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The median differs from the value at the centre where the glow is curved: a second pass corrects it.
        for _ in range(2):
            glow = large_scale_background(usable, box)
            usable = np.where(glow > 0, usable / glow, np.nan)
    return usable.astype(np.float32)


def large_scale_background(image: np.ndarray, box: int, extrapolate: bool = True) -> np.ndarray:
    """Return the smooth part of an image: medians of boxes, joined by cubics.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float64
        NaN is excluded; both sides are multiples of ``box``.
    box : int
    extrapolate : bool
        Continue the cubics beyond the outermost box centres; otherwise the value there is constant.

    Returns
    -------
    ndarray, shape (ny, nx), float64
    """
    boxes = cut_boxes(image, box)
    mesh = medians_of_long_rows(boxes.reshape(-1, box * box)).reshape(boxes.shape[:2])
    mesh = np.where(np.isfinite(mesh), mesh, median_without_nan(mesh.ravel()))
    down, across = (cubic_interpolation(size, box, extrapolate) for size in image.shape)
    return down @ mesh @ across.T


def cut_boxes(image: np.ndarray, box: int) -> np.ndarray:
    """Return the whole boxes of an image, shape (rows, columns, box * box)."""
    rows, columns = (side // box for side in image.shape)
    boxes = image[: rows * box, : columns * box].reshape(rows, box, columns, box)
    return boxes.swapaxes(1, 2).reshape(rows, columns, box * box)


def cubic_interpolation(size: int, box: int, extrapolate: bool = True) -> np.ndarray:
    """Return the matrix, shape (size, size / box), that joins box centres by cubics.

    The cubic of a pixel passes through the four nearest centres, or through all if there are fewer.
    """
    count = size // box
    nodes = min(4, count)
    position = (np.arange(size) + 0.5) / box - 0.5  # 0 at the first box's centre
    if not extrapolate:
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
    """Return the median along the last axis; NaN is ignored.

    Equal to ``numpy.nanmedian``, but about twenty times as fast for many short rows.
    """
    ordered = np.sort(values, axis=-1)  # NaN goes last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[-1] - 1), axis=-1)
    middle = (low.astype(np.float64) + high) / 2
    return np.where(count > 0, middle, np.nan)[..., 0]


def medians_of_long_rows(values: np.ndarray) -> np.ndarray:
    """Return `median_without_nan` of a few long rows in half the time.

    Unknown values are replaced by infinities of alternating sign. So the median stays near the middle of a
    row, and a partition suffices instead of a sort.

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
