"""Promotion: a version becomes the champion, in the log, in ``models/champion/`` and in the registry.

The line in the log comes first. A kill after it leaves a promotion that ``ensure_champion`` finishes, since
the log names the version and the hashes of its files.
"""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import whole_folder, write_json
from blobwatch.lineage import checkout, promotions, registry
from blobwatch.lineage.artefact import DEPLOYED, MANIFEST, Artefact, read_artefact
from blobwatch.lineage.fingerprint import take
from blobwatch.lineage.gate import FLOORS
from blobwatch.lineage.recording import run_of
from blobwatch.lineage.store import Store, open_store

FOLDER = Path("models/champion")
LOG = Path("models/promotions.jsonl")
DIRTY = "-dirty"


def promote(root: Path, version: int, reason: str) -> dict:
    """Make a version of the registry the champion and return its record.

    Raises
    ------
    BlobwatchError
        If there is no reason, no such version, its files are not what was registered, or this is the
        folder of a queued DVC experiment, which is deleted afterwards.
    """
    if not reason.strip():
        raise BlobwatchError("a promotion needs a reason; say why with --reason")
    if checkout.experiment_home(root) is not None:
        raise BlobwatchError(f"{root} is the folder of a queued experiment; promote in the project itself")
    store = open_store(root)
    chosen = registry.get_version(store, version)
    refuse_second_model(promotions.read(root / LOG), version, chosen.tags)
    with tempfile.TemporaryDirectory() as folder:
        artefact = registry.fetch(store, chosen, Path(folder))
        record = promotions.append(root / LOG, record_of(root, store, chosen, artefact, reason))
        write_champion(root, artefact, record)
    registry.set_alias(store, registry.CHAMPION, version)
    return record


def ensure_champion(root: Path, store: Store) -> tuple[Artefact, int] | None:
    """Return the champion and its version in the registry, which is given it if it does not know it.

    The log of promotions is the truth: a promotion that was cut short is finished, and the alias set.

    Raises
    ------
    BlobwatchError
        If ``models/champion/`` is neither what the log says nor what a cut-short promotion leaves.
    """
    records = promotions.read(root / LOG)
    there = files_of(root / FOLDER)
    if not records and there is None:
        return None
    mend = f"restore both with `git checkout {FOLDER} {LOG}`"
    if not records:
        raise BlobwatchError(f"{FOLDER} holds a model, but {LOG} knows of no promotion; {mend}")
    record = records[-1]
    before = records[-2]["files"] if len(records) > 1 else None
    if there != record["files"]:
        if there != before:
            raise BlobwatchError(f"{FOLDER} is not version {record['version']}, which {LOG} names; {mend}")
        finish(root, store, record)
    artefact = read_artefact(root / FOLDER)
    run_id = run_of(store, root, artefact)
    version = registry.register(store, artefact, run_id, record["commit"], at_least=record["version"])
    if registry.alias_of(store, registry.CHAMPION) != int(version.version):
        registry.set_alias(store, registry.CHAMPION, int(version.version))
    return artefact, int(version.version)


def commit_of(root: Path, fingerprint: str) -> str:
    """Return the commit of a training's inputs, with ``-dirty`` behind it if they are not those in it."""
    commit = checkout.commit(root)
    clean = bool(commit) and not checkout.uncommitted(root) and take(root, "train").sha256 == fingerprint
    return commit if clean else commit + DIRTY


def next_number(root: Path) -> int:
    """Return the lowest number that a new version may have: above all that were ever promoted."""
    return 1 + max((record["version"] for record in promotions.read(root / LOG)), default=0)


def refuse_second_model(records: list[dict], version: int, tags: dict[str, str]) -> None:
    """Refuse a number that the log gave to another model, promoted from another registry."""
    for record in records:
        other = record["files"]["model.onnx"] != tags[f"{registry.SHA256}model.onnx"]
        if record["version"] == version and other:
            raise BlobwatchError(
                f"version {version} is another model in {LOG}, promoted from elsewhere; delete version "
                f"{version} in `mlflow ui` and run `dvc repro -f -s register` for a new number"
            )


def record_of(root: Path, store: Store, version, artefact: Artefact, reason: str) -> dict:
    """Return the record of a promotion, without the hash of the line before."""
    commit = version.tags[registry.COMMIT]
    if commit.endswith(DIRTY):
        commit = commit_of(root, artefact.fingerprint)  # it may have been committed since
    measured = store.client.get_run(version.run_id).data.metrics
    names = [f"{section}.{name}" for name, (section, *_) in FLOORS.items()]
    return {
        "action": "promote",
        "version": int(version.version),
        "run_id": version.run_id,
        "files": artefact.files,
        "fingerprint": artefact.fingerprint,
        "commit": commit,
        "data": artefact.manifest["data"],
        "metrics": {name: measured[name] for name in names if name in measured},
        "who": checkout.author(root),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": reason.strip(),
    }


def write_champion(root: Path, artefact: Artefact, record: dict) -> None:
    """Write ``models/champion/``: the files of the model and what it is called."""
    with whole_folder(root / FOLDER) as folder:
        for name in artefact.files:
            shutil.copyfile(artefact.folder / name, folder / name)
        write_json(
            folder / DEPLOYED,
            {"name": registry.NAME, "version": record["version"], "run_id": record["run_id"]},
        )


def files_of(folder: Path) -> dict[str, str] | None:
    """Return the sha256 of each file of a model folder, or None if no model is there."""
    return read_artefact(folder).files if (folder / MANIFEST).is_file() else None


def finish(root: Path, store: Store, record: dict) -> None:
    """Write ``models/champion/`` for a promotion whose line is in the log, out of the registry."""
    version = registry.find_version(store, record["files"]["model.onnx"])
    if version is None:
        raise BlobwatchError(
            f"{LOG} says that version {record['version']} is deployed, but {FOLDER} is without it and this "
            f"registry does not know it; restore both with `git checkout {FOLDER} {LOG}`"
        )
    with tempfile.TemporaryDirectory() as folder:
        artefact = registry.fetch(store, version, Path(folder))
        if artefact.files != record["files"]:
            raise BlobwatchError(
                f"version {version.version} is not the model that the last line of {LOG} names"
            )
        write_champion(root, artefact, record)
