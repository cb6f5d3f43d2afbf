"""What a FITS file is, and whether and how blobwatch would use it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.history import History
from blobwatch.images.quality import Quality
from blobwatch.images.scaling import level_and_noise
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.differences import is_difference, read_difference
from blobwatch.instrument.exposures import Exposure, read_exposure
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.folder import Listed, listed_of
from blobwatch.settings import DifferenceSettings

FACTS = """
ROOTNAME TELESCOP INSTRUME DETECTOR OBSTYPE IMAGETYP TARGNAME PROPOSID FILTER APERTURE SUBARRAY
SAMP_SEQ NSAMP DATE-OBS TIME-OBS EXPSTART EXPTIME CSMID PRODUCT NSTACK
"""
STEPS = (0, 1, 5, 25, 50, 75, 95, 99, 100)  # per cent of the pixels


@dataclass(frozen=True)
class Inspection:
    """What was found out about one file.

    Attributes
    ----------
    path : Path
    kind : str
        ``raw``, ``ima``, ``flt``, ``difference``, or ``unusable``.
    extensions : list of dict
        ``number``, ``name``, ``version``, ``shape``, ``stored`` (how).
    header : dict
        Facts of the primary header, and the unit of the image.
    statistics : dict
        Of the image as it is read: ``unit``, ``level``, ``noise``, ``finite`` (share), ``percentiles``.
    flags : dict of int to int
        How many light-sensitive pixels carry each data-quality bit.
    quality : Quality or None
        Of an exposure.
    use : str
        In a sentence, whether and how blobwatch would use it.
    image : ndarray, shape (1024, 1024), or None
        As it would be used: the blob image of an exposure, the difference.
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

    @property
    def usable(self) -> bool:
        """Tell whether blobwatch would use it."""
        return self.image is not None and not self.use.startswith("not used")

    def as_json(self) -> dict:
        """Return all but the image as plain data."""
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
            "quality": {name: None if np.isnan(value) else value for name, value in measures.items()},
        }


def inspect(path: Path | str, settings: DifferenceSettings | None = None) -> Inspection:
    """Look at a FITS file.

    Parameters
    ----------
    path : Path or str
    settings : DifferenceSettings, optional

    Raises
    ------
    BlobwatchError
        If it cannot be read at all; what can be read and not be used is an answer.
    """
    path = Path(path)
    with open_fits(path) as hdus:
        extensions = [about(number, hdu) for number, hdu in enumerate(hdus)]
        header = {key: plain(hdus[0].header[key]) for key in FACTS.split() if key in hdus[0].header}
        unit = next((hdu.header["BUNIT"] for hdu in hdus if "BUNIT" in hdu.header), "")
        reads = sum(hdu.name == "SCI" for hdu in hdus)
        facts = (path, extensions, header | ({"BUNIT": unit} if unit else {}))
        try:
            if is_difference(hdus, path):
                return of_difference(facts, read_difference(path, hdus, only_image=True).image)
            exposure, listed = read_exposure(path, hdus), listed_of(path, hdus)
            return of_exposure(facts, exposure, listed, reads, settings or DifferenceSettings())
        except BlobwatchError as reason:
            return Inspection(path, "unusable", extensions, facts[2], f"not used: {reason}")


def about(number: int, hdu) -> dict:
    """Return what an extension is."""
    constant = hdu.is_image and not hdu.shape and "PIXVALUE" in hdu.header
    stored = f"constant {hdu.header['PIXVALUE']}" if constant else type(hdu).__name__.removesuffix("HDU")
    shape = list(hdu.shape) if hdu.is_image else []
    return {"number": number, "name": hdu.name, "version": hdu.ver, "shape": shape, "stored": stored}


def plain(value: object) -> object:
    """Return a header's value as JSON has it."""
    return value.strip() if isinstance(value, str) else value


def of_difference(facts: tuple, image: np.ndarray) -> Inspection:
    """Return what a difference image is."""
    path, extensions, header = facts
    use = "used as it is, new blobs positive: blobwatch predict FILE"
    try:
        statistics = statistics_of(image, header.get("BUNIT", ""))
    except BlobwatchError as reason:
        return Inspection(path, "difference", extensions, header, f"not used: {reason}", image=image)
    return Inspection(path, "difference", extensions, header, use, statistics, image=image)


def of_exposure(
    facts: tuple, exposure: Exposure, listed: Listed, reads: int, settings: DifferenceSettings
) -> Inspection:
    """Return what an exposure is; its quality is judged without earlier exposures."""
    path, extensions, header = facts
    kind = "flt" if reads == 1 else "ima" if exposure.gain == 1.0 else "raw"
    history = History([listed], settings)
    history.use(listed, exposure)
    rejection = history.rejection(listed)
    how = {
        "flt": "its rate per pixel",
        "ima": "its newest read, which is the rate of the whole exposure",
        "raw": "its newest read minus its zeroth, each without the mean of its reference pixels",
    }[kind]
    use = (
        f"not used: rejected ({rejection})"
        if rejection
        else (
            f"used as an exposure: {how}; flagged pixels out, glow divided out. "
            "Give its stack or earlier exposures: blobwatch predict FILE --history DIR"
        )
    )
    unit = f"{'electrons' if exposure.gain == 1.0 else 'DN'}/s"
    statistics = statistics_of(exposure.image, unit)
    seen = (flags_of(exposure.dq), history.quality(listed), history.image(listed))
    return Inspection(path, kind, extensions, header, use, statistics, *seen)


def statistics_of(image: np.ndarray, unit: str) -> dict:
    """Return level, noise and percentiles of an image, without the reference border."""
    found = np.percentile(image[np.isfinite(image)], STEPS)
    level, noise = level_and_noise(image)
    inner = slice(wfc3ir.BORDER, -wfc3ir.BORDER)
    return {
        "unit": unit,
        "level": level,
        "noise": noise,
        "finite": float(np.isfinite(image[inner, inner]).mean()),
        "percentiles": {str(step): float(value) for step, value in zip(STEPS, found, strict=True)},
    }


def flags_of(dq: np.ndarray) -> dict[int, int]:
    """Return how many light-sensitive pixels carry each data-quality bit that occurs."""
    inner = dq[wfc3ir.BORDER : -wfc3ir.BORDER, wfc3ir.BORDER : -wfc3ir.BORDER]
    counts = {1 << bit: int(((inner >> bit) & 1).sum()) for bit in range(15)}
    return {bit: count for bit, count in counts.items() if count}
