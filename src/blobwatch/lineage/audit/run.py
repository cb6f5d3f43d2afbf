"""Audit of a version, from the promotion log to each raw exposure.

Each link is compared with the hash in the previous link, and available files are hashed again. The audit
needs only git and the files: no DVC, no MLflow server, no network.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.audit import data_checks, labels, record_checks
from blobwatch.lineage.audit.chain import choose_snapshot
from blobwatch.lineage.audit.hashing import MISMATCH, MISSING, OK
from blobwatch.lineage.audit.labels import Labels
from blobwatch.lineage.audit.record_checks import Link
from blobwatch.lineage.model_version import ModelVersion, VersionIndex, require_git
from blobwatch.lineage.restore import Snapshot


@dataclass(frozen=True)
class Audit:
    """Result of an audit; `as_json` is the stable format."""

    subject: ModelVersion | None
    links: list[Link]
    exposures: list[dict] = field(default_factory=list)
    snapshot: Snapshot | None = None
    labels: Labels = field(default_factory=Labels)

    @property
    def verdict(self) -> str:
        """Return the status of the whole audit.

        It is ``mismatch`` if a link is broken, ``incomplete`` if one could not be checked, else ``ok``.
        """
        found = {one.status for one in self.links}
        return MISMATCH if MISMATCH in found else "incomplete" if MISSING in found else OK

    def as_json(self) -> dict:
        """Return the result as plain data."""
        version = self.subject.version if self.subject else None
        links = [asdict(one) for one in self.links]
        result = {"version": version, "verdict": self.verdict, "links": links, "exposures": self.exposures}
        return result | {"labels": self.labels.rows, "labels_note": self.labels.note}


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
        If the version does not exist, or nothing is deployed.
    """
    root = Path(root)
    require_git(root)
    try:
        known = VersionIndex.of(root)
    except BlobwatchError as error:  # a broken log prevents all other checks
        return Audit(None, [Link("promotions log", MISMATCH, note=str(error))])
    subject = ModelVersion.from_name(root, known, name)
    links = [check(subject) for check in record_checks.CHECKS]
    found = subject.snapshots()
    snapshot, steps = choose_snapshot(subject, found)
    links += [
        data_checks.check_commit(subject),
        data_checks.check_lock(subject, snapshot, steps),
        data_checks.check_evaluation(subject, found),
    ]
    data_links, exposures, checks = data_checks.check_data(subject, snapshot, steps)
    used = labels.find_labels(subject, snapshot, steps, checks)
    return Audit(subject, links + data_links, exposures, snapshot, used)


def find_versions_of_exposure(root: Path, rootname: str) -> dict:
    """Return the versions whose train, val or test split has an exposure.

    Returns
    -------
    dict
        ``exposure``; ``versions``, each with ``version``, ``state``, ``deployed``, ``role`` (train, val or
        test) and ``md5`` when it was used; ``unknown``, the versions without a manifest that lists exposures;
        ``deployed``, None if the deployed version is one of these.
    """
    known, used, unknown = VersionIndex.of(root), [], []
    for version in known.versions:
        subject = ModelVersion.find(root, known, version)
        if not subject.exposures:
            unknown.append(subject)
        about = {"version": version, "state": subject.state, "deployed": subject.is_deployed}
        for row in subject.exposures:
            if row["rootname"] == rootname.lower():
                used.append(about | {"role": row["role"], "md5": row["md5"]})
    deployed: bool | None = any(row["deployed"] for row in used)
    if not deployed and any(subject.is_deployed for subject in unknown):
        deployed = None
    numbers = [subject.version for subject in unknown]
    return {"exposure": rootname, "deployed": deployed, "versions": used, "unknown": numbers}
