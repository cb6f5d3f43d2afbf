"""``blobwatch sync``: what the files know and MLflow does not, told to MLflow.

DVC restores outputs from its cache without running a stage, and a clone brings no MLflow store: then the
run behind a model is rebuilt from the model's manifest and the reports.
"""

from pathlib import Path

from blobwatch.artefact import MANIFEST, Model
from blobwatch.lineage.fingerprint import dependency_hash
from blobwatch.lineage.origin import fingerprint_of
from blobwatch.lineage.pipeline import parse_lock
from blobwatch.lineage.promotion.deployment import ensure_champion
from blobwatch.lineage.tracking.logging import find_or_rebuild_run, record_evaluation
from blobwatch.lineage.tracking.runs import find_run
from blobwatch.lineage.tracking.store import Store, open_store
from blobwatch.progress import console

CANDIDATE = Path("models/candidate")
HISTORY = Path("reports/train/history.csv")
EVALUATION = Path("reports/evaluate")


def sync(root: Path) -> list[str]:
    """Find or rebuild the run of the candidate and the version of the champion; return what was done.

    Running it twice changes nothing.
    """
    root = Path(root)
    store = open_store(root)
    done = [*sync_candidate(root, store), sync_champion(root, store)]
    for line in done:
        console.print(f"sync: {line}", markup=False, highlight=False, soft_wrap=True)
    return done


def sync_candidate(root: Path, store: Store) -> list[str]:
    """Find or rebuild the run of the candidate, and give it the evaluation if that is of this candidate."""
    if not (root / CANDIDATE / MANIFEST).is_file():
        return [f"no model in {CANDIDATE}"]
    candidate = Model.load(root / CANDIDATE)
    known = find_run(store, fingerprint_of(candidate).sha256) is not None
    run_id = find_or_rebuild_run(store, root, candidate, root / HISTORY)
    done = [
        f"the candidate's run is {run_id}, {'found by its fingerprint' if known else 'rebuilt from files'}"
    ]
    if not is_evaluated(root):
        return [*done, f"{EVALUATION} is not of this candidate; run `dvc repro evaluate`"]
    _, logged = record_evaluation(root, root / CANDIDATE, root / EVALUATION)
    return [*done, f"its evaluation {'was logged' if logged else 'is there already'}"]


def sync_champion(root: Path, store: Store) -> str:
    """Give the registry the champion if it does not know it."""
    found = ensure_champion(root, store)
    if found is None:
        return "no champion yet"
    champion, version = found
    return f"the champion is version {version} of the registry, sha256 {champion.sha256[:12]}"


def is_evaluated(root: Path) -> bool:
    """Tell whether the reports are of this candidate: ``dvc.lock`` joins them as they are now."""
    lock = root / "dvc.lock"
    stage = parse_lock(lock.read_text()).get("evaluate") if lock.is_file() else None
    if stage is None:
        return False
    joined = {path: md5 for path, md5 in (stage.deps | stage.outs).items() if is_joined(path)}
    sides = {Path(path).parts[0] for path in joined}
    there = all((root / path).exists() for path in joined)
    return (
        sides == {"models", "reports"}
        and there
        and all(dependency_hash(root / path) == md5 for path, md5 in joined.items())
    )


def is_joined(path: str) -> bool:
    """Tell whether a path is the candidate or part of its evaluation."""
    return Path(path).is_relative_to(CANDIDATE) or Path(path).is_relative_to(EVALUATION)
