"""Analysis of an exposure against the earlier exposures of the ledger."""

from dataclasses import replace
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.instrument.exposure_files import ExposureFile, file_stamp
from blobwatch.instrument.flats import FlatFields
from blobwatch.monitor.analysis import BlobImage, ExposureAnalysis, analyze_exposure
from blobwatch.monitor.ledger.database import Session
from blobwatch.monitor.ledger.exposures import (
    comparable_exposures,
    exposures_in_filter,
    file_of_row,
    hash_inputs,
    quality_of,
)
from blobwatch.monitor.ledger.overrules import overrules_in_force
from blobwatch.monitor.ledger.tables import UNFIT, Exposure
from blobwatch.monitor.ledger_history import LedgerHistory, StoredExposure
from blobwatch.predict import Predictor
from blobwatch.settings import DifferenceSettings


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
        rows = comparable_exposures(session, file.filter, flats, raw, start, file.expstart)
        rows = [one for one in rows if one.rootname != file.rootname]
        self.missing = [one for one in rows if file_stamp(Path(one.path)) != one.stamp]
        others = exposures_in_filter(session, file.filter, raw, start, file.expstart)
        others = [one for one in others if one.flats != flats and one.rootname != file.rootname]
        used = [*(one for one in rows if one not in self.missing), *others]
        self.history.load([one for one in map(stored_exposure, used) if one is not None], verdicts)
        self.earlier, self.verdicts = rows, {name: one.verdict for name, one in verdicts.items()}
        self.other_flats = self.history.other_flats(file)
        return self.inputs(file, md5)

    def inputs(self, file: ExposureFile, md5: str) -> str:
        """Return the hash of what the result of an exposure depends on; empty where a file is missing."""
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
    """Return an exposure of the ledger with its verdict; None for another kind of exposure."""
    quality, is_unfit = quality_of(row), row.outcome == UNFIT
    if is_unfit and quality is None:
        return None
    return StoredExposure(file_of_row(row), row.flats, quality, row.reason or "rejected" if is_unfit else "")
