"""Deployment: a model becomes the champion, in the log, in ``models/champion/`` and in the registry.

The files are made ready beside the champion, then the line is written: from that rename on, the version is
deployed. What a kill leaves undone behind it, ``settle`` finishes; what it leaves before, ``settle`` removes.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from blobwatch.artefact import CHAMPION, MANIFEST, STAGING, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_folder, file_lock, write_text
from blobwatch.lineage import git
from blobwatch.lineage.promotion import promotion_log
from blobwatch.lineage.promotion.promotion_log import LOG
from blobwatch.lineage.restore import find_files
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.logging import run_of
from blobwatch.lineage.tracking.store import Store, open_store
from blobwatch.progress import console

LOCK = Path(".dvc/tmp/blobwatch/promotion.lock")
RESTORE = f"restore both with `git checkout {CHAMPION} {LOG}`"


def lock_deployment(root: Path, wait: float = 60.0) -> AbstractContextManager[None]:
    """Lock the deployment of a project and its worktrees; wait at most ``wait`` seconds for others."""
    busy = "another promotion is running in this folder; wait for it to end, then run the command again"
    return file_lock(git.main_checkout(root) / LOCK, wait, busy)


def deploy(root: Path, store: Store, model: Model, record: dict) -> dict:
    """Make a model the champion under a record; return the record as it is in the log.

    Call it inside `lock_deployment`. After a kill, the next command finds the old champion or the new one.

    Raises
    ------
    BlobwatchError
        If someone else promotes in this registry, or has done so and this log does not have it yet.
    """
    root = Path(root)
    (root / STAGING).mkdir(parents=True, exist_ok=True)  # first: it tells that something may be left to do
    with ExitStack() as held:
        try:
            held.enter_context(registry.claimed(store, name_of(root), record["who"]))
            refuse_old_log(root, store)
        except BlobwatchError:
            shutil.rmtree(root / STAGING)  # nothing was begun
            raise
        record, line = promotion_log.compose(root / LOG, record)
        with atomic_folder(root / STAGING / "next") as folder:
            registry.write_deployable(
                folder, model, record["version"], record["run_id"], promotion_log.line_hash(line)
            )
        promotion_log.append(root / LOG, line)
        settle_files(root)
        mirror(root, store, promotion_log.read(root / LOG))
    shutil.rmtree(root / STAGING)
    return record


def name_of(root: Path) -> str:
    """Return what a checkout is called in a registry; containers may have equal hosts and paths."""
    known = git.main_checkout(root) / LOCK.with_name("checkout")
    if not known.is_file():
        known.parent.mkdir(parents=True, exist_ok=True)
        write_text(known, uuid4().hex)
    return f"{socket.gethostname()}:{root.resolve()} ({known.read_text()[:8]})"


def settle(root: Path, store: Store) -> tuple[Model, int] | None:
    """Finish a deployment whose line is in the log, drop one whose line is not; return champion and version.

    The log is the truth: a registry that does not know the champion is given it, and the alias is set.
    """
    root = Path(root)
    records = promotion_log.read(root / LOG)
    settle_files(root)
    champion = mirror(root, store, records)
    if (root / STAGING).exists():
        registry.release(store, name_of(root))
        shutil.rmtree(root / STAGING)  # last
    return champion


def settle_files(root: Path) -> None:
    """Put the files that were made ready for the last line of the log in the champion's place."""
    ready, old = root / STAGING / "next", root / STAGING / "old"
    last = promotion_log.hashes(root / LOG)[-1:]
    try:
        if [Model.load(ready).promotion] != last:
            return
    except BlobwatchError:  # there is none, or a kill while it was removed left a part
        return
    if (root / CHAMPION).exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(root / CHAMPION, old)
    os.replace(ready, root / CHAMPION)


