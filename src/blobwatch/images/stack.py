"""The median stack of blob images, and the difference image."""

import numpy as np

from blobwatch.images.flatten import large_scale_background, median_without_nan


def median_stack(images: list[np.ndarray]) -> np.ndarray:
    """Return the pixel-wise median of blob images; NaN is ignored.

    Parameters
    ----------
    images : list of ndarray, shape (ny, nx), float32, fraction of the background

    Returns
    -------
    ndarray, shape (ny, nx), float32
    """
    stack = np.empty(images[0].shape, dtype=np.float32)
    rows = 64  # bounds the memory
    for start in range(0, len(stack), rows):
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
        Side of the boxes whose scatters are joined by cubics, pixels.

    Returns
    -------
    ndarray, shape (ny, nx), float32, fraction of the background
        Finite also where the difference is NaN.
    """
    scatter = 1.4826 * large_scale_background(
        np.abs(difference - large_scale_background(difference, box)), box, extrapolate=False
    )
    return np.maximum(scatter, 0.0).astype(np.float32)
