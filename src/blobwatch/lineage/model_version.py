"""One model version: its log entry, registry entry and files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import md5
from pathlib import Path
from tempfile import TemporaryDirectory

from blobwatch.artefact import MANIFEST, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import listing_hash
from blobwatch.lineage import git
from blobwatch.lineage.fingerprint import Fingerprint
from blobwatch.lineage.promotion import promotion_log
from blobwatch.lineage.promotion.promotion_log import LOG
from blobwatch.lineage.restore import Snapshot, find_files, find_snapshots
from blobwatch.lineage.tracking import snapshot
from blobwatch.lineage.tracking.registry import SHA256
from blobwatch.lineage.tracking.snapshot import Mirror


@dataclass(frozen=True)
class VersionIndex:
    """The records of all versions in the promotion log and in MLflow.

    Attributes
    ----------
    records : list of dict
        Records of the promotion log, oldest first.
    mirror : Mirror or None
        Contents of MLflow; None if it is not available.
    mlflow_error : str
        Why MLflow is not available.
    """

    records: list[dict]
    mirror: Mirror | None
    mlflow_error: str = ""

    @classmethod
    def of(cls, root: Path) -> "VersionIndex":
        """Read the promotion log and MLflow of a project.

        Raises
        ------
        BlobwatchError
            If a line of the log was altered, or the project has no git commit.
        """
        require_git(root)
        records = promotion_log.read(Path(root) / LOG)
        try:
            return cls(records, snapshot.read_registry(root))
        except BlobwatchError as error:
            return cls(records, None, str(error))

    @property
    def deployed(self) -> int | None:
        """Return the version that is deployed according to the log."""
        return self.records[-1]["version"] if self.records else None

    @property
    def versions(self) -> list[int]:
        """Return all versions in the log or in MLflow, sorted."""
        registered = self.mirror.versions if self.mirror else {}
        return sorted({record["version"] for record in self.records} | set(registered))

    def record(self, version: int) -> dict | None:
        """Return the newest record of a version in the log."""
        return next((one for one in reversed(self.records) if one["version"] == version), None)


@dataclass(frozen=True)
class ModelVersion:
    """A model version with its files, if they are found."""

    root: Path
    version: int
    known: VersionIndex
    record: dict | None
    registered: snapshot.Version | None
    expected_files: dict[str, str]  # the sha256 of each file, by its name
    contents: dict[str, bytes]
    where: str

    @classmethod
    def from_name(cls, root: Path, known: VersionIndex, name: str) -> "ModelVersion":
        """Return a version by its number, or the champion.

        Raises
        ------
        BlobwatchError
            If nothing is deployed, or the version is unknown.
        """
        if name != "champion" and not (name.isdecimal() and name.isascii()):
            raise BlobwatchError(
                f"{name}: not a version. Pass champion or a number listed by `blobwatch models`"
            )
        version = known.deployed if name == "champion" else int(name)
        if version is None:
            raise BlobwatchError("no version is deployed. Deploy one with `blobwatch promote`")
        return cls.find(root, known, version)

    @classmethod
    def find(cls, root: Path, known: VersionIndex, version: int) -> "ModelVersion":
        """Return a version by its number.

        Raises
        ------
        BlobwatchError
            If it is neither in the log nor in the registry.
        """
        record = known.record(version)
        registered = find_registered(known.mirror, version, record)
        if record is None and registered is None:
            numbers = ", ".join(map(str, known.versions)) or "none"
            raise BlobwatchError(f"version {version} not found. Known versions: {numbers}")
        expected_files = record["files"] if record else hashes_in(registered.tags if registered else {})
        contents, where = find_files(root, expected_files, registered.source if registered else None)
        return cls(Path(root), version, known, record, registered, expected_files, contents, where)

    @property
    def is_deployed(self) -> bool:
        """Return whether this version is deployed."""
        return self.record is not None and self.known.records[-1]["files"] == self.record["files"]

    @cached_property
    def manifest(self) -> dict:
        """Return the manifest; empty if the files are not found."""
        return json.loads(self.contents.get(MANIFEST, b"{}"))

    @cached_property
    def fingerprint(self) -> Fingerprint | None:
        """Return the fingerprint stored in the manifest."""
        parts = self.manifest.get("fingerprint", {}).get("parts")
        return Fingerprint(parts) if parts else None

    @property
    def exposures(self) -> list[dict]:
        """Return the raw exposures in the manifest, with their roles."""
        return self.manifest.get("exposures", [])

    @property
    def folder_hash(self) -> str:
        """Return the hash of the model folder, as DVC computes it."""
        return listing_hash({name: md5(content).hexdigest() for name, content in self.contents.items()})

    def snapshots(self) -> list[Snapshot]:
        """Return each ``dvc.lock`` that lists this version's files, newest first."""
        return list(find_snapshots(self.root, self.folder_hash)) if self.contents else []

    @property
    def run_id(self) -> str:
        """Return the id of the MLflow run of this version."""
        return self.registered.run_id if self.registered else (self.record or {})["run_id"]

    @property
    def tags(self) -> dict[str, str]:
        """Return the tags of this version in the registry."""
        return self.registered.tags if self.registered else {}

    @property
    def commit(self) -> str:
        """Return the commit of its inputs, with suffix ``-dirty`` if they differ from it."""
        return self.record["commit"] if self.record else self.tags.get("commit", "")

    @property
    def state(self) -> str:
        """Return champion, former champion, challenger or registered."""
        if self.is_deployed:
            return "champion"
        state = self.known.mirror
        if state and state.aliases.get("challenger") == self.version:
            return "challenger"
        return "former champion" if self.record else "registered"

    @property
    def metrics(self) -> dict[str, float]:
        """Return the metrics by flat name; values in the log override those of the run."""
        state = self.known.mirror
        run = state.runs.get(self.run_id) if state else None
        logged = run.metrics | run.intervals if run else {}
        return logged | (self.record["metrics"] if self.record else {})

    @contextmanager
    def model(self) -> Iterator[Model]:
        """Yield the model, loaded from a temporary folder.

        Raises
        ------
        BlobwatchError
            If its files are not found.
        """
        if not self.contents:
            raise BlobwatchError(
                f"the files of version {self.version} are not found. Restore them with `dvc pull`, or with "
                f"`dvc repro` at commit {self.commit[:12]}"
            )
        with TemporaryDirectory() as folder:
            for name, content in self.contents.items():
                (Path(folder) / name).write_bytes(content)
            yield Model.load(folder)


def require_git(root: Path) -> None:
    """Raise unless the folder has a git commit: the history holds deployed versions."""
    if not git.commit(root):
        raise BlobwatchError(f"{Path(root).resolve()}: no git commit found. Run this command in a clone")


def find_registered(known: Mirror | None, version: int, record: dict | None) -> snapshot.Version | None:
    """Find a registered version by the log's manifest hash, else by its number."""
    versions = known.versions if known else {}
    if record is None:
        return versions.get(version)
    wanted, numbered = record["files"][MANIFEST], versions.get(version)
    found = next((one for one in versions.values() if one.tags.get(SHA256 + MANIFEST) == wanted), None)
    if found is None and numbered and numbered.tags.get("fingerprint") == record["fingerprint"]:
        return numbered  # its tags with the hashes were altered
    return found


def hashes_in(tags: dict[str, str]) -> dict[str, str]:
    """Return the sha256 of each file from the tags of a version."""
    return {name.removeprefix(SHA256): value for name, value in tags.items() if name.startswith(SHA256)}
