"""Monitor: analyzes the exposures of a folder in the order of time and stores them in the ledger."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from heapq import heapify, heappop, heappush
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash
from blobwatch.instrument.calibration import dflat_warning
from blobwatch.instrument.exposure_files import ExposureFile, describe_file, file_stamp, is_incomplete
from blobwatch.instrument.file_search import FileProblem
from blobwatch.instrument.flats import FlatFields
from blobwatch.monitor.analysis import ExposureAnalysis
from blobwatch.monitor.analyzer import Analyzer
from blobwatch.monitor.channels import Channel
from blobwatch.monitor.drift import Reference, new_drift
from blobwatch.monitor.incoming import IncomingFiles, Note, is_older, problem_of
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import Ledger, Row
from blobwatch.monitor.ledger.exposures import (
    REJUDGE,
    due_exposures,
    file_columns,
    file_of_row,
    find_exposure,
    get_exposure,
    known_files,
    mark_waiting,
    rows_without_calibration,
    store_quality,
)
from blobwatch.monitor.ledger.ingest import ingest, model_row
from blobwatch.monitor.ledger.tables import Exposure
from blobwatch.monitor.notices import queue_notices
from blobwatch.predict import Predictor
from blobwatch.progress import progress_bar
from blobwatch.settings import Settings

Report = IngestResult | FileProblem | Note


class Monitor:
    """A watched folder and the ledger of its exposures.

    Parameters
    ----------
    folder : Path
        Stacks also use exposures in the ledger from other folders.
    ledger : Ledger
    predictor : Predictor
    channels : list of Channel
        Receive notices of new blobs and of drift.
    reference : Reference or None
        Statistics of the training exposures.
    settings : Settings
    flats : FlatFields or None
        Remove the flats of each exposure.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        predictor: Predictor,
        channels: list[Channel] | None = None,
        reference: Reference | None = None,
        settings: Settings | None = None,
        flats: FlatFields | None = None,
    ):
        self.ledger, self.predictor = ledger, predictor
        self.channels, self.reference = channels or [], reference
        self.settings = settings or Settings()
        self.files = IncomingFiles(Path(folder), self.settings.monitor.incomplete)
        self.analyzer = Analyzer(predictor, self.settings.difference, flats)
        self.known: dict[str, tuple[Row, ExposureFile]] = {}
        self.same: set[tuple[Path, str, str]] = set()  # files with the same content as in the ledger
        self.warned_of_dflats = False

    def run(self, watching: bool = False) -> Iterator[Report]:
        """Analyze all exposures of the folder that are new, changed or due; yield the results.

        With ``watching``, the folder is searched again later. Then an empty folder is accepted, and
        incomplete files are skipped without a message.
        """
        self.files.watching = watching
        self.complete_rows()
        with self.ledger.reading() as session:
            rows = {row.rootname: row for row in known_files(session)}
        chosen, messages = self.files.survey(self.ledger_files(rows.values()))
        yield from messages
        if not chosen and not messages and not watching and not self.files.reported:
            raise BlobwatchError(
                f"{self.files.folder}: no FITS file. Pass the directory that receives exposures"
            )
        todo: dict[str, tuple[ExposureFile, str]] = {}
        for name, file in chosen.items():
            row = rows.get(name)
            why = "" if row is None else self.compare(file, row)
            if isinstance(why, Note):
                yield why
            elif why is not None:
                todo[name] = file, why
        for exposure in self.due():
            todo.setdefault(exposure.rootname, (file_of_row(exposure), exposure.due))
        yield from self.warn_of_dflats([file for file, _ in todo.values()])
        yield from self.process(todo)

    def ledger_files(self, rows: Iterable[Row]) -> list[ExposureFile]:
        """Return the files of the ledger's rows; unchanged rows are not converted again."""
        for row in rows:
            if self.known.get(row.rootname, ((), None))[0] != row:
                self.known[row.rootname] = row, file_of_row(row)
        return [self.known[row.rootname][1] for row in rows]

    def process(self, todo: dict[str, tuple[ExposureFile, str]]) -> Iterator[Report]:
        """Analyze exposures in the order of time, and those that depend on them."""
        heap = [(file.expstart, name) for name, (file, _) in todo.items()]
        heapify(heap)
        with progress_bar() as progress:
            task = progress.add_task("monitor", total=len(heap), visible=bool(heap))
            while heap:
                _, name = heappop(heap)
                file, why = todo.pop(name)
                result = self.handle(file, why)
                if result is not None:
                    yield result
                for row in self.due() if isinstance(result, IngestResult) else ():
                    if row.rootname not in todo:
                        todo[row.rootname] = file_of_row(row), row.due
                        heappush(heap, (row.expstart, row.rootname))
                progress.update(task, advance=1, total=progress.tasks[0].completed + 1 + len(heap))

    def due(self) -> list[Exposure]:
        """Return the exposures that must be analyzed again."""
        with self.ledger.reading() as session:
            return due_exposures(session)

    def compare(self, file: ExposureFile, row: Row) -> str | Note | None:
        """Return why a file in the ledger must be analyzed again; None if it need not be."""
        if (str(file.path), file.stamp) == (row.path, row.stamp):
            return None
        key = (file.path, file.stamp, row.md5)
        if key in self.same:
            return None
        try:
            known = file_of_row(row)
            is_moved = replace(known, path=file.path) == file  # also the same size and time of change
            is_same = is_moved or file_hash(file.path, "md5") == row.md5
        except OSError:
            return None  # removed since the search
        if is_same:
            self.same.add(key)
            with self.ledger.lock(), self.ledger.writing() as session:
                stored = get_exposure(session, file.rootname)
                stored.path, stored.stamp = str(file.path), file.stamp
                mark_waiting(session, stored, self.settings.difference.days)
            return None
        if is_older(file, known):
            self.same.add(key)
            version, own = file.calibration.version or file.product, row.cal_ver or row.product
            return Note(
                f"{file.rootname}: {file.path} has an older calibration ({version}) than the result in the "
                f"ledger ({own}), which is kept"
            )
        version = file.calibration.version or file.calibration.date or "unknown version"
        return f"new content, calibrated by {version}"[:100]

    def handle(self, file: ExposureFile, why: str) -> IngestResult | FileProblem | Note | None:
        """Analyze one exposure and store the result; None if that is no longer needed."""
        with self.ledger.lock():
            with self.ledger.reading() as session:
                row = find_exposure(session, file.rootname)
            due = row if row is not None and row.due != "" and row.due == why else None
            is_same = row is not None and (row.path, row.stamp) == (str(file.path), file.stamp)
            if row is not None and row.due == "" and (why == "" or is_same):
                return None  # another monitor has stored the file in between
            file = file_of_row(due) if due else file
            if due and file_stamp(file.path) != file.stamp:
                return self.report_missing(file, why)
            with self.ledger.reading() as session:
                inputs = self.analyzer.load(session, file, due.md5 if due else "")
            if due and not why.startswith(REJUDGE) and inputs and inputs == due.inputs:
                self.clear_due(file.rootname)
                return None
            try:
                analysis = self.analyzer.analyze(file, due.md5 if due else file_hash(file.path, "md5"))
            except (BlobwatchError, OSError) as error:
                return self.unreadable(file, str(error))
            if file_stamp(file.path) != file.stamp:
                return self.unreadable(file, "changed while it was read")
            return self.store(analysis, why)

    def store(self, analysis: ExposureAnalysis, why: str) -> IngestResult:
        """Store an analysis in the ledger and queue its notices."""
        with self.ledger.writing() as session:
            model = model_row(session, self.predictor)
            result = ingest(session, analysis, model, self.analyzer.image, self.settings, why)
            for name, quality in self.analyzer.history.measured().items():
                store_quality(session, name, quality)
            drifts = new_drift(session, result.exposure, self.reference)
            queue_notices(session, result, self.channels, drifts, self.settings.monitor.detections)
        return result

    def unreadable(self, file: ExposureFile, message: str) -> FileProblem | Note | None:
        """Return the problem of a file once; skip a file that is still being written."""
        self.files.headers.pop((file.path, file.stamp), None)
        if not file.path.exists():
            return self.files.problem(file.path, file.stamp, "disappeared before it was read")
        if file_stamp(file.path) != file.stamp or is_incomplete(file.path, self.settings.monitor.incomplete):
            note = Note(f"{file.path}: still being written. It is left for the next run")
            return None if self.files.watching else note
        return self.files.problem(file.path, file.stamp, message)

    def report_missing(self, file: ExposureFile, why: str) -> FileProblem:
        """Keep the result of an exposure whose file is missing or changed."""
        self.clear_due(file.rootname)
        return problem_of(
            file.path,
            f"missing or changed, so {file.rootname} is not analyzed again ({why}); its result is kept",
        )

    def clear_due(self, name: str) -> None:
        """Mark an exposure as up to date."""
        with self.ledger.writing() as session:
            get_exposure(session, name).due = ""

    def complete_rows(self) -> None:
        """Read the calibration of exposures that an earlier version stored without it."""
        with self.ledger.reading() as session:
            rows = [file_of_row(one) for one in rows_without_calibration(session)]
        if not rows:
            return
        found: dict[str, ExposureFile] = {}
        for one in rows:
            try:
                found[one.rootname] = describe_file(one.path) if file_stamp(one.path) == one.stamp else one
            except Exception:  # damaged headers can raise anything; the calibration stays unknown
                found[one.rootname] = one
        with self.ledger.lock(), self.ledger.writing() as session:
            for row in rows_without_calibration(session):
                if file := found.get(row.rootname):
                    for name, value in file_columns(file, file.calibration.flats).items():
                        setattr(row, name, value)

    def warn_of_dflats(self, files: list[ExposureFile]) -> Iterator[Note]:
        """Yield the warning about D-flats once."""
        if self.warned_of_dflats or self.analyzer.history.flats is not None:
            return
        if text := dflat_warning([one.calibration for one in files]):
            self.warned_of_dflats = True
            yield Note(text)
