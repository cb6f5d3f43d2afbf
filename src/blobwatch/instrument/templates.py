"""Shapes of real blobs, used in addition to the parametric ones.

The size of a blob depends on its position, so a template is injected only where its size is plausible.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash
from blobwatch.instrument.blobs import Blob, half_width_at
from blobwatch.instrument.fitsfile import open_fits, read_plane, write_hdus

FILE = "blobs.fits"
SIZE_TOLERANCE = 1.8  # pixels: twice the scatter of the law of half-widths
MAX_EDGE = 0.01  # largest allowed value at the edge of a template, fraction of the peak


@dataclass(frozen=True, eq=False)
class Template:
    """The shape of one real blob.

    Attributes
    ----------
    name : str
    profile : ndarray, shape (n, n), float64
        1 at its peak, 0 at its edge; centred on the middle pixel.
    half_width : float
        Half-width along x, pixels.
    """

    name: str
    profile: np.ndarray
    half_width: float

    def fits(self, x: float, y: float) -> bool:
        """Return whether the size is plausible at a position."""
        return abs(self.half_width - half_width_at(x, y)) <= SIZE_TOLERANCE


@dataclass(frozen=True)
class TemplateBlob(Blob):
    """A blob whose shape is that of a template; its half-width is the template's."""

    template: Template = field(kw_only=True)

    def unit_shape(self) -> tuple[np.ndarray, int, int]:
        """Return the template placed to a fraction of a pixel by linear interpolation."""
        profile = self.template.profile
        radius = profile.shape[0] // 2
        x0, y0 = int(np.floor(self.x)), int(np.floor(self.y))
        right, up = self.x - x0, self.y - y0
        wide = np.pad(profile, 1)
        stamp = (1 - right) * wide[:, 1:] + right * wide[:, :-1]
        return (1 - up) * stamp[1:] + up * stamp[:-1], x0 - radius, y0 - radius


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
    write_hdus(folder / FILE, hdus)


def read_templates(folder: Path) -> list[Template]:
    """Return the templates of a folder; empty without a template file.

    Raises
    ------
    BlobwatchError
        If the file is damaged or an extension is not a template.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    with open_fits(path) as hdus:
        return [parse_template(hdu, path) for hdu in hdus[1:]]


def parse_template(hdu, path: Path) -> Template:
    """Return the template of an extension; raise an error if it is invalid."""
    profile = read_plane(hdu, path).astype(np.float64)
    name, half_width = (hdu.header.get(key) for key in ("TEMPLATE", "HALFW"))
    where, again = f"{path}, extension {hdu.name},", "write it again with blobwatch import-blobs"
    square = profile.ndim == 2 and profile.shape[0] == profile.shape[1] and profile.shape[0] % 2 == 1
    sized = isinstance(half_width, float) and half_width > 0
    if not (name and sized and square and np.isfinite(profile).all()):
        raise BlobwatchError(f"{where} is not a template; {again}")
    edge = np.abs(np.concatenate([profile[0], profile[-1], profile[:, 0], profile[:, -1]])).max()
    if edge > MAX_EDGE:
        raise BlobwatchError(f"{where} does not fade to zero at its edge; {again}")
    return Template(str(name), profile, half_width)