def mirror(root: Path, store: Store, records: list[dict]) -> tuple[Model, int] | None:
    """Give the registry the champion, and set its alias; return both, or None where nothing is deployed.

    The number is the log's, unless this registry had given that one away before.

    Raises
    ------
    BlobwatchError
        If ``models/champion/`` is not what the log says.
    """
    there = (root / CHAMPION / MANIFEST).is_file()
    if not records and not there:
        return None
    if not records:
        raise BlobwatchError(f"{CHAMPION} holds a model, but {LOG} knows of no promotion; {RESTORE}")
    record, line = records[-1], promotion_log.hashes(root / LOG)[-1]
    if not there:
        put_back(root, record, line)
    model = Model.load(root / CHAMPION)
    if model.files != record["files"]:
        raise BlobwatchError(f"{CHAMPION} is not version {record['version']}, which {LOG} names; {RESTORE}")
    run_id = run_of(store, root, model, commit=record["commit"])
    version = registry.register(store, model, run_id, record["commit"], at_least=record["version"])
    number, alias = int(version.version), registry.alias_of(store, registry.CHAMPION)
    if alias is None or (moved(root, store, alias, number, line) and not git.is_aside(root)):
        registry.set_champion(store, number, line, record["who"])
    return model, number


def moved(root: Path, store: Store, alias: int, number: int, line: str) -> bool:
    """Tell whether the alias is to be set: it does not point where this log says, and no newer log set it.

    A side checkout, or one that was not pulled, may stand at an older log.
    """
    said = promotion_tag(store, alias)
    return (alias, said) != (number, line) and not is_newer(root, said)


def is_newer(root: Path, line: str | None) -> bool:
    """Tell whether a line, by its hash, is of a log that goes on where this one ends."""
    return bool(line) and line not in promotion_log.hashes(root / LOG)


def promotion_tag(store: Store, version: int) -> str | None:
    """Return the hash of the line by which a version became the champion, where it did."""
    return registry.get_version(store, version).tags.get(registry.PROMOTION)


def refuse_old_log(root: Path, store: Store) -> None:
    """Refuse to promote where the registry's champion was promoted by a line that this log lacks."""
    alias = registry.alias_of(store, registry.CHAMPION)
    if alias is not None and is_newer(root, promotion_tag(store, alias)):
        who = registry.get_version(store, alias).tags.get(registry.PROMOTED_BY, "someone")
        raise BlobwatchError(
            f"{who} made version {alias} the champion, and {LOG} here does not know it; "
            "`git pull` the line and look again whether yours is better. If it was given up, delete the "
            f"alias {registry.CHAMPION} of {registry.MODEL} in MLflow and run `blobwatch sync`"
        )


def put_back(root: Path, record: dict, line: str) -> None:
    """Write ``models/champion/`` for a record anew, from wherever its files still are."""
    with restored(root, record) as model, atomic_folder(root / CHAMPION) as folder:
        registry.write_deployable(folder, model, record["version"], record["run_id"], line)


@contextmanager
def restored(root: Path, record: dict, store: Store | None = None) -> Iterator[Model]:
    """Yield the model of a record of the log, its files found by their hashes.

    Raises
    ------
    BlobwatchError
        If they are neither in a folder, nor in git, nor in DVC's cache, nor in the registry.
    """
    with tempfile.TemporaryDirectory() as folder:
        contents, _ = find_files(root, record["files"])
        for name, content in contents.items():
            (Path(folder) / name).write_bytes(content)
        version = registry.find_version(store, record["files"][MANIFEST]) if store and not contents else None
        if contents:
            yield Model.load(folder)
        elif version:
            yield registry.fetch(store, version, Path(folder))
        else:
            raise BlobwatchError(
                f"the files of version {record['version']} are neither in git nor in DVC's cache nor in the "
                f"registry; `dvc pull` or `dvc repro` at commit {record['commit'][:12]} brings them back"
            )


def ensure_champion(root: Path, store: Store) -> tuple[Model, int] | None:
    """Return the champion and its version; what a cut-short promotion left is settled first."""
    with lock_deployment(root):
        return settle(root, store)


def recover(root: Path) -> None:
    """Settle a promotion that was cut short, if there was one; where not, MLflow is not even loaded.

    Where that cannot be done now, the files alone are put in their place: whoever reads is not kept from it.
    """
    if not (Path(root) / STAGING).exists():
        return
    try:
        ensure_champion(root, open_store(root))
    except BlobwatchError as error:
        console.print(f"a promotion was cut short and is not settled: {error}", markup=False, soft_wrap=True)
        with lock_deployment(root):
            settle_files(Path(root))


def next_number(root: Path) -> int:
    """Return the lowest number that a new version may have: above all that were ever promoted."""
    return 1 + max((record["version"] for record in promotion_log.read(root / LOG)), default=0)
