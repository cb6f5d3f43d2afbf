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
from blobwatch.lineage import git
from blobwatch.lineage.dvc_cache import FILES, Cache
from blobwatch.lineage.fingerprint import is_data
from blobwatch.lineage.model_version import Known, Subject
from blobwatch.lineage.pipeline import Locked, parse_lock
from blobwatch.lineage.promotion.deployment import lock_deployment, recover
from blobwatch.lineage.restore import pinned_in, read_file


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
    unknown : dict of str to list of str
        For whom nobody knows what some folders hold, since their listings are not here.
    deleted_runs : list of str
        Runs that were deleted in MLflow and that no promoted version needs.
    """

    removable: dict[str, Path]
    size: int
    kept: dict[str, int]
    unknown: dict[str, list[str]]
    deleted_runs: list[str]


def clean_up(root: Path, delete: bool = False, lost: bool = False) -> Cleanup:
    """Find what nothing needs; with ``delete``, remove it.

    Parameters
    ----------
    root : Path
        The project's folder.
    delete : bool
    lost : bool
        Folders whose listings are not here are lost anyway: what they held may go.

    Raises
    ------
    BlobwatchError
        If the cache may serve other projects, a stage is running, or it cannot be told what a promoted
        version needs.
    """
    root = Path(root)
    recover(root)
    cache = Cache.of(root)
    with lock_deployment(root, wait=0), undisturbed(root, cache):
        known = Known.of(root)
        named = {"the project as it lies here": named_here(root)}
        for version in sorted({record["version"] for record in known.records}):
            named[f"version {version}"] = named_by(Subject.find(root, known, version))
        needs = {who: cache.needed(hashes) for who, hashes in named.items()}
        unknown = {who: sorted(folders) for who, (_, folders) in needs.items() if folders}
        stored, keep = cache.stored(), set().union(*(hashes for hashes, _ in needs.values()))
        removable = {name: path for name, path in stored.items() if name not in keep}
        size = sum(path.stat().st_size for path in removable.values())
        if delete and unknown and removable and not lost:
            raise BlobwatchError(
                f"nobody knows what folders of {', '.join(unknown)} hold, since their listings are not here; "
                "`dvc fetch` brings them, or say with --lost that what they held is lost anyway"
            )
        if delete:
            for path in removable.values():
                path.unlink()
    kept = {who: len(hashes & stored.keys()) for who, (hashes, _) in needs.items()}
    return Cleanup(removable, size, kept, unknown, deleted_runs(known))


@contextmanager
def undisturbed(root: Path, cache: Cache) -> Iterator[None]:
    """Hold DVC's lock, so that nothing is added; refuse while a stage runs, or on a shared cache."""
    from dvc.lock import LockError
    from dvc.repo import Repo

    repo = Repo(str(root))
    if not cache.own or Path(repo.cache.local.path).resolve() != (cache.home / FILES).resolve():
        raise BlobwatchError(
            f"the cache {repo.cache.local.path} is set in DVC's configuration and may serve other projects; "
            "nothing is removed"
        )
    try:
        with repo.lock:
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


def named_here(root: Path) -> set[str]:
    """Return the hashes that ``dvc.lock`` and the ``.dvc`` files name, as they lie here and as committed."""
    tracked = (git.git(root, "ls-files", "--", "*.dvc") or "").splitlines()
    there = git.files_at(root, "HEAD", ["dvc.lock", *tracked])
    lying = [
        path for path in root.rglob("*.dvc") if path.is_file() and not path.is_relative_to(root / ".dvc")
    ]
    locks = [content for content in (read_file(root / "dvc.lock"), there.pop("dvc.lock", None)) if content]
    named = {one for content in locks for one in hashes_of(parse_lock(content.decode()))}
    for content in [*there.values(), *(path.read_bytes() for path in lying)]:
        named.update(pinned_in(content))
    return named


def named_by(subject: Subject) -> set[str]:
    """Return the hashes of all that made a promoted version, its own files too.

    Raises
    ------
    BlobwatchError
        If its files or the ``dvc.lock`` that made it are not found, so that nobody knows.
    """
    found = subject.snapshots()
    if not found:
        raise BlobwatchError(
            f"nobody knows what version {subject.version} needs: its files or its dvc.lock are not found, so "
            f"nothing is removed; `blobwatch audit {subject.version}` says more"
        )
    named = {md5(content).hexdigest() for content in subject.contents.values()}
    named |= {row["md5"] for row in subject.exposures}
    return named.union(*(hashes_of(snapshot.locked) for snapshot in found))


def hashes_of(locked: dict[str, Locked]) -> set[str]:
    """Return the hash of all data that a ``dvc.lock`` names; what lies in git is not in the cache."""
    made = {md5sum for entry in locked.values() for md5sum in entry.outs.values()}
    taken = {md5sum for entry in locked.values() for path, md5sum in entry.deps.items() if is_data(path)}
    return made | taken


def deleted_runs(known: Known) -> list[str]:
    """Return the runs that were deleted in MLflow, but for those of promoted and of registered versions."""
    promoted = {record["fingerprint"] for record in known.records}
    runs = known.mirror.runs if known.mirror else {}
    used = {version.run_id for version in known.mirror.versions.values()} if known.mirror else set()
    return sorted(
        run
        for run, state in runs.items()
        if state.deleted and state.fingerprint not in promoted and run not in used
    )
