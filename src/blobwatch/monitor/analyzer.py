"""Analysis of an exposure against the earlier exposures of the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.history import History
from blobwatch.images.quality_measures import Quality
from blobwatch.instrument.exposure_files import ExposureFile, file_stamp
from blobwatch.instrument.flats import FlatFields
from blobwatch.monitor.analysis import BlobImage, ExposureAnalysis, analyze_exposure
from blobwatch.monitor.ledger.database import Session
from blobwatch.monitor.ledger.exposures import (
    exposures_in_filter,
    file_of_row,
    hash_inputs,
    quality_of,
)
from blobwatch.monitor.ledger.overrules import overrules_in_force
from blobwatch.monitor.ledger.tables import UNFIT, Exposure
from blobwatch.overrules import Overrule
from blobwatch.predict import Predictor
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


class Analyzer:
    """Analyzes one exposure at a time against the exposures of a ledger.

    Parameters
    ----------
    predictor : Predictor
    settings : DifferenceSettings
    flats : FlatFields or None
        Remove the flats of each exposure.
    """

    def __init__(self, predictor: Predictor, settings: DifferenceSettings, flats: FlatFields | None):
        self.predictor, self.settings = predictor, settings
        self.history = LedgerHistory(settings, flats)
        self.earlier: list[Exposure] = []
        self.missing: list[Exposure] = []  # the earlier exposures with missing or changed files
        self.verdicts: dict[str, str] = {}
        self.other_flats = ""

    def load(self, session: Session, file: ExposureFile, md5: str) -> str:
        """Load the exposures before one into the history; return the hash of its inputs."""
        start = file.expstart - self.settings.days
        verdicts = overrules_in_force(session)
        self.history.load([], verdicts)
        _, flats, raw = self.history.group(file)
        before = exposures_in_filter(session, file.filter, raw, start, file.expstart)
        before = [one for one in before if one.rootname != file.rootname]
        rows = [one for one in before if one.flats == flats]
        self.missing = [one for one in rows if file_stamp(Path(one.path)) != one.stamp]
        used = [one for one in before if one not in self.missing]
        self.history.load([one for one in map(stored_exposure, used) if one is not None], verdicts)
        self.earlier, self.verdicts = rows, {name: one.verdict for name, one in verdicts.items()}
        self.other_flats = self.history.other_flats(file)
        return self.inputs(file, md5)

    def inputs(self, file: ExposureFile, md5: str) -> str:
        """Return the hash of all inputs of an exposure's result.

        The hash is empty if a file is missing.
        """
        if self.missing:
            return ""
        verdict = self.verdicts.get(file.rootname, "")
        flats = self.history.group(file)[1]
        return hash_inputs(md5, flats, verdict, self.earlier, self.verdicts, self.other_flats)

    def analyze(self, file: ExposureFile, md5: str) -> ExposureAnalysis:
        """Analyze a file; leave out earlier exposures that are no longer readable."""
        try:
            analysis = analyze_exposure(file, md5, self.history, self.predictor)
        except (BlobwatchError, OSError):
            used = [one.rootname for one in self.earlier if one.rootname in self.history.judged]
            bad = {name for name in used if not self.is_readable(self.history.judged[name].listed)}
            if not bad:
                raise
            self.missing = [one for one in self.earlier if one.rootname in bad]
            readable = [one for name, one in self.history.judged.items() if name not in bad]
            self.history.load(readable, self.history.overrules)
            analysis = analyze_exposure(file, md5, self.history, self.predictor)
        return replace(analysis, inputs=self.inputs(file, md5))

    def is_readable(self, listed: ExposureFile) -> bool:
        """Return whether the image of an earlier exposure can be read."""
        try:
            self.history.image(listed)
        except (BlobwatchError, OSError):
            return False
        return True

    def image(self, row: Exposure) -> BlobImage | None:
        """Return the image of an exposure of the ledger; None if its file is missing."""
        listed = file_of_row(row)
        if file_stamp(listed.path) != listed.stamp:
            return None
        return self.history.blob_image(listed, row.own_noise)


def stored_exposure(row: Exposure) -> StoredExposure | None:
    """Return a ledger exposure with its verdict, or None.

    Other kinds of exposure give None.
    """
    quality, is_unfit = quality_of(row), row.outcome == UNFIT
    if is_unfit and quality is None:
        return None
    return StoredExposure(file_of_row(row), row.flats, quality, row.reason or "rejected" if is_unfit else "")
