"""Conversion of cutouts of real blobs to templates that can be injected.

A cutout has noise and a hard-edged square border, which a network would learn. Therefore the border level is
subtracted, and the image is smoothed and faded to zero in a circle.
"""

from dataclasses import replace

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.instrument.blobs import Blob, overlap
from blobwatch.instrument.templates import Template

# Pixels. Blobs are 10-20 pixels wide: smaller cutouts have no border, larger ones contain more than a blob.
SIDES = (7, 41)
# Sigma of the Gaussian, fraction of the side. The second is used if the first leaves too much noise.
SMOOTHING = (0.07, 0.11)
MIN_PEAK = 3.0  # of a blob, in units of the noise after smoothing
MIN_CORRELATION = 0.85  # with the best-fitting superellipse; below, most of the shape is noise


def create_templates(cutouts: dict[str, np.ndarray]) -> tuple[list[Template], list[str]]:
    """Convert cutouts to templates.

    Parameters
    ----------
    cutouts : dict of str to ndarray, shape (n, n), sigma per pixel
        A new blob is positive.

    Returns
    -------
    templates : list of Template
    skipped : list of str
        Names of cutouts without a blob above the noise, or with a blob at the edge.

    Raises
    ------
    BlobwatchError
        If a cutout is not square, not finite or of an unusual size, or if no template is left.
    """
    for name, cutout in cutouts.items():
        check_cutout(name, cutout)
    created = {name: create_template(name, cutout) for name, cutout in cutouts.items()}
    templates = [template for template in created.values() if template is not None]
    if not templates:
        raise BlobwatchError("no cutout contains a blob above the noise. New blobs must be positive")
    return templates, [name for name, template in created.items() if template is None]


def check_cutout(name: str, cutout: np.ndarray) -> None:
    """Raise an error if an array cannot be a cutout of a blob."""
    shape, (low, high) = cutout.shape, SIDES
    if len(shape) != 2 or shape[0] != shape[1] or not low <= shape[0] <= high:
        raise BlobwatchError(f"cutout {name}: shape {shape}. Use squares of {low} to {high} pixels")
    if not np.isfinite(cutout).all():
        raise BlobwatchError(f"cutout {name}: values that are not finite. Remove it")


def create_template(name: str, cutout: np.ndarray) -> Template | None:
    """Convert a cutout to a template; return None if it has no usable blob."""
    cutout = cutout - estimate_border_level(cutout)
    attempts = (smooth_to_template(name, cutout, width * max(10, cutout.shape[0])) for width in SMOOTHING)
    return next(filter(None, attempts), None)


def smooth_to_template(name: str, cutout: np.ndarray, width: float) -> Template | None:
    """Smooth a cutout by ``width`` pixels; return None if it has no usable blob."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(cutout, width, mode="nearest")
    if smooth.max() < MIN_PEAK / (2 * np.sqrt(np.pi) * width):
        return None
    x, y = find_centre(gaussian_filter(cutout, 2 * width, mode="nearest"))
    last = cutout.shape[0] - 1
    reach = min(x, y, last - x, last - y)
    if reach < SIDES[0] // 2:
        return None
    image = fade_to_zero(smooth, x, y, reach)
    fitted = fit_superellipse(image)
    if np.corrcoef(image.ravel(), render_blob(fitted, image.shape).ravel())[0, 1] < MIN_CORRELATION:
        return None
    return Template(name, image, fitted.half_width)


def estimate_border_level(cutout: np.ndarray) -> float:
    """Return the median of the border, without the blob at the middle of each side."""
    v, u = np.abs(np.indices(cutout.shape) - (cutout.shape[0] - 1) / 2)
    border = np.maximum(u, v) == u.max()
    return float(np.median(cutout[border & (np.minimum(u, v) > 0.4 * u.max())]))


def find_centre(image: np.ndarray) -> tuple[float, float]:
    """Return the centroid ``x, y`` of the largest region above half of the peak."""
    from scipy.ndimage import center_of_mass, label, sum_labels

    parts, count = label(image > 0.5 * image.max())
    largest = 1 + int(np.argmax(sum_labels(image, parts, range(1, count + 1))))
    y, x = center_of_mass(image, parts, largest)
    return float(x), float(y)


def fade_to_zero(image: np.ndarray, x: float, y: float, reach: float) -> np.ndarray:
    """Return an image of unit peak, centred on a position and faded to zero in a circle.

    The cutout ends ``reach`` pixels from the position. The image fades from 0.8 to 1.4 ``reach``; beyond the
    cutout, the border is repeated.
    """
    from scipy.ndimage import map_coordinates

    radius = int(np.ceil(1.4 * reach))
    v, u = np.indices((2 * radius + 1, 2 * radius + 1)) - float(radius)
    out = np.clip((np.hypot(u, v) / reach - 0.8) / 0.6, 0.0, 1.0)  # 0 inside, 1 outside
    centred = map_coordinates(image, (y + v, x + u), order=3, mode="nearest")
    centred *= 0.5 * (1.0 + np.cos(np.pi * out))
    return centred / centred.max()


def fit_superellipse(image: np.ndarray) -> Blob:
    """Fit a superellipse to a centred shape."""
    from scipy.optimize import least_squares

    middle = image.shape[0] // 2

    def blob(values: np.ndarray) -> Blob:
        half_width, depth, ratio, edge = np.exp(values)
        return Blob(middle, middle, half_width, depth, ratio, edge=edge)

    start = np.log([0.5 * middle, 0.8, 1.0, 5.0])
    bounds = np.log([(1.5, 0.3, 0.5, 1.6), (2.0 * middle, 1.5, 2.0, 20.0)])
    fit = least_squares(
        lambda values: (render_blob(blob(values), image.shape) - image).ravel(), start, bounds=bounds
    )
    return blob(fit.x)


def render_blob(blob: Blob, image_shape: tuple[int, int]) -> np.ndarray:
    """Return an image of a blob on a zero background."""
    image = np.zeros(image_shape)
    region, part = overlap(*replace(blob, depth=1.0).unit_shape(), image_shape)
    image[region] = blob.depth * part
    return image
