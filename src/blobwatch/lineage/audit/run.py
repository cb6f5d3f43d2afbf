"""The audit: version, run, commit, ``dvc.lock``, subframes, difference images, each raw exposure.

Each link is compared with what the one before it names, and hashed anew where the bytes are. It needs git
and the files alone: no DVC, no MLflow server, no network.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.audit import data_checks, labels, record_checks
from blobwatch.lineage.audit.hashing import MISMATCH, MISSING, OK
from blobwatch.lineage.audit.labels import Labels
from blobwatch.lineage.audit.record_checks import Link
from blobwatch.lineage.model_version import Known, Subject, refuse_outside_git
from blobwatch.lineage.restore import Snapshot


@dataclass(frozen=True)
class Audit:
    """The answer; `as_json` is the contract."""

    subject: Subject | None
    links: list[Link]
    exposures: list[dict] = field(default_factory=list)
    snapshot: Snapshot | None = None
    labels: Labels = field(default_factory=Labels)

    @property
    def verdict(self) -> str:
        """``mismatch`` if a link is broken, ``incomplete`` if one could not be checked, else ``ok``."""
        found = {one.status for one in self.links}
        return MISMATCH if MISMATCH in found else "incomplete" if MISSING in found else OK

    def as_json(self) -> dict:
        """Return the answer as plain data."""
        version = self.subject.version if self.subject else None
        links = [asdict(one) for one in self.links]
        answer = {"version": version, "verdict": self.verdict, "links": links, "exposures": self.exposures}
        return answer | {"labels": self.labels.rows, "labels_note": self.labels.note}


def audit(root: Path, name: str = "champion") -> Audit:
    """Check the lineage of a version, link by link.

    Parameters
    ----------
    root : Path
        The project's folder.
    name : str
        ``champion``, or the number of a version.

    Raises
    ------
    BlobwatchError
        If there is no such version, or nothing is deployed.
    """
    root = Path(root)
    refuse_outside_git(root)
    try:
        known = Known.of(root)
    except BlobwatchError as error:  # the log is broken, and with it all that follows from it
        return Audit(None, [Link("promotions log", MISMATCH, note=str(error))])
    subject = Subject.named(root, known, name)
    links = [check(subject) for check in record_checks.CHECKS]
    found = subject.snapshots()
    snapshot, steps = data_checks.choose_snapshot(subject, found)
    links += [
        data_checks.check_commit(subject),
        data_checks.check_lock(subject, snapshot, steps),
        data_checks.check_evaluation(subject, found),
    ]
    data_links, exposures, checks = data_checks.check_data(subject, snapshot, steps)
    used = labels.find_labels(subject, snapshot, steps, checks)
    return Audit(subject, links + data_links, exposures, snapshot, used)


def touched_by(root: Path, rootname: str) -> dict:
    """Return the versions that an exposure trained, tuned or judged.

    Returns
    -------
    dict
        ``exposure``; ``versions``, each with ``version``, ``state``, ``deployed``, ``role`` (train, val or
        test) and ``md5`` as it was then; ``unknown``, the versions that do not say which exposures made them,
        or whose manifest is not here; ``deployed``, None where it is one of these.
    """
    known, touched, unknown = Known.of(root), [], []
    for version in known.versions:
        subject = Subject.find(root, known, version)
        if not subject.exposures:
            unknown.append(subject)
        about = {"version": version, "state": subject.state, "deployed": subject.is_deployed}
        for row in subject.exposures:
            if row["rootname"] == rootname.lower():
                touched.append(about | {"role": row["role"], "md5": row["md5"]})
    deployed = any(row["deployed"] for row in touched)
    if not deployed and any(subject.is_deployed for subject in unknown):
        deployed = None
    numbers = [subject.version for subject in unknown]
    return {"exposure": rootname, "deployed": deployed, "versions": touched, "unknown": numbers}
