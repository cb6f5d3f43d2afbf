"""Analysis of one exposure: quality, stack, difference, prediction, statistics."""

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from blobwatch.detections import FoundBlob
from blobwatch.errors import BlobwatchError, UnusableFile
from blobwatch.history import strip_directory
from blobwatch.images.blob_fit import cut_stamp, fit_amplitude
from blobwatch.images.quality_measures import Quality
from blobwatch.images.stack import difference_image
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import Blob, half_width_at, radius_at
from blobwatch.instrument.exposure_files import ExposureFile
from blobwatch.instrument.exposures import read_exposure
from blobwatch.monitor.ledger.tables import JUDGED, NO_STACK, UNFIT
from blobwatch.monitor.statistics import measure_statistics
from blobwatch.predict import Prediction, Predictor

if TYPE_CHECKING:
    from blobwatch.monitor.analyzer import LedgerHistory

CUTOUT = 96  # pixels on a side of the pictures of a detection
GREY = 5.0  # sigma at either end of their grey scale
REJECTED = "rejected"  # prefix of the reason if the quality limits reject an exposure


@dataclass(frozen=True)
class BlobImage:
    """Blob image of an accepted exposure, for measuring missing light.

    Attributes
    ----------
    image : ndarray, shape (1024, 1024), float32, fraction of the glow
    noise : float
        Per pixel, fraction of the background.
    """

    image: np.ndarray
    noise: float

    def missing(self, x: float, y: float, radius: float) -> tuple[float, float | None]:
        """Return the missing light at a place, fraction of the background, and its error.

        The error is None if no pixel there is usable.
        """
        trial = Blob(x, y, max(1.5, half_width_at(x, y) * radius / radius_at(x, y)), 1.0)
        part, values = cut_stamp(self.image, trial, 1.0)
        depth, snr = fit_amplitude(part, -values, self.noise)  # missing light counts as positive
        return depth, abs(depth / snr) if snr else None


@dataclass(frozen=True)
class ExposureAnalysis:
    """Result of the analysis of one exposure.

    Attributes
    ----------
    listed : ExposureFile
    md5 : str
    flats : str
        Key of the flats of the image at the analysis.
    outcome, reason : str
        ``judged``, ``no stack`` or ``unfit``, and why.
    quality : Quality or None
        None for another kind of exposure.
    image : BlobImage or None
        None if the exposure is not accepted.
    members : tuple of str
        Rootnames of its stack in the order of time.
    prediction : Prediction or None
    statistics : dict of str to float, or None
    cutouts : tuple of dict
        PNG pictures of each blob found: ``before``, ``after``, ``difference``.
    inputs : str
        Hash of what the result depends on; empty if a file that it depends on is not readable.
    """

    listed: ExposureFile
    md5: str
    flats: str
    outcome: str
    reason: str = ""
    quality: Quality | None = None
    image: BlobImage | None = None
    members: tuple[str, ...] = ()
    prediction: Prediction | None = None
    statistics: dict[str, float] | None = None
    cutouts: tuple[dict[str, bytes], ...] = ()
    inputs: str = ""


def analyze_exposure(
    listed: ExposureFile, md5: str, history: "LedgerHistory", predictor: Predictor
) -> ExposureAnalysis:
    """Analyze one exposure against the earlier ones of a history.

    Parameters
    ----------
    listed : ExposureFile
    md5 : str
        Of its file.
    history : LedgerHistory
        With the exposures before it.
    predictor : Predictor

    Raises
    ------
    BlobwatchError
        If the file, or one of those before it, cannot be read.
    """
    history.keep_image(listed)
    history.add(listed)
    flats = history.group(listed)[1]
    try:
        exposure = read_exposure(listed.path)
        history.set_exposure(listed, exposure)
    except UnusableFile as error:
        return ExposureAnalysis(listed, md5, flats, UNFIT, strip_directory(str(error), listed))
    rejection = history.rejection(listed)
    quality = history.quality(listed)
    about = (listed, md5, flats)
    if rejection:
        by_person = listed.rootname in history.overrules
        reason = rejection if by_person else f"{REJECTED}: {rejection}"
        return ExposureAnalysis(*about, UNFIT, strip_directory(reason, listed), quality)
    image = BlobImage(history.image(listed), quality.noise)
    try:
        members = history.members(listed)
    except BlobwatchError as error:
        reason = strip_directory(str(error), listed).removeprefix(f"{listed.rootname}: ")
        return ExposureAnalysis(*about, NO_STACK, reason, quality, image)
    stack = history.stack(listed, members)
    names = tuple(one.rootname for one in members)
    prediction = predict(predictor, listed, difference_image(stack, image.image))
    planes = {"before": stack - 1.0, "after": image.image - 1.0, "difference": prediction.frame}
    cutouts = tuple(
        {name: picture(plane, blob, image.noise) for name, plane in planes.items()}
        for blob in prediction.blobs
    )
    return ExposureAnalysis(
        *about, JUDGED, "", quality, image, names, prediction, measure_statistics(prediction), cutouts
    )


def predict(predictor: Predictor, listed: ExposureFile, image: np.ndarray) -> Prediction:
    """Return the prediction for a difference image."""
    try:
        return predictor(image, name=str(listed.path), rootname=listed.rootname, kind="exposure")
    except BlobwatchError as error:
        raise BlobwatchError(f"{listed.path}: {error}") from None


def picture(plane: np.ndarray, blob: FoundBlob, noise: float) -> bytes:
    """Return a grey PNG of the pixels around a blob, with the top of the frame first.

    The grey scale spans ``GREY`` times the noise per pixel in either direction. Unknown pixels are mid-grey.
    """
    from PIL import Image

    left, bottom = corner(blob.x), corner(blob.y)
    part = np.nan_to_num(plane[bottom : bottom + CUTOUT, left : left + CUTOUT])
    grey = np.clip((part / (GREY * noise) + 1) * 127.5, 0, 255).astype(np.uint8)
    png = BytesIO()
    Image.fromarray(grey[::-1]).save(png, format="png")
    return png.getvalue()


def corner(centre: float) -> int:
    """Return the first pixel of a cutout along one axis."""
    return int(np.clip(round(centre) - CUTOUT // 2, 0, wfc3ir.SIZE - CUTOUT))
