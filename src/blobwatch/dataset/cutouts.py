"""Cutouts of real blobs, made into shapes that can be injected.

A cutout ends in a hard-edged square and holds noise. A shape must have neither, or a network learns the
square: so the level of its border is taken off, it is smoothed, and it fades in a circle to nothing.
"""

from dataclasses import replace

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.instrument.blobs import Blob, overlap, shape
from blobwatch.instrument.templates import Template

# Pixels. Blobs are 10-20 across: a smaller cutout holds no border to take its level from, a larger one more
# than a blob. Odd or even makes no difference, since a shape is centred on the blob, not on the cutout.
SIDES = (7, 41)
SMOOTHING = (
    0.07,
    0.11,
)  # of the side: sigma of the Gaussian, the second where the first leaves too much noise
LEVELS = 3.0  # times the noise that smoothing leaves: the least peak of a blob
LIKENESS = 0.85  # the least correlation with the nearest superellipse; below, most of a shape is noise


def create_templates(cutouts: dict[str, np.ndarray]) -> tuple[list[Template], list[str]]:
    """Make cutouts into templates.

    Parameters
    ----------
    cutouts : dict of str to ndarray, shape (n, n), sigma per pixel
        A new blob is positive.

    Returns
    -------
    templates : list of Template
    left_out : list of str
        Those that hold no blob that stands out of the noise, or one at their edge.

    Raises
    ------
    BlobwatchError
        If one is not square, not finite, or of a side that no cutout of a blob has; or if none is left.
    """
    for name, cutout in cutouts.items():
        check_cutout(name, cutout)
    made = {name: create_template(name, cutout) for name, cutout in cutouts.items()}
    templates = [one for one in made.values() if one is not None]
    if not templates:
        raise BlobwatchError("no cutout holds a blob that stands out of the noise; new blobs are positive")
    return templates, [name for name, one in made.items() if one is None]


def check_cutout(name: str, cutout: np.ndarray) -> None:
    """Raise if an array cannot be a cutout of a blob."""
    if cutout.ndim != 2 or cutout.shape[0] != cutout.shape[1]:
        sides = " x ".join(map(str, cutout.shape)) or "a single number"
        raise BlobwatchError(f"cutout {name} is {sides}; give squares")
    if not SIDES[0] <= cutout.shape[0] <= SIDES[1]:
        raise BlobwatchError(
            f"cutout {name} is {cutout.shape[0]} pixels wide; give {SIDES[0]} to {SIDES[1]}, a blob is 10-20"
        )
    if not np.isfinite(cutout).all():
        raise BlobwatchError(f"cutout {name} has values that are not finite; leave it out")


def create_template(name: str, cutout: np.ndarray) -> Template | None:
    """Make a cutout into a shape; None if it holds no blob that stands out, or one at its edge."""
    for width in SMOOTHING:
        template = smooth_to_template(
            name, cutout - estimate_border_level(cutout), width * max(10, cutout.shape[0])
        )
        if template is not None:
            return template
    return None


def smooth_to_template(name: str, cutout: np.ndarray, width: float) -> Template | None:
    """Make a cutout into a shape with a Gaussian of ``width`` pixels; None if that leaves it too noisy."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(cutout, width, mode="nearest")
    if smooth.max() < LEVELS / (2 * np.sqrt(np.pi) * width):
        return None
    x, y = find_centre(gaussian_filter(cutout, 2 * width, mode="nearest"))
    last = cutout.shape[0] - 1
    reach = min(x, y, last - x, last - y)
    if reach < SIDES[0] // 2:
        return None
    image = fade_to_zero(smooth, x, y, reach)
    known = fit_superellipse(image)
    if np.corrcoef(image.ravel(), render_blob(known, image.shape).ravel())[0, 1] < LIKENESS:
        return None
    return Template(name, image, known.half_width)


def estimate_border_level(cutout: np.ndarray) -> float:
    """Return the level of a cutout's border, without the middle of each side: the tips of a blob reach it."""
    v, u = np.abs(np.indices(cutout.shape) - (cutout.shape[0] - 1) / 2)
    border = np.maximum(u, v) == u.max()
    return float(np.median(cutout[border & (np.minimum(u, v) > 0.4 * u.max())]))


def find_centre(image: np.ndarray) -> tuple[float, float]:
    """Return the centroid ``x, y`` of the largest part that is above half of the peak."""
    from scipy.ndimage import center_of_mass, label, sum_labels

    parts, count = label(image > 0.5 * image.max())
    largest = 1 + int(np.argmax(sum_labels(image, parts, range(1, count + 1))))
    y, x = center_of_mass(image, parts, largest)
    return float(x), float(y)


def fade_to_zero(image: np.ndarray, x: float, y: float, reach: float) -> np.ndarray:
    """Return an image centred on a place, fading in a circle to nothing, of unit peak.

    It fades from 0.8 to 1.4 ``reach``, where ``reach`` pixels from the place the cutout ends: blobs nearly
    fill their cutouts, and what is beyond is the border, continued.
    """
    from scipy.ndimage import map_coordinates

    radius = int(np.ceil(1.4 * reach))
    v, u = np.indices((2 * radius + 1, 2 * radius + 1)) - float(radius)
    out = np.clip((np.hypot(u, v) / reach - 0.8) / 0.6, 0.0, 1.0)  # 0 inside, 1 outside
    centred = map_coordinates(image, (y + v, x + u), order=3, mode="nearest")
    centred *= 0.5 * (1.0 + np.cos(np.pi * out))
    return centred / centred.max()


def fit_superellipse(image: np.ndarray) -> Blob:
    """Return the superellipse nearest to a centred shape; its half-width is the shape's."""
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
    """Return an image of a blob on nothing."""
    image = np.zeros(image_shape)
    stamp, x0, y0 = shape(replace(blob, depth=1.0))
    region, part = overlap(stamp, x0, y0, image_shape)
    image[region] = blob.depth * part
    return image
