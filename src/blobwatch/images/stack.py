"""The median stack of the trailing days, and the difference image."""

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.images.blobimage import large_scale, median_without_nan


def trailing(
    times: list[float], moment: float, days: float, minimum: int, name: str = "exposure"
) -> list[int]:
    """Return which exposures belong into the stack of one taken at ``moment``.

    Parameters
    ----------
    times : list of float, MJD
    moment : float, MJD
        Start of the exposure that is to be compared; it does not enter its own stack.
    days : float
        Length of the trailing window.
    minimum : int
        Fewer exposures than this make no stack.
    name : str
        For the message.

    Returns
    -------
    list of int
        Indices into ``times``, in the order of time.

    Raises
    ------
    BlobwatchError
        If there are too few.
    """
    inside = sorted((t, i) for i, t in enumerate(times) if moment - days <= t < moment)
    if len(inside) < minimum:
        raise BlobwatchError(
            f"{name}: {len(inside)} exposures in the {days:g} days before it, a stack needs {minimum}; "
            "add earlier exposures"
        )
    return [i for _, i in inside]


def median_stack(images: list[np.ndarray]) -> np.ndarray:
    """Return the pixel-wise median of blob images, NaN left out.

    Parameters
    ----------
    images : list of ndarray, shape (ny, nx), float32, fraction of the background

    Returns
    -------
    ndarray, shape (ny, nx), float32
    """
    stack = np.empty(images[0].shape, dtype=np.float32)
    rows = 64  # bounds the memory
    for start in range(0, stack.shape[0], rows):
        block = np.stack([image[start : start + rows] for image in images], axis=-1)
        stack[start : start + rows] = median_without_nan(block)
    return stack


def difference_image(stack: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return stack minus blob image: a new blob is positive, old blobs cancel.

    Parameters
    ----------
    stack, image : ndarray, shape (ny, nx), float32, fraction of the background
    """
    return stack - image


def noise_map(difference: np.ndarray, box: int = 64) -> np.ndarray:
    """Return the noise per pixel of a difference image, from its robust scatter in boxes.

    Parameters
    ----------
    difference : ndarray, shape (ny, nx), fraction of the background
    box : int
        Pixels on a side; the scatter of boxes is joined by cubics.

    Returns
    -------
    ndarray, shape (ny, nx), float32, fraction of the background
        Defined everywhere, also where the difference is NaN.
    """
    scatter = 1.4826 * large_scale(np.abs(difference - large_scale(difference, box)), box, beyond=False)
    return np.maximum(scatter, 0.0).astype(np.float32)
