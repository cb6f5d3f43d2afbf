"""``blobwatch gc``: what no promoted version and nothing that lies here needs, removed from DVC's cache.

``dvc gc`` knows nothing of promotions, and removes what the deployed version was trained on.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.lineage import checkout
from blobwatch.lineage.audit import chain
from blobwatch.lineage.cache import Cache
from blobwatch.lineage.pipeline import parse_lock
from blobwatch.lineage.promotion.deployment import alone, recover
from blobwatch.lineage.restore import Snapshot, read_file, snapshots
from blobwatch.lineage.subject import Known, Subject


@dataclass(frozen=True)
class Cleanup:
    """What may go from the cache, by its hash, and what is kept and for whom.

    Attributes
    ----------
    removable : dict of str to Path
    size : int
        Bytes that they take.
    kept : dict of str to int
        How many objects each version, and the project as it lies here, needs of those that are here.
    deleted_runs : list of str
        Runs that were deleted in MLflow and that no promoted version needs.
    """

    removable: dict[str, Path]
    size: int
    kept: dict[str, int]
    deleted_runs: list[str]


def clean_up(root: Path, delete: bool = False) -> Cleanup:
    """Find what nothing needs; with ``delete``, remove it.

    Raises
    ------
    BlobwatchError
        If the cache may serve other projects, a stage is running, or it cannot be told what a promoted
        version needs.
    """
    root = Path(root)
    recover(root)
    cache = Cache.of(root)
    if not cache.own:
        raise BlobwatchError(
            f"the cache {cache.home} is set in .dvc/config and may serve other projects; nothing is removed"
        )
    with alone(root, wait=0), undisturbed(root):
        known = Known.of(root)
        needs = {"the project as it lies here": needed_here(root, cache)}
        for version in sorted({record["version"] for record in known.records}):
            needs[f"version {version}"] = needed_by(Subject.find(root, known, version), cache)
        stored = cache.stored()
        keep = set().union(*needs.values())
        removable = {name: path for name, path in stored.items() if name not in keep}
        size = sum(path.stat().st_size for path in removable.values())
        if delete:
            for path in removable.values():
                path.unlink()
    kept = {who: len(hashes & stored.keys()) for who, hashes in needs.items()}
    return Cleanup(removable, size, kept, deleted_runs(known))


@contextmanager
def undisturbed(root: Path) -> Iterator[None]:
    """Hold DVC's lock, so that nothing is added meanwhile; refuse while a stage runs."""
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(root)).lock:
            if is_running(root):
                raise BlobwatchError("a stage of the pipeline is running; wait until it has ended")
            yield
    except LockError:
        raise BlobwatchError("DVC is at work in this project; wait until it has ended") from None


def is_running(root: Path) -> bool:
    """Tell whether a stage runs: DVC notes what each reads and writes, and may leave a killed one's."""
    from psutil import pid_exists

    noted = json.loads(read_file(root / ".dvc/tmp/rwlock") or b"{}")
    writers = list(noted.get("write", {}).values())
    readers = [one for several in noted.get("read", {}).values() for one in several]
    return any(pid_exists(one["pid"]) for one in [*readers, *writers])


def needed_here(root: Path, cache: Cache) -> set[str]:
    """Return the hashes that ``dvc.lock`` and the ``.dvc`` files name, as they lie here and as committed."""
    named = [chain.dvc_file(path.read_bytes()) for path in root.glob("data/**/*.dvc")]
    locks = [read_file(root / "dvc.lock"), checkout.files_at(root, "HEAD", ["dvc.lock"]).get("dvc.lock")]
    for content in filter(None, locks):
        for entry in parse_lock(content.decode()).values():
            named += [*entry.deps.values(), *entry.outs.values()]
    return set().union(*(cache.needed(one) for one in named if one))


def needed_by(subject: Subject, cache: Cache) -> set[str]:
    """Return the hashes of all that made a promoted version, its own files too.

    Raises
    ------
    BlobwatchError
        If its files or the ``dvc.lock`` that made it are not found, so that nobody knows.
    """
    found = list(snapshots(subject.root, subject.folder_hash)) if subject.contents else []
    if not found:
        raise BlobwatchError(
            f"nobody knows what version {subject.version} needs: its files or its dvc.lock are not found, so "
            f"nothing is removed; `blobwatch audit {subject.version}` says more"
        )
    named = {md5(content).hexdigest() for content in subject.contents.values()}
    named |= {row["md5"] for row in subject.exposures}
    for snapshot in found:
        named |= locked_in(snapshot)
    return set().union(*(cache.needed(one) for one in named))


def locked_in(snapshot: Snapshot) -> set[str]:
    """Return every hash that a ``dvc.lock`` names."""
    return {one for entry in snapshot.locked.values() for one in [*entry.deps.values(), *entry.outs.values()]}


def deleted_runs(known: Known) -> list[str]:
    """Return the runs that were deleted in MLflow, but for those of promoted versions."""
    promoted = {record["run_id"] for record in known.records}
    runs = known.mirror.runs if known.mirror else {}
    return sorted(run for run, state in runs.items() if state.deleted and run not in promoted)
