"""Promotion: a version becomes the champion, in the log, in ``models/champion/`` and in the registry.

The line in the log comes first. A kill after it leaves a promotion that ``ensure_champion`` finishes, since
the log names the version and the hashes of its files.
"""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from blobwatch.artefact import CHAMPION, MANIFEST, ONNX, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import whole_folder
from blobwatch.lineage import checkout, promotions, registry
from blobwatch.lineage.fingerprint import DIRTY, commit_of, fingerprint_of
from blobwatch.lineage.gate import FLOORS
from blobwatch.lineage.recording import run_of
from blobwatch.lineage.store import Store, open_store

FOLDER = Path(CHAMPION)
LOG = Path("models/promotions.jsonl")


def promote(root: Path, version: int, reason: str) -> dict:
    """Make a version of the registry the champion and return its record.

    Raises
    ------
    BlobwatchError
        If there is no reason or no such version, it is the champion already, its files are not what was
        registered, or this is a worktree or the folder of a queued DVC experiment.
    """
    if not reason.strip():
        raise BlobwatchError("a promotion needs a reason; say why with --reason")
    if checkout.is_aside(root):
        raise BlobwatchError(f"{root} is a side checkout; promote in {checkout.main_checkout(root)}")
    store = open_store(root)
    ensure_champion(root, store)  # a promotion that was cut short is finished first
    chosen = registry.get_version(store, version)
    refuse_second_model(promotions.read(root / LOG), version, chosen.tags[registry.SHA256 + ONNX])
    with tempfile.TemporaryDirectory() as folder:
        model = registry.fetch(store, chosen, Path(folder))
        record = promotions.append(root / LOG, record_of(root, store, chosen, model, reason))
        write_champion(root, model, record)
    registry.set_alias(store, registry.CHAMPION, version)
    return record


def ensure_champion(root: Path, store: Store) -> tuple[Model, int] | None:
    """Return the champion and its version in the registry, which is given it if it does not know it.

    The log of promotions is the truth: a promotion that was cut short is finished, and the alias set. The
    number is the log's, unless this registry had given that one away before.

    Raises
    ------
    BlobwatchError
        If ``models/champion/`` is neither what the log says nor what a cut-short promotion leaves.
    """
    records = promotions.read(root / LOG)
    there = (root / FOLDER / MANIFEST).is_file()
    if not records and not there:
        return None
    mend = f"restore both with `git checkout {FOLDER} {LOG}`"
    if not records:
        raise BlobwatchError(f"{FOLDER} holds a model, but {LOG} knows of no promotion; {mend}")
    record = records[-1]
    model = Model.load(root / FOLDER) if there else None
    if model is None or model.files != record["files"]:
        if model and model.files not in [one["files"] for one in records[-2:-1]]:
            raise BlobwatchError(f"{FOLDER} is not version {record['version']}, which {LOG} names; {mend}")
        finish(root, store, record)
        model = Model.load(root / FOLDER)
    run_id = run_of(store, root, model, commit=record["commit"])
    version = registry.register(store, model, run_id, record["commit"], at_least=record["version"])
    number, alias = int(version.version), registry.alias_of(store, registry.CHAMPION)
    # A side checkout may stand at an older log: it does not move an alias that there is.
    if alias is None or (alias != number and not checkout.is_aside(root)):
        registry.set_alias(store, registry.CHAMPION, number)
    return model, number


def next_number(root: Path) -> int:
    """Return the lowest number that a new version may have: above all that were ever promoted."""
    return 1 + max((record["version"] for record in promotions.read(root / LOG)), default=0)


def refuse_second_model(records: list[dict], version: int, sha256: str) -> None:
    """Refuse what is deployed already, and a number that the log gave to another model."""
    if records and records[-1]["files"][ONNX] == sha256:
        raise BlobwatchError(f"version {version} is the champion already; nothing is to be done")
    if any(one["version"] == version and one["files"][ONNX] != sha256 for one in records):
        raise BlobwatchError(
            f"version {version} is another model in {LOG}, promoted from elsewhere; delete version {version} "
            "in `mlflow ui` and run `dvc repro -f -s register` for a new number"
        )


def record_of(root: Path, store: Store, version, model: Model, reason: str) -> dict:
    """Return the record of a promotion, without the hash of the line before."""
    fingerprint = fingerprint_of(model)
    commit = version.tags[registry.COMMIT]
    if commit.endswith(DIRTY):
        commit = commit_of(root, fingerprint)  # it may have been committed since
    measured = store.client.get_run(version.run_id).data.metrics
    names = [f"{section}.{name}" for name, (section, *_) in FLOORS.items()]
    return {
        "action": "promote",
        "version": int(version.version),
        "run_id": version.run_id,
        "files": model.files,
        "fingerprint": fingerprint.sha256,
        "commit": commit,
        "data": fingerprint.parts["data"],
        "metrics": {name: measured[name] for name in names if name in measured},
        "who": checkout.author(root),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": reason.strip(),
    }


def write_champion(root: Path, model: Model, record: dict) -> None:
    """Write ``models/champion/``, whole or not at all."""
    with whole_folder(root / FOLDER) as folder:
        registry.write_deployable(folder, model, record["version"], record["run_id"])


def finish(root: Path, store: Store, record: dict) -> None:
    """Write ``models/champion/`` for a promotion whose line is in the log, out of the registry."""
    version = registry.find_version(store, record["files"][ONNX])
    if version is None:
        raise BlobwatchError(
            f"{LOG} says that version {record['version']} is deployed, but {FOLDER} is without it and this "
            f"registry does not know it; restore both with `git checkout {FOLDER} {LOG}`"
        )
    with tempfile.TemporaryDirectory() as folder:
        model = registry.fetch(store, version, Path(folder))
        if model.files != record["files"]:
            raise BlobwatchError(
                f"version {version.version} is not the model that the last line of {LOG} names"
            )
        write_champion(root, model, record)
