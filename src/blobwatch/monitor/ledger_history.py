"""History of exposures whose verdicts are in the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass

from blobwatch.errors import BlobwatchError
from blobwatch.history import History
from blobwatch.images.quality import Quality
from blobwatch.instrument.exposure_files import ExposureFile
from blobwatch.instrument.flats import FlatFields
from blobwatch.monitor.analysis import BlobImage
from blobwatch.overrules import Overrule
from blobwatch.settings import DifferenceSettings


@dataclass(frozen=True)
class StoredExposure:
    """An exposure with its verdict in the ledger.

    Attributes
    ----------
    listed : ExposureFile
    flats : str
        Key of its flats at the analysis.
    quality : Quality or None
        None if an earlier version of the program stored it.
    rejection : str
        Reason; empty if it is accepted.
    """

    listed: ExposureFile
    flats: str
    quality: Quality | None
    rejection: str


class LedgerHistory(History):
    """A history that takes verdicts from the ledger and caches images between exposures."""

    def __init__(self, settings: DifferenceSettings, flats: FlatFields | None = None):
        super().__init__((), settings, None, flats)
        self.judged: dict[str, StoredExposure] = {}
        self._files: dict[str, tuple] = {}

    def load(self, rows: list[StoredExposure], overrules: Mapping[str, Overrule]) -> None:
        """Replace the exposures of the history; keep images of unchanged files."""
        self.overrules = overrules
        self.judged = {one.listed.rootname: one for one in rows}
        self.exposures, self.times = {}, []
        self._own, self._preliminary, self._qualities, self._errors = {}, {}, {}, {}
        for one in sorted(rows, key=lambda one: one.listed.expstart):  # an addition drops later measures
            self.keep_image(one.listed)
            self.add_known(one.listed, one.quality)

    def add_known(self, listed: ExposureFile, quality: Quality | None) -> None:
        """Insert an exposure without dropping its image."""
        image = self._images.get(listed.rootname)
        self.add(listed, quality)
        if image is not None:
            self._images[listed.rootname] = image

    def keep_image(self, listed: ExposureFile) -> None:
        """Drop the image of an exposure if its file changed."""
        key = (listed.path, listed.stamp)
        if self._files.get(listed.rootname) != key:
            self._images.pop(listed.rootname, None)
            self._files[listed.rootname] = key

    def group(self, one: ExposureFile) -> tuple[str, str, bool]:
        """Return filter, flats and unit: exposures are combined only if these are equal."""
        known = self.judged.get(one.rootname)
        return super().group(one) if known is None else (one.filter, known.flats, one.product == "raw")

    def rejection(self, one: ExposureFile) -> str:
        """Return why an exposure is rejected; empty if it is accepted."""
        known = self.judged.get(one.rootname)
        return super().rejection(one) if known is None else known.rejection

    def is_reference(self, one: ExposureFile) -> bool:
        """Return whether an exposure is accepted, so that others are compared with it."""
        return not self.rejection(one) if one.rootname in self.judged else super().is_reference(one)

    def blob_image(self, listed: ExposureFile, noise: float | None) -> BlobImage | None:
        """Return the image of an exposure for light curves; None if its file is unusable."""
        self.keep_image(listed)
        try:
            return None if noise is None else BlobImage(self.image(listed), noise)
        except (BlobwatchError, OSError):
            return None

    def measured(self) -> dict[str, Quality]:
        """Return the measures of exposures that the ledger stores without measures."""
        old = [name for name, one in self.judged.items() if one.quality is None]
        return {name: self._qualities[name] for name in old if name in self._qualities}
