"""What is deployed and what its audit says, asked for beside the pages since an audit takes a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.database import now
from blobwatch.predict import find_model

STALE = 600.0  # seconds after which an audit is made anew


@dataclass(frozen=True)
class Deployed:
    """What is known of the deployed model.

    Attributes
    ----------
    model : Model or None
        None where there is none, or its files are not what they were.
    verdict : str
        That of the audit; ``unknown`` where there was none.
    checked : str
        When, UTC.
    note : str
        Why there is no audit, or no model.
    links : tuple of dict
        Those of the audit: ``link``, ``status``, ``note``.
    page : str
        The audit's own page, HTML.
    """

    model: Model | None = None
    verdict: str = "unknown"
    checked: str = ""
    note: str = "being checked; look again in a moment"
    links: tuple[dict, ...] = ()
    page: str = field(default="", repr=False)


def find_deployed(root: Path) -> Deployed:
    """Load the champion and audit it in the project at ``root``."""
    try:
        model = Model.load(find_model("champion"))
    except BlobwatchError as error:
        return Deployed(note=str(error), checked=now())
    try:
        from blobwatch.lineage.audit.html_report import page
        from blobwatch.lineage.audit.run import audit

        found = audit(root)
    except (BlobwatchError, ModuleNotFoundError) as error:
        return Deployed(model, note=f"not audited here: {error}", checked=now())
    answer = found.as_json()
    return Deployed(model, answer["verdict"], now(), "", tuple(answer["links"]), page(found))


class Renewed:
    """What is deployed, found in the background and kept for some minutes; calling it returns the newest."""

    def __init__(self, find: Callable[[], Deployed]):
        self.find, self.known, self.since = find, Deployed(), float("-inf")
        self.lock = Lock()

    def __call__(self) -> Deployed:
        """Return what is known now, and have it found anew if that is old."""
        with self.lock:
            if time.monotonic() - self.since > STALE:
                self.since = time.monotonic()
                Thread(target=self.renew, daemon=True).start()
        return self.known

    def renew(self) -> None:
        """Find it anew."""
        try:
            self.known = self.find()
        except Exception as error:  # else the pages would say for ever that it is being checked
            self.known = Deployed(note=f"the audit broke off: {type(error).__name__}: {error}", checked=now())
