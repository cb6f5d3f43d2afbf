"""Inspection of a FITS file: its content, and how blobwatch would use it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError, collect_file_warnings
from blobwatch.history import History
from blobwatch.images.quality_measures import Quality
from blobwatch.images.scaling import level_and_noise
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.differences import read_difference
from blobwatch.instrument.exposure_files import ExposureFile, describe_file
from blobwatch.instrument.exposures import Exposure, read_exposure
from blobwatch.instrument.fitsfile import is_constant, open_fits
from blobwatch.instrument.keywords import merge_headers
from blobwatch.instrument.kinds import is_difference
from blobwatch.overrules import Overrule
from blobwatch.settings import DifferenceSettings

KEYWORDS = """
ROOTNAME TELESCOP INSTRUME DETECTOR OBSTYPE IMAGETYP TARGNAME PROPOSID FILTER APERTURE SUBARRAY
SAMP_SEQ NSAMP DATE-OBS TIME-OBS EXPSTART EXPTIME CSMID PRODUCT NSTACK
FLATCORR PFLTFILE DFLTFILE LFLTFILE CAL_VER
"""
RATES = {
    "flt": "its rate per pixel",
    "ima": "the rate fitted to its reads, without cosmic rays",
    "raw": "the rate fitted to its reads, without the bias of the reference pixels and cosmic rays",
}
PERCENTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)


@dataclass(frozen=True)
class Inspection:
    """Description of one file.

    Attributes
    ----------
    path : Path
    kind : str
        ``raw``, ``ima``, ``flt``, ``difference``, or ``unusable``.
    extensions : list of dict
        ``number``, ``name``, ``version``, ``shape``, ``stored`` (type of storage).
    header : dict
        Keywords of the primary header, and the unit of the image.
    statistics : dict
        Of the image before processing: ``unit``, ``level``, ``noise``, ``finite`` (share), ``percentiles``.
    flags : dict of int to int
        Number of light-sensitive pixels with each data-quality bit.
    quality : Quality or None
        Of an exposure.
    use : str
        A sentence on whether and how blobwatch would use the file.
    image : ndarray, shape (1024, 1024), or None
        The blob image of an exposure, or the difference image.
    warnings : list of str
        Defects of the file that do not prevent its use.
    """

    path: Path
    kind: str
    extensions: list[dict]
    header: dict
    use: str
    statistics: dict = field(default_factory=dict)
    flags: dict[int, int] = field(default_factory=dict)
    quality: Quality | None = None
    image: np.ndarray | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Return whether blobwatch would use the file."""
        return self.image is not None and not self.use.startswith("not used")

    def as_json(self) -> dict:
        """Return the description without the image as plain data."""
        measures = self.quality.as_dict() if self.quality else {}
        return {
            "file": str(self.path),
            "kind": self.kind,
            "usable": self.usable,
            "use": self.use,
            "extensions": self.extensions,
            "header": self.header,
            "statistics": self.statistics,
            "flags": {str(bit): count for bit, count in self.flags.items()},
            "warnings": self.warnings,
            "quality": {name: None if np.isnan(value) else value for name, value in measures.items()},
        }


def inspect(
    path: Path | str,
    settings: DifferenceSettings | None = None,
    overrules: Mapping[str, Overrule] | None = None,
) -> Inspection:
    """Describe a FITS file and its use.

    Parameters
    ----------
    path : Path or str
    settings : DifferenceSettings, optional
    overrules : mapping of str to Overrule, optional
        Decisions of people by rootname.

    Raises
    ------
    BlobwatchError
        If the file cannot be read. A readable but unusable file is described.
    """
    path = Path(path)
    with collect_file_warnings() as found, open_fits(path) as hdus:
        extensions = [describe_extension(number, hdu) for number, hdu in enumerate(hdus)]
        keywords = merge_headers(*hdus)
        header = {key: keywords[key] for key in (*KEYWORDS.split(), "BUNIT") if keywords.get(key, "") != ""}
        plain = Inspection(path, "unusable", extensions, header, "")
        try:
            if is_difference(hdus, path):
                inspected = inspect_difference(plain, read_difference(path, hdus, only_image=True).image)
            else:
                exposure, listed = read_exposure(path, hdus), describe_file(path, hdus)
                history = History([listed], settings, overrules)
                inspected = inspect_exposure(plain, exposure, listed, history)
        except BlobwatchError as reason:
            inspected = replace(plain, use=f"not used: {reason}")
    return replace(inspected, warnings=[text.removeprefix(f"{path}: ") for text in found])


def describe_extension(number: int, hdu) -> dict:
    """Describe an extension."""
    stored = type(hdu).__name__.removesuffix("HDU")
    if is_constant(hdu):
        stored = f"constant {hdu.header['PIXVALUE']}"
    shape = list(hdu.shape) if hdu.is_image else []
    return {"number": number, "name": hdu.name, "version": hdu.ver, "shape": shape, "stored": stored}


def inspect_difference(plain: Inspection, image: np.ndarray) -> Inspection:
    """Add the description of a difference image."""
    found = replace(plain, kind="difference", image=image)
    try:
        statistics = image_statistics(image, plain.header.get("BUNIT", ""))
    except BlobwatchError as reason:
        return replace(found, use=f"not used: {reason}")
    use = "used as it is, new blobs positive: blobwatch predict FILE"
    return replace(found, use=use, statistics=statistics)


def inspect_exposure(
    plain: Inspection, exposure: Exposure, listed: ExposureFile, history: History
) -> Inspection:
    """Add the description of an exposure; its quality is judged without earlier exposures."""
    history.set_exposure(listed, exposure)
    use = (
        f"used as an exposure: {RATES[exposure.product]}; flagged pixels out, glow divided out. "
        "Give its stack or earlier exposures: blobwatch predict FILE --history DIR"
    )
    if rejection := history.rejection(listed):
        use = f"not used: rejected ({rejection})"
    return replace(
        plain,
        kind=exposure.product,
        use=use,
        statistics=image_statistics(exposure.image, f"{'electrons' if exposure.gain == 1.0 else 'DN'}/s"),
        flags=count_flags(exposure.dq),
        quality=history.quality(listed),
        image=history.image(listed),
    )


def image_statistics(image: np.ndarray, unit: str) -> dict:
    """Return level, noise and percentiles of an image, without the reference border."""
    found = np.percentile(image[np.isfinite(image)], PERCENTILES)
    level, noise = level_and_noise(image)
    inner = slice(wfc3ir.BORDER, -wfc3ir.BORDER)
    return {
        "unit": unit,
        "level": level,
        "noise": noise,
        "finite": float(np.isfinite(image[inner, inner]).mean()),
        "percentiles": {str(step): float(value) for step, value in zip(PERCENTILES, found, strict=True)},
    }


def count_flags(dq: np.ndarray) -> dict[int, int]:
    """Return the number of light-sensitive pixels with each data-quality bit that occurs."""
    inner = dq[wfc3ir.BORDER : -wfc3ir.BORDER, wfc3ir.BORDER : -wfc3ir.BORDER]
    counts = {1 << bit: int(((inner >> bit) & 1).sum()) for bit in range(15)}
    return {bit: count for bit, count in counts.items() if count}
