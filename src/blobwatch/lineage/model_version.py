"""What an audit is about: one version, what the log and the registry say of it, and its files."""

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
from blobwatch.lineage.restore import Snapshot, find_files, snapshots
from blobwatch.lineage.tracking import snapshot
from blobwatch.lineage.tracking.registry import SHA256
from blobwatch.lineage.tracking.snapshot import Mirror


@dataclass(frozen=True)
class Known:
    """The two places that know versions.

    Attributes
    ----------
    records : list of dict
        Of the log, oldest first.
    mirror : Mirror or None
        Of MLflow; None where it does not answer.
    silence : str
        Why it does not.
    """

    records: list[dict]
    mirror: Mirror | None
    silence: str = ""

    @classmethod
    def of(cls, root: Path) -> "Known":
        """Return what is known in a project.

        Raises
        ------
        BlobwatchError
            If a line of the log was altered, or this is not under git.
        """
        refuse_outside_git(root)
        records = promotion_log.read(Path(root) / LOG)
        try:
            return cls(records, snapshot.read_registry(root))
        except BlobwatchError as error:
            return cls(records, None, str(error))

    @property
    def deployed(self) -> int | None:
        """The version that is deployed, as the log says."""
        return self.records[-1]["version"] if self.records else None

    @property
    def versions(self) -> list[int]:
        """Every version that one of the two knows, in order."""
        registered = self.mirror.versions if self.mirror else {}
        return sorted({record["version"] for record in self.records} | set(registered))

    def record(self, version: int) -> dict | None:
        """Return the newest record of a version in the log."""
        return next((one for one in reversed(self.records) if one["version"] == version), None)


@dataclass(frozen=True)
class Subject:
    """A version with its files, as far as they are here."""

    root: Path
    version: int
    known: Known
    record: dict | None
    registered: snapshot.Version | None
    promised: dict[str, str]  # the sha256 of each file, by its name
    contents: dict[str, bytes]
    where: str

    @classmethod
    def named(cls, root: Path, known: Known, name: str) -> "Subject":
        """Return ``champion``, or the version whose number is given.

        Raises
        ------
        BlobwatchError
            If nothing is deployed, or nobody knows such a version.
        """
        if name != "champion" and not (name.isdecimal() and name.isascii()):
            raise BlobwatchError(f"{name} is no version; give champion or a number out of `blobwatch models`")
        if name == "champion" and known.deployed is None:
            raise BlobwatchError("nothing is deployed yet; `blobwatch promote` deploys a version")
        return cls.find(root, known, known.deployed if name == "champion" else int(name))

    @classmethod
    def find(cls, root: Path, known: Known, version: int) -> "Subject":
        """Return a version by its number.

        Raises
        ------
        BlobwatchError
            If neither the log nor the registry knows it.
        """
        record = known.record(version)
        registered = find_registered(known.mirror, version, record)
        if record is None and registered is None:
            numbers = ", ".join(map(str, known.versions)) or "none"
            raise BlobwatchError(f"nobody knows of a version {version}; there are: {numbers}")
        promised = record["files"] if record else hashes_in(registered.tags)
        contents, where = find_files(root, promised, registered.source if registered else None)
        return cls(Path(root), version, known, record, registered, promised, contents, where)

    @property
    def is_deployed(self) -> bool:
        """Whether it is the one that is deployed."""
        return self.record is not None and self.known.records[-1]["files"] == self.record["files"]

    @cached_property
    def manifest(self) -> dict:
        """The manifest; empty where it is not here."""
        return json.loads(self.contents.get(MANIFEST, b"{}"))

    @cached_property
    def fingerprint(self) -> Fingerprint | None:
        """The fingerprint whose parts the manifest holds."""
        parts = self.manifest.get("fingerprint", {}).get("parts")
        return Fingerprint(parts) if parts else None

    @property
    def exposures(self) -> list[dict]:
        """The raw exposures that the manifest names, with their role."""
        return self.manifest.get("exposures", [])

    @property
    def folder_hash(self) -> str:
        """The hash that DVC gives the folder of its files."""
        return listing_hash({name: md5(content).hexdigest() for name, content in self.contents.items()})

    def snapshots(self) -> list[Snapshot]:
        """Return each ``dvc.lock`` that made it, the newest first; none where its files are not here."""
        return list(snapshots(self.root, self.folder_hash)) if self.contents else []

    @property
    def run_id(self) -> str:
        """The run that made it."""
        return self.registered.run_id if self.registered else self.record["run_id"]

    @property
    def commit(self) -> str:
        """The commit of its inputs, with ``-dirty`` behind it where they are not in it."""
        return self.record["commit"] if self.record else self.registered.tags.get("commit", "")

    @property
    def state(self) -> str:
        """What it is now: champion, former champion, challenger, or registered."""
        if self.is_deployed:
            return "champion"
        state = self.known.mirror
        if state and state.aliases.get("challenger") == self.version:
            return "challenger"
        return "former champion" if self.record else "registered"

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured, by flat names: as the log relied on it, else as its run has it."""
        state = self.known.mirror
        run = state.runs.get(self.run_id) if state else None
        logged = run.metrics if run else {}
        return logged | (self.record["metrics"] if self.record else {})

    @contextmanager
    def model(self) -> Iterator[Model]:
        """Yield the model, its files in a folder of their own.

        Raises
        ------
        BlobwatchError
            If they are nowhere here.
        """
        if not self.contents:
            raise BlobwatchError(
                f"the files of version {self.version} are nowhere here; `dvc pull`, or `dvc repro` at commit "
                f"{self.commit[:12]}, brings them back"
            )
        with TemporaryDirectory() as folder:
            for name, content in self.contents.items():
                (Path(folder) / name).write_bytes(content)
            yield Model.load(folder)


def refuse_outside_git(root: Path) -> None:
    """Refuse a folder of which git knows nothing: what was deployed lies in its history."""
    if not git.commit(root):
        raise BlobwatchError(f"{Path(root).resolve()} is under no git with a commit; run this in a clone")


def find_registered(known: Mirror | None, version: int, record: dict | None) -> snapshot.Version | None:
    """Return a version in the registry: the one with the log's manifest, else the one with the number."""
    versions = known.versions if known else {}
    if record is None:
        return versions.get(version)
    wanted, numbered = record["files"][MANIFEST], versions.get(version)
    found = next((one for one in versions.values() if one.tags.get(SHA256 + MANIFEST) == wanted), None)
    if found is None and numbered and numbered.tags.get("fingerprint") == record["fingerprint"]:
        return numbered  # its hashes were altered
    return found


def hashes_in(tags: dict[str, str]) -> dict[str, str]:
    """Return the sha256 of each file of a version, by its name, out of its tags."""
    return {name.removeprefix(SHA256): value for name, value in tags.items() if name.startswith(SHA256)}
