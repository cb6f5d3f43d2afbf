"""Warning that the quality limits are suspect, since they reject too many exposures."""

from collections.abc import Iterable

from blobwatch.images.rejection import SUSPECT_BATCH, suspect_message
from blobwatch.monitor.analysis import REJECTED
from blobwatch.monitor.channels import Channel
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import Ledger, Session
from blobwatch.monitor.ledger.queries import verdicts_of_newest
from blobwatch.monitor.ledger.tables import UNFIT, Exposure
from blobwatch.monitor.notices import SUSPECT, queue_notice
from blobwatch.settings import QualitySettings

NEWEST = 30  # exposures that the pages consider


def warn_of_rejections(rows: list, settings: QualitySettings) -> str:
    """Return the warning about some exposures; empty if few are rejected by the limits.

    Exposures that a person rejected, and other kinds of observation, do not count.
    """
    rejected = [one for one in rows if one.outcome == UNFIT and one.reason.startswith(f"{REJECTED}:")]
    return suspect_message(len(rejected), len(rows), settings)


def newest_warning(session: Session, settings: QualitySettings) -> str:
    """Return the warning about the newest exposures of the ledger, or an empty string."""
    return warn_of_rejections(verdicts_of_newest(session, NEWEST), settings)


class RejectionCheck:
    """Checks in each pass of a run whether too many exposures are rejected."""

    def __init__(self, ledger: Ledger, channels: list[Channel], settings: QualitySettings):
        self.ledger, self.channels, self.settings = ledger, channels, settings
        self.is_suspect = False

    def update(self, results: Iterable[IngestResult]) -> str:
        """Return the warning about the exposures of a pass and queue its notice.

        A pass with few exposures is checked together with the newest earlier ones. The warning is returned
        once as long as it holds.
        """
        rows = {one.exposure.rootname: one.exposure for one in results}
        if not rows:
            return ""
        with self.ledger.reading() as session:
            if len(rows) < SUSPECT_BATCH:
                found = newest_warning(session, self.settings)
            else:
                found = warn_of_rejections(list(rows.values()), self.settings)
        is_new, self.is_suspect = bool(found) and not self.is_suspect, bool(found)
        if not is_new:
            return ""
        first = min(rows.values(), key=lambda one: (one.expstart, one.rootname))
        with self.ledger.lock(), self.ledger.writing() as session:
            exposure = session.get_one(Exposure, first.id)
            queue_notice(session, self.channels, f"{SUSPECT} since {first.rootname}", exposure, found)
        return found
