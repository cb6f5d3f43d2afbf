"""Analysis of one exposure: quality, stack, difference, prediction, and what is measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from blobwatch.errors import BlobwatchError, Unfit
from blobwatch.history import History, without_folder
from blobwatch.images.measure import amplitude, cut
from blobwatch.images.quality import Quality
from blobwatch.images.stack import difference_image
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import Blob, half_width_at, radius_at
from blobwatch.instrument.exposures import read_exposure
from blobwatch.instrument.flats import FlatFields
from blobwatch.instrument.folder import Listed
from blobwatch.monitor.ledger.tables import JUDGED, NO_STACK, UNFIT
from blobwatch.monitor.traits import Traits, traits_of
from blobwatch.overrules import Overrule
from blobwatch.predict import FoundBlob, Prediction, Predictor
from blobwatch.settings import DifferenceSettings

CUTOUT = 96  # pixels on a side of the pictures of a detection
GREY = 5.0  # sigma at either end of their grey scale
REJECTED = "rejected"  # how the reason of an exposure begins that its quality rejects


@dataclass(frozen=True)
class BlobImage:
    """The blob image of an accepted exposure, in which the light at any place can be measured.

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

        The error is None where no pixel there is usable.
        """
        trial = Blob(x, y, max(1.5, half_width_at(x, y) * radius / radius_at(x, y)), 1.0)
        part, values = cut(self.image, trial, 1.0)
        depth, snr = amplitude(part, -values, self.noise)  # missing light counts as positive
        return depth, abs(depth / snr) if snr else None


@dataclass(frozen=True)
class ExposureAnalysis:
    """Result of the analysis of one exposure.

    Attributes
    ----------
    listed : Listed
    md5 : str
    flats : str
        Key of the flats of the image, as it was analyzed.
    outcome, reason : str
        ``judged``, ``no stack`` or ``unfit``, and why.
    quality : Quality or None
        None where the file is another kind of exposure.
    image : BlobImage or None
        None where the exposure is not accepted.
    members : tuple of str
        Rootnames of its stack in the order of time.
    prediction : Prediction or None
    statistics : Traits or None
    cutouts : tuple of dict
        PNG pictures of each blob found: ``before``, ``after``, ``difference``.
    inputs : str
        Hash of what the result depends on; empty where a file that it depends on could not be read.
    """

    listed: Listed
    md5: str
    flats: str
    outcome: str
    reason: str = ""
    quality: Quality | None = None
    image: BlobImage | None = None
    members: tuple[str, ...] = ()
    prediction: Prediction | None = None
    statistics: Traits | None = None
    cutouts: tuple[dict[str, bytes], ...] = ()
    inputs: str = ""


@dataclass(frozen=True)
class Judged:
    """An exposure whose verdict is in the ledger.

    Attributes
    ----------
    listed : Listed
        With the place of its file today.
    flats : str
        Key of its flats as it was analyzed.
    quality : Quality or None
        None where it was measured by an earlier version of the program.
    rejection : str
        Empty where it is accepted.
    """

    listed: Listed
    flats: str
    quality: Quality | None
    rejection: str


class JudgedHistory(History):
    """A history whose exposures have their verdicts in the ledger: these are not judged anew."""

    def __init__(self, settings: DifferenceSettings, flats: FlatFields | None = None):
        super().__init__((), settings, None, flats)
        self.judged: dict[str, Judged] = {}
        self._files: dict[str, tuple] = {}

    def load(self, rows: list[Judged], overrules: Mapping[str, Overrule]) -> None:
        """Replace the exposures of the history; images of unchanged files are kept.

        Parameters
        ----------
        rows : list of Judged
        overrules : mapping of str to Overrule
        """
        self.overrules = overrules
        self.judged = {one.listed.rootname: one for one in rows}
        self.exposures, self.times = {}, []
        self._facts, self._first, self._qualities, self._errors = {}, {}, {}, {}
        for one in rows:
            self._keep_image(one.listed)
            self.add_known(one.listed, one.quality)

    def add_known(self, listed: Listed, quality: Quality | None) -> None:
        """Insert an exposure without dropping its image."""
        image = self._images.get(listed.rootname)
        self.add(listed, quality)
        if image is not None:
            self._images[listed.rootname] = image

    def _keep_image(self, listed: Listed) -> None:
        """Drop the image of an exposure if it is that of another file."""
        key = (listed.path, listed.stamp)
        if self._files.get(listed.rootname) != key:
            self._images.pop(listed.rootname, None)
            self._files[listed.rootname] = key

    def group(self, one: Listed) -> tuple[str, str, bool]:
        """Return what exposures must have in common to be combined: filter, flats, and unit."""
        known = self.judged.get(one.rootname)
        return super().group(one) if known is None else (one.filter, known.flats, one.product == "raw")

    def rejection(self, one: Listed) -> str:
        """Return why an exposure is rejected; empty where it is accepted."""
        known = self.judged.get(one.rootname)
        return super().rejection(one) if known is None else known.rejection

    def is_reference(self, one: Listed) -> bool:
        """Return whether others are measured against an exposure: it must be accepted."""
        return not self.rejection(one) if one.rootname in self.judged else super().is_reference(one)

    def blob_image(self, listed: Listed, noise: float | None) -> BlobImage | None:
        """Return the image of an exposure for its light curves; None where its file cannot be used."""
        self._keep_image(listed)
        try:
            return None if noise is None else BlobImage(self.image(listed), noise)
        except (BlobwatchError, OSError):
            return None

    def measured(self) -> dict[str, Quality]:
        """Return the measures of exposures whose measures the ledger does not have."""
        old = [name for name, one in self.judged.items() if one.quality is None]
        return {name: self._qualities[name] for name in old if name in self._qualities}

    def other_flats(self, one: Listed) -> str:
        """Return the flats of the latest exposure before one in its filter, if they are others."""
        return self._other_flats(one)


def analyze_exposure(
    listed: Listed, md5: str, history: JudgedHistory, predictor: Predictor
) -> ExposureAnalysis:
    """Analyze one exposure against the earlier ones of a history.

    Parameters
    ----------
    listed : Listed
    md5 : str
        Of its file.
    history : JudgedHistory
        With the exposures before it.
    predictor : Predictor

    Raises
    ------
    BlobwatchError
        If the file, or one of those before it, cannot be read.
    """
    history._keep_image(listed)
    history.add(listed)
    flats = history.group(listed)[1]
    try:
        exposure = read_exposure(listed.path)
        history.use(listed, exposure)
    except Unfit as error:
        return ExposureAnalysis(listed, md5, flats, UNFIT, without_folder(str(error), listed))
    rejection = history.rejection(listed)
    quality = history.quality(listed)
    about = (listed, md5, flats)
    if rejection:
        by_person = listed.rootname in history.overrules
        reason = rejection if by_person else f"{REJECTED}: {rejection}"
        return ExposureAnalysis(*about, UNFIT, without_folder(reason, listed), quality)
    image = BlobImage(history.image(listed), quality.noise)
    try:
        members = history.members(listed)
    except BlobwatchError as error:
        reason = without_folder(str(error), listed).removeprefix(f"{listed.rootname}: ")
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
        *about, JUDGED, "", quality, image, names, prediction, traits_of(prediction), cutouts
    )


def predict(predictor: Predictor, listed: Listed, image: np.ndarray) -> Prediction:
    """Return the prediction for a difference image."""
    try:
        return predictor(image, name=str(listed.path), rootname=listed.rootname, kind="exposure")
    except BlobwatchError as error:
        raise BlobwatchError(f"{listed.path}: {error}") from None


def picture(plane: np.ndarray, blob: FoundBlob, noise: float) -> bytes:
    """Return a grey PNG of the pixels around a blob, the first row at the top of the frame.

    Parameters
    ----------
    plane : ndarray, shape (1024, 1024), fraction of the background, about 0
    blob : FoundBlob
    noise : float
        Per pixel; the grey scale spans ``GREY`` times this in either direction. Unknown pixels are in its
        middle.
    """
    from PIL import Image

    left, bottom = corner(blob.x), corner(blob.y)
    part = np.nan_to_num(plane[bottom : bottom + CUTOUT, left : left + CUTOUT])
    grey = np.clip((part / (GREY * noise) + 1) * 127.5, 0, 255).astype(np.uint8)
    png = BytesIO()
    Image.fromarray(grey[::-1]).save(png, format="png")
    return png.getvalue()


def corner(centre: float) -> int:
    """Return the first pixel of a cutout around a place, along one side of the frame."""
    return int(np.clip(round(centre) - CUTOUT // 2, 0, wfc3ir.SIZE - CUTOUT))
