"""Promoted versions from git: their files, their evaluation, and their entries in MLflow."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path

from blobwatch.artefact import MANIFEST, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import listing_hash
from blobwatch.lineage import git
from blobwatch.lineage.origin import fingerprint_of
from blobwatch.lineage.restore import Snapshot, find_files, find_snapshots
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.headlines import log_headlines
from blobwatch.lineage.tracking.logging import find_or_rebuild_run, record_evaluation
from blobwatch.lineage.tracking.runs import find_run
from blobwatch.lineage.tracking.store import Store

REPORTS = ["reports/evaluate", "reports/train"]
METRICS = "reports/evaluate/metrics.json"


@contextmanager
def restore_model(root: Path, record: dict, store: Store | None = None) -> Iterator[Model]:
    """Yield the model of a record; its files are found by their hashes.

    Raises
    ------
    BlobwatchError
        If no model folder, git commit, DVC cache or registry contains the files.
    """
    with tempfile.TemporaryDirectory() as folder:
        contents, _ = find_files(root, record["files"])
        for name, content in contents.items():
            (Path(folder) / name).write_bytes(content)
        if contents:
            yield Model.load(folder)
        elif store and (version := registry.find_version(store, record["files"][MANIFEST])):
            yield registry.fetch(store, version, Path(folder))
        else:
            raise BlobwatchError(
                f"version {record['version']}: its files are missing in git, DVC's cache and the registry. "
                f"Run `dvc pull` or `dvc repro` at commit {record['commit'][:12]}"
            )


def register_history(root: Path, store: Store, records: list[dict]) -> list[str]:
    """Register the promoted versions that the registry lacks; return one message per version.

    The registry assigns increasing numbers. A version is skipped if the registry has a later one.
    """
    registered = registry.versions(store)
    present = {one.tags.get(registry.SHA256 + MANIFEST) for one in registered}
    highest = max((int(one.version) for one in registered), default=0)
    missing = {one["version"]: one for one in records if one["files"][MANIFEST] not in present}
    messages = []
    for number, record in sorted(missing.items()):
        if number <= highest:
            messages.append(
                f"version {number} is not in MLflow, which has version {highest} already. To rebuild all "
                "versions, move the database away and run `blobwatch sync`"
            )
            continue
        try:
            with restore_model(root, record) as model:
                run_id = rebuild_version(root, store, model, record)
                registry.register(store, model, run_id, record["commit"], at_least=number)
            messages.append(f"version {number} was rebuilt from git")
        except BlobwatchError as error:
            messages.append(f"version {number} was not rebuilt: {error}")
    return messages


def rebuild_version(root: Path, store: Store, model: Model, record: dict) -> str:
    """Return the run of a version; rebuild a missing run.

    The new run contains the evaluation, or only the recorded metrics if the evaluation is lost.
    """
    fingerprint = fingerprint_of(model)
    found = find_run(store, fingerprint.sha256)
    if found is not None:
        return found.info.run_id
    made = listing_hash({name: md5((model.folder / name).read_bytes()).hexdigest() for name in model.files})
    for snapshot in find_snapshots(root, made):
        with restore_reports(snapshot) as folder:
            if folder is not None:
                history = folder / "reports/train/history.csv"
                reports = folder / "reports/evaluate"
                return record_evaluation(root, model.folder, reports, history, record["commit"])[0]
    run_id = find_or_rebuild_run(store, root, fingerprint, commit=record["commit"])
    log_headlines(store, run_id, record["metrics"])
    return run_id


@contextmanager
def restore_reports(snapshot: Snapshot) -> Iterator[Path | None]:
    """Yield a folder with the reports of a commit.

    Yield None if ``dvc.lock`` of the commit records another evaluation.
    """
    files = git.files_at(snapshot.root, snapshot.commit, REPORTS) if snapshot.commit else {}
    if METRICS not in files or snapshot.outs.get(METRICS) != md5(files[METRICS]).hexdigest():
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(content)
        yield Path(folder)
