"""Command ``sync``: add runs and versions that MLflow lacks, from the files.

DVC restores outputs from its cache without running a stage, and a clone has no MLflow store. Such runs are
rebuilt from the manifest of the model and the reports.
"""

from pathlib import Path

from blobwatch.artefact import MANIFEST, Model
from blobwatch.lineage import git
from blobwatch.lineage.fingerprint import dependency_hash, read_receipt, receipt_path
from blobwatch.lineage.origin import fingerprint_of
from blobwatch.lineage.pipeline import parse_lock
from blobwatch.lineage.promotion import promotion_log
from blobwatch.lineage.promotion.deployment import ensure_champion, lock_deployment
from blobwatch.lineage.promotion.history import register_history, restore_reports
from blobwatch.lineage.promotion.promotion_log import LOG
from blobwatch.lineage.restore import find_contradiction, read_snapshot
from blobwatch.lineage.tracking.logging import find_or_rebuild_run, log_reports, record_evaluation
from blobwatch.lineage.tracking.runs import EXPERIMENT_NAME, find_run
from blobwatch.lineage.tracking.store import Store, open_store
from blobwatch.progress import console

CANDIDATE = Path("models/candidate")
HISTORY = Path("reports/train/history.csv")
EVALUATION = Path("reports/evaluate")


def sync(root: Path) -> list[str]:
    """Find or rebuild the run of the candidate, all promoted versions and the DVC experiments.

    Return one message per step. A second call changes nothing.
    """
    root = Path(root)
    store = open_store(root)
    done = [*sync_candidate(root, store), *sync_history(root, store), sync_champion(root, store)]
    for line in done:
        console.print(f"sync: {line}", markup=False, highlight=False, soft_wrap=True)
    return done


def sync_candidate(root: Path, store: Store) -> list[str]:
    """Find or rebuild the run of the candidate; log its evaluation."""
    if not (root / CANDIDATE / MANIFEST).is_file():
        return [f"no model in {CANDIDATE}"]
    candidate = Model.load(root / CANDIDATE)
    fingerprint = fingerprint_of(candidate)
    known = find_run(store, fingerprint.sha256) is not None
    run_id = find_or_rebuild_run(store, root, fingerprint, root / HISTORY)
    done = [
        f"the candidate's run is {run_id}, {'found by its fingerprint' if known else 'rebuilt from files'}"
    ]
    if not is_evaluated(root):
        return [*done, f"{EVALUATION} describes another candidate. Run `dvc repro evaluate`"]
    _, logged = record_evaluation(root, root / CANDIDATE, root / EVALUATION)
    return [*done, f"its evaluation {'was logged' if logged else 'is already logged'}"]


def sync_history(root: Path, store: Store) -> list[str]:
    """Rebuild the promoted versions and the DVC experiments in git that MLflow lacks."""
    with lock_deployment(root):
        messages = register_history(root, store, promotion_log.read(root / LOG))
    for name, commit in git.experiments(root):
        snapshot = read_snapshot(root, commit)
        receipt = read_receipt(snapshot.read(receipt_path("train")))
        if receipt is None or find_run(store, receipt[0].sha256) is not None:
            continue
        with restore_reports(snapshot) as folder:
            if folder is None or find_contradiction(snapshot, "train"):
                messages.append(f"experiment {name} has no valid evaluation in git. Run `dvc exp run` again")
                continue
            history = folder / HISTORY
            run_id = find_or_rebuild_run(store, root, receipt[0], history, commit)
            log_reports(store, run_id, folder / EVALUATION, receipt[0])
            store.client.set_tag(run_id, EXPERIMENT_NAME, name)
            messages.append(f"experiment {name} was rebuilt from git")
    return messages


def sync_champion(root: Path, store: Store) -> str:
    """Register the champion if the registry lacks it."""
    found = ensure_champion(root, store)
    if found is None:
        return "no champion yet"
    champion, version = found
    return f"the champion is version {version} of the registry, sha256 {champion.sha256[:12]}"


def is_evaluated(root: Path) -> bool:
    """Return whether ``dvc.lock`` contains the candidate and these reports."""
    lock = root / "dvc.lock"
    stage = parse_lock(lock.read_text()).get("evaluate") if lock.is_file() else None
    if stage is None:
        return False
    locked = {
        Path(path): md5
        for path, md5 in (stage.deps | stage.outs).items()
        if Path(path).is_relative_to(CANDIDATE) or Path(path).is_relative_to(EVALUATION)
    }
    if {path.parts[0] for path in locked} != {"models", "reports"}:
        return False
    if not all((root / path).exists() for path in locked):
        return False
    return all(dependency_hash(root / path) == md5 for path, md5 in locked.items())
