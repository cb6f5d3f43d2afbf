"""Shapes of real blobs, made of cutouts, beside the parametric ones.

Notes
-----
A cutout has the noise of its frame and ends in a hard edge, which a network can learn instead of the blob. So
the level of its border is taken off, it is smoothed a little, and it fades to nothing towards its edge.
Since the size of a blob is set by its place, a template stands only where one of its size may.
"""

from dataclasses import dataclass, field
from math import gamma
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash
from blobwatch.instrument.blobs import Blob, half_width_at
from blobwatch.instrument.fitsfile import open_fits, plane, save

FILE = "blobs.fits"
SIDES = (7, 41)  # pixels; those of the real cutouts are 9 to 21
SMOOTHING = 1.0  # pixels, sigma: far below the size of a blob, and takes most of the noise of single pixels
FADING = 0.6  # of the way from the middle to the edge from which a template fades
SCATTER = 1.8  # pixels: twice the scatter of the law of half-widths
CLEAR = 4.0  # least mean of the middle over its error from the border's scatter; less shows no blob


@dataclass(frozen=True, eq=False)
class Template:
    """The shape of one real blob.

    Attributes
    ----------
    name : str
    profile : ndarray, shape (n, n), float64
        1 at its peak, 0 at its edge; centred on the middle pixel.
    half_width : float
        As that of a `Blob`, pixels.
    """

    name: str
    profile: np.ndarray
    half_width: float

    def fits(self, x: float, y: float) -> bool:
        """Tell whether a blob of this size may be at a place."""
        return abs(self.half_width - half_width_at(x, y)) <= SCATTER


@dataclass(frozen=True)
class TemplateBlob(Blob):
    """A blob whose shape is that of a template; its half-width is the template's."""

    template: Template | None = field(default=None, kw_only=True)

    def unit_shape(self) -> tuple[np.ndarray, int, int]:
        """Return the template placed to a fraction of a pixel by linear interpolation."""
        profile = self.template.profile
        radius = profile.shape[0] // 2
        x0, y0 = int(np.floor(self.x)), int(np.floor(self.y))
        right, up = self.x - x0, self.y - y0
        wide = np.pad(profile, 1)
        stamp = (1 - right) * wide[:, 1:] + right * wide[:, :-1]
        return (1 - up) * stamp[1:] + up * stamp[:-1], x0 - radius, y0 - radius


def make_template(name: str, cutout: np.ndarray) -> Template:
    """Make a shape of a cutout of a difference image.

    Parameters
    ----------
    name : str
    cutout : ndarray, shape (n, n), any unit, new blob positive

    Raises
    ------
    BlobwatchError
        If it is not square, has a side out of range, is not finite, or shows no blob.
    """
    from scipy.ndimage import gaussian_filter

    side = cutout.shape[0]
    if cutout.ndim != 2 or cutout.shape[1] != side or not SIDES[0] <= side <= SIDES[1]:
        shape = " x ".join(map(str, cutout.shape))
        raise BlobwatchError(f"cutout {name} is {shape}; give square ones of {SIDES[0]} to {SIDES[1]} pixels")
    if not np.isfinite(cutout).all():
        raise BlobwatchError(f"cutout {name} holds pixels that are not finite; leave it out")
    border = np.concatenate([cutout[0], cutout[-1], cutout[1:-1, 0], cutout[1:-1, -1]])
    level = np.median(border)
    light = gaussian_filter(cutout - level, SMOOTHING, mode="nearest")
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    core = (cutout - level)[np.hypot(x, y) <= side / 4]
    error = 1.4826 * float(np.median(np.abs(border - level))) / np.sqrt(core.size)
    if not core.mean() > max(CLEAR * error, 0.0):
        raise BlobwatchError(f"cutout {name} shows no blob: its middle is no brighter than its border")
    light *= np.clip((1 - np.hypot(x, y) / ((side + 1) / 2)) / (1 - FADING), 0.0, 1.0)
    peak = float(light.max())
    profile = centred(np.clip(light / peak, 0.0, None))
    return Template(name, profile, half_width_of(profile))


def centred(light: np.ndarray) -> np.ndarray:
    """Return the light on a frame of odd side whose middle pixel is the middle of its brighter half."""
    bright = np.where(light > 0.5, light, 0.0)
    rows, columns = (np.arange(count) for count in light.shape)
    y = float((bright.sum(axis=1) * rows).sum() / bright.sum())
    x = float((bright.sum(axis=0) * columns).sum() / bright.sum())
    half = max(light.shape) // 2 + 2
    frame = np.zeros((2 * half + 1, 2 * half + 1))
    bottom, left = half - int(np.floor(y + 0.5)), half - int(np.floor(x + 0.5))
    frame[bottom : bottom + light.shape[0], left : left + light.shape[1]] = light
    return frame


def half_width_of(profile: np.ndarray) -> float:
    """Return the half-width along x of the typical shape that has as many pixels above half its peak.

    That shape is a superellipse of exponent 1.25 and axis ratio 1.08, as measured.
    """
    exponent, ratio = 1.25, 1.08
    unit = 4 * ratio * gamma(1 + 1 / exponent) ** 2 / gamma(1 + 2 / exponent)
    return float(np.sqrt((profile > 0.5).sum() / unit))


def write_templates(folder: Path, templates: list[Template], source: Path) -> None:
    """Write templates as image extensions of one file, which ds9 opens."""
    hdus = [fits.PrimaryHDU()]
    hdus[0].header["SRCFILE"] = (source.name[:40], "made of this file")
    hdus[0].header["SRCSHA"] = file_hash(source)
    for one in templates:
        hdu = fits.ImageHDU(one.profile, name=f"BLOB_{one.name}")
        hdu.header["TEMPLATE"] = (one.name, "name of the cutout")
        hdu.header["HALFW"] = (one.half_width, "[pix] half-width along x")
        hdus.append(hdu)
    save(folder / FILE, hdus)


def read_templates(folder: Path) -> list[Template]:
    """Return the templates of a folder; none where it holds no file of them.

    Raises
    ------
    BlobwatchError
        If the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    with open_fits(path) as hdus:
        try:
            return [
                Template(
                    str(hdu.header["TEMPLATE"]),
                    plane(hdu, path).astype(np.float64),
                    float(hdu.header["HALFW"]),
                )
                for hdu in hdus[1:]
            ]
        except (KeyError, ValueError):
            raise BlobwatchError(f"{path} is damaged; write it again with blobwatch import-blobs") from None
