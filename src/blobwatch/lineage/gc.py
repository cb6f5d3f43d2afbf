"""``blobwatch gc``: remove objects from DVC's cache that neither a promoted version nor the workspace needs.

``dvc gc`` ignores promotions, so it removes the training data of the deployed version.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.lineage import git
from blobwatch.lineage.dvc_cache import FILES, Cache
from blobwatch.lineage.fingerprint import is_data
from blobwatch.lineage.model_version import ModelVersion, VersionIndex
from blobwatch.lineage.pipeline import LockedStage, parse_lock
from blobwatch.lineage.promotion.deployment import lock_deployment, recover
from blobwatch.lineage.restore import parse_pin, read_file


@dataclass(frozen=True)
class Cleanup:
    """Removable objects of the cache, and the number of objects kept.

    Attributes
    ----------
    removable : dict of str to Path
        Path of each removable object by its hash.
    size : int
        Total size of the removable objects in bytes.
    kept : dict of str to int
        Number of cached objects that each version and the workspace need.
    unknown : dict of str to list of str
        Folders with a missing listing, by the version or workspace that needs them.
    deleted_runs : list of str
        Runs deleted in MLflow that no promoted version needs.
    """

    removable: dict[str, Path]
    size: int
    kept: dict[str, int]
    unknown: dict[str, list[str]]
    deleted_runs: list[str]


def clean_up(root: Path, delete: bool = False, lost: bool = False) -> Cleanup:
    """Find unneeded objects in the cache, and optionally remove them.

    Parameters
    ----------
    root : Path
        The project's folder.
    delete : bool
        Remove the objects.
    lost : bool
        Treat folders with a missing listing as lost, so that their files are removable.

    Raises
    ------
    BlobwatchError
        If other projects may share the cache, a stage is running, or the files that a promoted version
        needs are unknown.
    """
    root = Path(root)
    recover(root)
    cache = Cache.of(root)
    with lock_deployment(root, wait=0), lock_cache(root, cache):
        known = VersionIndex.of(root)
        named = {"the project as it lies here": workspace_hashes(root)}
        for version in sorted({record["version"] for record in known.records}):
            named[f"version {version}"] = version_hashes(ModelVersion.find(root, known, version))
        needs = {owner: cache.needed(hashes) for owner, hashes in named.items()}
        unknown = {owner: sorted(folders) for owner, (_, folders) in needs.items() if folders}
        stored, keep = cache.stored(), set().union(*(hashes for hashes, _ in needs.values()))
        removable = {name: path for name, path in stored.items() if name not in keep}
        size = sum(path.stat().st_size for path in removable.values())
        if delete and unknown and removable and not lost:
            raise BlobwatchError(
                f"the listings of some folders of {', '.join(unknown)} are missing. "
                "Run `dvc fetch` to get the listings, or pass --lost if the files are lost anyway"
            )
        if delete:
            for path in removable.values():
                path.unlink()
    kept = {owner: len(hashes & stored.keys()) for owner, (hashes, _) in needs.items()}
    return Cleanup(removable, size, kept, unknown, deleted_runs(known))


@contextmanager
def lock_cache(root: Path, cache: Cache) -> Iterator[None]:
    """Hold DVC's lock for the duration of the block.

    Raise an error if a stage is running or other projects may share the cache.
    """
    from dvc.lock import LockError
    from dvc.repo import Repo

    repo = Repo(str(root))
    if not cache.own or Path(repo.cache.local.path).resolve() != (cache.home / FILES).resolve():
        raise BlobwatchError(
            f"the cache {repo.cache.local.path} is set in DVC's configuration and may serve other projects. "
            "Nothing is removed"
        )
    try:
        with repo.lock:
            if is_running(root):
                raise BlobwatchError("a stage of the pipeline is running. Wait for it to end")
            yield
    except LockError:
        raise BlobwatchError("DVC is running in this project. Wait for it to end") from None


def is_running(root: Path) -> bool:
    """Return whether a process in DVC's rwlock is running.

    The lock may contain processes that have ended.
    """
    from psutil import pid_exists

    rwlock = json.loads(read_file(root / ".dvc/tmp/rwlock") or b"{}")
    writers = list(rwlock.get("write", {}).values())
    readers = [reader for group in rwlock.get("read", {}).values() for reader in group]
    return any(pid_exists(process["pid"]) for process in [*readers, *writers])


def workspace_hashes(root: Path) -> set[str]:
    """Return the hashes in ``dvc.lock`` and ``.dvc`` files, of the workspace and HEAD."""
    tracked = (git.git(root, "ls-files", "--", "*.dvc") or "").splitlines()
    committed = git.files_at(root, "HEAD", ["dvc.lock", *tracked])
    present = [
        path for path in root.rglob("*.dvc") if path.is_file() and not path.is_relative_to(root / ".dvc")
    ]
    locks = [
        content for content in (read_file(root / "dvc.lock"), committed.pop("dvc.lock", None)) if content
    ]
    named = {md5sum for content in locks for md5sum in locked_hashes(parse_lock(content.decode()))}
    for content in [*committed.values(), *(path.read_bytes() for path in present)]:
        named.update(parse_pin(content))
    return named


def version_hashes(subject: ModelVersion) -> set[str]:
    """Return the hashes of a promoted version's files and inputs.

    Raise an error if they are unknown.
    """
    found = subject.snapshots()
    if not found:
        raise BlobwatchError(
            f"the files or the dvc.lock of version {subject.version} are not found. "
            f"Nothing is removed. Run `blobwatch audit {subject.version}` for details"
        )
    named = {md5(content).hexdigest() for content in subject.contents.values()}
    named |= {row["md5"] for row in subject.exposures}
    return named.union(*(locked_hashes(snapshot.locked) for snapshot in found))


def locked_hashes(locked: dict[str, LockedStage]) -> set[str]:
    """Return the hashes of outputs and data inputs in a ``dvc.lock``."""
    made = {md5sum for entry in locked.values() for md5sum in entry.outs.values()}
    taken = {md5sum for entry in locked.values() for path, md5sum in entry.deps.items() if is_data(path)}
    return made | taken


def deleted_runs(known: VersionIndex) -> list[str]:
    """Return runs deleted in MLflow that no promoted or registered version uses."""
    if known.mirror is None:
        return []
    promoted = {record["fingerprint"] for record in known.records}
    runs = {
        run for run, state in known.mirror.runs.items() if state.deleted and state.fingerprint not in promoted
    }
    return sorted(runs - {version.run_id for version in known.mirror.versions.values()})
