"""Warning that the limits of exposure quality are suspect, since they reject too many exposures."""

from collections.abc import Iterable

from blobwatch.images.rejection import SUSPECT_BATCH, suspect_message
from blobwatch.monitor.analysis import REJECTED
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import Ledger, Session
from blobwatch.monitor.ledger.queries import verdicts_of_newest
from blobwatch.monitor.ledger.tables import UNFIT, Exposure
from blobwatch.monitor.notices import SUSPECT, Channel, post
from blobwatch.settings import QualitySettings

NEWEST = 30  # exposures that the pages consider


def is_rejected(row) -> bool:
    """Return whether the limits, and not a person or another kind of observation, rejected an exposure."""
    return row.outcome == UNFIT and row.reason.startswith(f"{REJECTED}:")


def newest_warning(session: Session, settings: QualitySettings) -> str:
    """Return the warning about the newest exposures of the ledger; empty where all is well."""
    rows = verdicts_of_newest(session, NEWEST)
    return suspect_message(sum(map(is_rejected, rows)), len(rows), settings)


class Batch:
    """The exposures of a run, and whether too many of them are rejected.

    Parameters
    ----------
    ledger : Ledger
    channels : list of Channel
    settings : QualitySettings
    """

    def __init__(self, ledger: Ledger, channels: list[Channel], settings: QualitySettings):
        self.ledger, self.channels, self.settings = ledger, channels, settings
        self.suspected = False

    def check(self, results: Iterable[IngestResult]) -> str:
        """Return the warning for the exposures of one pass, and write its notice; empty where all is well.

        A pass with few exposures counts together with the newest ones before it. The warning is given once
        as long as it holds.
        """
        rows = {one.exposure.rootname: one.exposure for one in results}
        if not rows:
            return ""
        with self.ledger.reading() as session:
            if len(rows) < SUSPECT_BATCH:
                found = newest_warning(session, self.settings)
            else:
                found = suspect_message(sum(map(is_rejected, rows.values())), len(rows), self.settings)
        is_new, self.suspected = bool(found) and not self.suspected, bool(found)
        if not is_new:
            return ""
        first = min(rows.values(), key=lambda one: (one.expstart, one.rootname))
        with self.ledger.lock(), self.ledger.writing() as session:
            exposure = session.get_one(Exposure, first.id)
            post(session, self.channels, f"{SUSPECT} since {first.rootname}", exposure, found)
        return found
