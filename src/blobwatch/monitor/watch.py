"""The watch itself: a folder's exposures in the order of time, each looked at and entered once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blobwatch.archive.survey import File, before, exposures_of, in_time, survey
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.exposures import read_exposure
from blobwatch.instrument.folder import Listed, find_exposures
from blobwatch.monitor.drift import Reference, begun
from blobwatch.monitor.ledger.ask import known_exposures
from blobwatch.monitor.ledger.database import Ledger
from blobwatch.monitor.ledger.entry import Entered, enter, model_of
from blobwatch.monitor.ledger.tables import NO_STACK, UNFIT
from blobwatch.monitor.look import Looker
from blobwatch.monitor.notices import Channel, announce
from blobwatch.predict import Predictor
from blobwatch.progress import bar

LAST_DAY = 1e5  # MJD, in 2132; what begins later, or before 1858, has no date
LONGEST = {"rootname": 64, "filter": 16}  # letters, as the ledger keeps them


@dataclass(frozen=True)
class Trouble:
    """A file that cannot be used as an exposure, and why."""

    path: Path
    error: str


class Watch:
    """A folder that is watched for a ledger.

    Parameters
    ----------
    folder : Path
        It may lie beside others: stacks take what the ledger knows from elsewhere too.
    ledger : Ledger
    predictor : Predictor
    channels : list of Channel
        Which will hear of new blobs and of drift.
    reference : Reference or None
        What the traits of exposures are held against.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        predictor: Predictor,
        channels: list[Channel] | None = None,
        reference: Reference | None = None,
    ):
        self.folder, self.ledger = Path(folder), ledger
        self.channels, self.reference = channels or [], reference
        self.looker = Looker(predictor)
        self.files: dict[tuple[Path, str], File] = {}
        self.doubted: set[tuple[Path, str]] = set()
        self.troubled: set[tuple[Path, str]] = set()
        self.forgiving = False
        for file in map(file_of, self.known()):
            self.files[file.path, file.stamp] = file

    def known(self, *span: float) -> list:
        """Return what is known of each exposure of the ledger, or of those of some days."""
        with self.ledger.reading() as session:
            return known_exposures(session, *span)

    def go(self, forgiving: bool = False) -> Iterator[Entered | Trouble]:
        """Look at all that is new in the folder; yield what came of each file, once it is in the ledger.

        Parameters
        ----------
        forgiving : bool
            It will look again: an empty folder is no error, and what cannot be read may still be being
            written, and is said only if it is the same the next time.
        """
        self.forgiving = forgiving
        try:
            exposures, here = self.listing()
        except BlobwatchError:
            if not forgiving:
                raise
            return
        troubles = [self.trouble(self.files[key]) for key in sorted(here) if self.files[key].listed is None]
        yield from filter(None, troubles)
        usable = here - self.troubled
        outcomes = {row.rootname: row.outcome for row in self.known()}
        hopeful = [one for one in exposures if outcomes.get(one.listed.rootname) != UNFIT]
        todo = [
            one for one in hopeful if (one.path, one.stamp) in usable and self.is_new(one, outcomes, hopeful)
        ]
        places = {one.listed.rootname: one for one in exposures}
        with bar() as progress:
            task = progress.add_task("monitor", total=len(todo), visible=bool(todo))
            for file in todo:
                if came := self.handle(file, places):
                    yield came
                progress.advance(task)

    def is_new(self, file: File, outcomes: dict[str, str], hopeful: list[File]) -> bool:
        """Tell whether an exposure is not known, or is known without a stack and may have one by now."""
        outcome = outcomes.get(file.listed.rootname)
        if outcome != NO_STACK:
            return outcome is None
        settings, when = self.looker.settings, file.expstart
        earlier = [one for one in before(hopeful, when, when, settings.days) if one.filter == file.filter]
        return len(earlier) >= settings.minimum

    def listing(self) -> tuple[list[File], set[tuple[Path, str]]]:
        """Return all exposures in the order of time, also known ones from elsewhere, and what lies here."""
        keys = {(path.absolute(), stamp_of(path)) for path in find_exposures(self.folder)}
        unseen = sorted(path for path, stamp in keys if (path, stamp) not in self.files)
        for file in survey(unseen) if unseen else ():
            self.files[file.path, file.stamp] = file
        here = {key for key in keys if key in self.files}  # the others are still being written
        mine = in_time(self.files[key] for key in here)
        other = in_time(file for key, file in self.files.items() if key not in here)
        chosen = exposures_of(mine)  # a file elsewhere counts only where there is none here
        names = {one.listed.rootname for one in chosen}
        elsewhere = exposures_of([one for one in other if one.listed and one.listed.rootname not in names])
        return in_time(chosen + elsewhere), here

    def handle(self, file: File, places: dict[str, File]) -> Entered | Trouble | None:
        """Look at one exposure and enter it; None where another monitor has, or it still has no stack.

        Its stack is made of what the ledger knows by now; ``places`` tells where the files lie today.
        """
        name, when, settings = file.listed.rootname, file.expstart, self.looker.settings
        if fault := fault_of(file):
            return self.trouble(file, fault)
        with self.ledger.alone():
            rows = self.known(when - settings.days, when)
            outcomes = {row.rootname: row.outcome for row in rows}
            earlier = [
                places.get(row.rootname) or file_of(row)
                for row in rows
                if row.expstart < when and row.filter == file.filter and row.outcome != UNFIT
            ]
            still = name in outcomes and len(earlier) < settings.minimum
            if still or outcomes.get(name, NO_STACK) != NO_STACK:
                return None
            try:
                look = self.looker(file, earlier)
            except (BlobwatchError, OSError) as error:
                return self.trouble(file, str(error))
            if stamp_of(file.path) != file.stamp:
                return self.trouble(file, f"{file.path} changed while it was read; run again, or --watch")
            if name in outcomes and look.outcome == NO_STACK:
                return None
            with self.ledger.writing() as session:
                entered = enter(session, look, model_of(session, self.looker.predictor))
                announce(session, entered, self.channels, begun(session, entered.exposure, self.reference))
        return entered

    def trouble(self, file: File, error: str = "") -> Trouble | None:
        """Return what is wrong with a file, once, as long as it is not replaced."""
        key = (file.path, file.stamp)
        if key in self.troubled or (self.forgiving and key not in self.doubted):
            self.doubted.add(key)
            return None
        self.troubled.add(key)
        try:
            error = error or f"{read_exposure(file.path).path} cannot be dated; run again"
        except BlobwatchError as reason:
            error = str(reason)
        except Exception as reason:  # as `survey`: whatever is wrong with it
            error = f"{file.path} cannot be read ({reason}); fetch or copy it again"
        return Trouble(file.path, error)


def file_of(row) -> File:
    """Return the file of an exposure that the ledger knows."""
    listed = Listed(Path(row.path), row.rootname, row.expstart, row.filter)
    return File(listed.path, row.stamp, row.expstart, row.filter, listed)


def fault_of(file: File) -> str:
    """Return why the ledger cannot take an exposure by its header; empty where it can."""
    if any("\ud800" <= letter <= "\udfff" for letter in str(file.path)):
        return f"{str(file.path)!r} has a name that is no text; rename it"
    if not 0 <= file.expstart <= LAST_DAY:
        return f"{file.path} begins at MJD {file.expstart:g}, which is no date; restore its EXPSTART"
    for key, longest in LONGEST.items():
        value = getattr(file.listed, key)
        if len(value) > longest or (key == "rootname" and not value):
            return f"{file.path} has {value!r} for {key.upper()} in its header; restore the keyword"
    return ""


def stamp_of(path: Path) -> str:
    """Return size and time of change of a file, as `survey` does."""
    try:
        about = path.stat()
    except OSError:
        return ""
    return f"{about.st_size} {about.st_mtime_ns}"
