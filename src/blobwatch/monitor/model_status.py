"""Deployed model and its audit, found in the background since an audit takes a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.database import now
from blobwatch.predict import find_model

MAX_AGE = 600.0  # seconds after which the audit is repeated


@dataclass(frozen=True)
class Deployed:
    """The deployed model and its audit.

    Attributes
    ----------
    model : Model or None
        None if there is none, or its files were changed.
    verdict : str
        Of the audit; ``unknown`` without one.
    checked : str
        Time of the audit, UTC.
    note : str
        Why there is no audit or no model.
    links : tuple of dict
        ``link``, ``status`` and ``note`` of each link of the audit.
    page : str
        The audit as an HTML page.
    """

    model: Model | None = None
    verdict: str = "unknown"
    checked: str = ""
    note: str = "being checked; reload the page in a moment"
    links: tuple[dict, ...] = ()
    page: str = field(default="", repr=False)


def find_deployed(root: Path) -> Deployed:
    """Load the champion and audit it in the project at ``root``."""
    try:
        model = Model.load(find_model("champion"))
    except BlobwatchError as error:
        return Deployed(note=str(error), checked=now())
    try:
        from blobwatch.lineage.audit.html_report import render_page
        from blobwatch.lineage.audit.run import audit

        found = audit(root)
    except (BlobwatchError, ModuleNotFoundError) as error:
        return Deployed(model, note=f"not audited here: {error}", checked=now())
    answer = found.as_json()
    return Deployed(model, answer["verdict"], now(), "", tuple(answer["links"]), render_page(found))


class DeployedCache:
    """The deployed model, refreshed in the background; a call returns the newest result."""

    def __init__(self, find: Callable[[], Deployed]):
        self.find, self.newest, self.since = find, Deployed(), float("-inf")
        self.lock = Lock()

    def __call__(self) -> Deployed:
        """Return the newest result, and start a refresh if it is old."""
        with self.lock:
            if time.monotonic() - self.since > MAX_AGE:
                self.since = time.monotonic()
                Thread(target=self.refresh, daemon=True).start()
        return self.newest

    def refresh(self) -> None:
        """Find the deployed model again."""
        try:
            self.newest = self.find()
        except Exception as error:  # otherwise the pages would show "being checked" permanently
            self.newest = Deployed(note=f"the audit failed: {type(error).__name__}: {error}", checked=now())
