"""Deployment of a champion: in the log, in ``models/champion/`` and in the registry.

The files are first written to a staging folder. The line in the log then makes the version the champion.
After a kill, ``finish_deployment`` completes a deployment that is in the log, and removes any other.
"""

import os
import shutil
import socket
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from uuid import uuid4

from blobwatch.artefact import CHAMPION, MANIFEST, STAGING, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_folder, file_lock, write_text
from blobwatch.lineage import git
from blobwatch.lineage.promotion import promotion_log
from blobwatch.lineage.promotion.history import rebuild_version, register_history, restore_model
from blobwatch.lineage.promotion.promotion_log import LOG
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.store import Store, open_store
from blobwatch.progress import console

LOCK = Path(".dvc/tmp/blobwatch/promotion.lock")
RESTORE = f"Restore both with `git checkout {CHAMPION} {LOG}`"


def lock_deployment(root: Path, wait: float = 60.0) -> AbstractContextManager[None]:
    """Lock the deployment of a project and its worktrees; wait at most ``wait`` seconds."""
    busy = "another promotion is running in this folder. Wait for it to end, then run the command again"
    return file_lock(git.main_checkout(root) / LOCK, wait, busy)


def deploy(root: Path, store: Store, model: Model, record: dict) -> dict:
    """Make a model the champion; return its record as written to the log.

    Requires `lock_deployment`. After a kill, the champion is either the old model or the new one.

    Raises
    ------
    BlobwatchError
        If another checkout is promoting in this registry, or this log lacks its last promotion.
    """
    root = Path(root)
    (root / STAGING).mkdir(parents=True, exist_ok=True)  # first, since it marks an unfinished deployment
    with ExitStack() as stack:
        try:
            stack.enter_context(registry.claim_registry(store, name_checkout(root), record["who"]))
            require_current_log(root, store)
        except BlobwatchError:
            shutil.rmtree(root / STAGING)  # nothing was changed
            raise
        record, line = promotion_log.compose(root / LOG, record)
        with atomic_folder(root / STAGING / "next") as folder:
            registry.write_deployable(
                folder, model, record["version"], record["run_id"], promotion_log.line_hash(line)
            )
        promotion_log.append(root / LOG, line)
        install_champion(root)
        update_registry(root, store, promotion_log.read(root / LOG))
    shutil.rmtree(root / STAGING)
    return record


def name_checkout(root: Path) -> str:
    """Return a unique name of a checkout; containers may have equal hosts and paths."""
    known = git.main_checkout(root) / LOCK.with_name("checkout")
    if not known.is_file():
        known.parent.mkdir(parents=True, exist_ok=True)
        write_text(known, uuid4().hex)
    return f"{socket.gethostname()}:{root.resolve()} ({known.read_text()[:8]})"


def finish_deployment(root: Path, store: Store) -> tuple[Model, int] | None:
    """Complete or remove an interrupted deployment; return the champion and its version.

    The log decides. A champion that the registry lacks is registered, and its alias is set.
    """
    root = Path(root)
    records = promotion_log.read(root / LOG)
    install_champion(root)
    champion = update_registry(root, store, records)
    if (root / STAGING).exists():
        registry.release_claim(store, name_checkout(root))
        shutil.rmtree(root / STAGING)  # last
    return champion


def install_champion(root: Path) -> None:
    """Move the staged files of the last log line to ``models/champion/``."""
    ready, old = root / STAGING / "next", root / STAGING / "old"
    last = promotion_log.hashes(root / LOG)[-1:]
    try:
        if [Model.load(ready).promotion] != last:
            return
    except BlobwatchError:  # absent, or partly removed when the process was killed
        return
    if (root / CHAMPION).exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(root / CHAMPION, old)
    os.replace(ready, root / CHAMPION)


def update_registry(root: Path, store: Store, records: list[dict]) -> tuple[Model, int] | None:
    """Register the champion and set its alias; return model and version, or None.

    The version is that of the log, unless this registry used that number for another model.

    Raises
    ------
    BlobwatchError
        If ``models/champion/`` differs from the log.
    """
    there = (root / CHAMPION / MANIFEST).is_file()
    if not records and not there:
        return None
    if not records:
        raise BlobwatchError(f"{CHAMPION} contains a model, but {LOG} contains no promotion. {RESTORE}")
    record, line = records[-1], promotion_log.hashes(root / LOG)[-1]
    if not there:
        with restore_model(root, record) as restored, atomic_folder(root / CHAMPION) as folder:
            registry.write_deployable(folder, restored, record["version"], record["run_id"], line)
    model = Model.load(root / CHAMPION)
    if model.files != record["files"]:
        raise BlobwatchError(f"{CHAMPION} is not version {record['version']} of {LOG}. {RESTORE}")
    if not registry.versions(store):
        register_history(root, store, records)  # first, since the registry assigns increasing numbers
    run_id = rebuild_version(root, store, model, record)
    version = registry.register(store, model, run_id, record["commit"], at_least=record["version"])
    number, alias = int(version.version), registry.get_alias(store, registry.CHAMPION)
    if alias is None or (needs_alias(root, store, alias, number, line) and not git.is_side_checkout(root)):
        registry.set_champion(store, number, line, record["who"])
    return model, number


def needs_alias(root: Path, store: Store, alias: int, number: int, line: str) -> bool:
    """Return whether the alias differs from this log and was not set by a newer log.

    A side checkout, or one that was not pulled, may have an older log.
    """
    promotion = find_promotion(store, alias)
    return (alias, promotion) != (number, line) and not log_lacks(root, promotion)


def log_lacks(root: Path, line: str | None) -> bool:
    """Return whether this log lacks the line with a hash."""
    return bool(line) and line not in promotion_log.hashes(root / LOG)


def find_promotion(store: Store, version: int) -> str | None:
    """Return the hash of the log line that promoted a version, or None."""
    return registry.get_version(store, version).tags.get(registry.PROMOTION)


def require_current_log(root: Path, store: Store) -> None:
    """Raise an error if this log lacks the promotion of the registry's champion."""
    alias = registry.get_alias(store, registry.CHAMPION)
    if alias is not None and log_lacks(root, find_promotion(store, alias)):
        who = registry.get_version(store, alias).tags.get(registry.PROMOTED_BY, "someone")
        raise BlobwatchError(
            f"{who} made version {alias} the champion, and {LOG} here lacks that line. "
            "Run `git pull` and compare your version again. If that promotion was abandoned, delete the "
            f"alias {registry.CHAMPION} of {registry.MODEL} in MLflow and run `blobwatch sync`"
        )


def ensure_champion(root: Path, store: Store) -> tuple[Model, int] | None:
    """Return the champion and its version, after completing an interrupted promotion."""
    with lock_deployment(root):
        return finish_deployment(root, store)


def recover(root: Path) -> None:
    """Complete an interrupted promotion, if there is one.

    Without one, MLflow is not loaded. If the registry is unavailable, only the files are installed.
    """
    if not (Path(root) / STAGING).exists():
        return
    try:
        ensure_champion(root, open_store(root))
    except BlobwatchError as error:
        console.print(f"an interrupted promotion is incomplete: {error}", markup=False, soft_wrap=True)
        with lock_deployment(root):
            install_champion(Path(root))


def next_number(root: Path) -> int:
    """Return the lowest number for a new version: one above every promoted version."""
    return 1 + max((record["version"] for record in promotion_log.read(root / LOG)), default=0)
