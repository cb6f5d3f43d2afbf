"""Stage ``register``: a version in the registry, the gate, and promotion of what passes it."""

from dataclasses import asdict
from pathlib import Path

from blobwatch.artefact import Model
from blobwatch.files import whole_folder, write_json
from blobwatch.lineage import checkout, registry
from blobwatch.lineage.fingerprint import commit_of, fingerprint_of, take
from blobwatch.lineage.gate import Check, floors, not_worse
from blobwatch.lineage.promotion import ensure_champion, next_number, promote
from blobwatch.lineage.recording import read_metrics, record_evaluation
from blobwatch.lineage.store import Store, open_store
from blobwatch.params import Evaluate, Register
from blobwatch.progress import console

GATE = "gate.json"  # a DVC output: the same for the same candidate, whatever is deployed
DECISION = "decision.json"  # what was done about it, here and now


def register(
    root: Path,
    candidate: Path,
    reports: Path,
    subframes: Path,
    out: Path,
    settings: Register,
    evaluate: Evaluate,
    seed: int,
) -> dict:
    """Register a candidate, hold it against the gate, and promote it if it passes; return the decision.

    Parameters
    ----------
    root : Path
        The project's folder.
    candidate, reports, subframes : Path
        The model folder, its evaluation, and the subframes whose test split compares it with the champion.
    out : Path
        The folder for ``gate.json`` and ``decision.json``.
    settings, evaluate : Register, Evaluate
        The limits of the gate; the resamples and the confidence of the comparison.
    seed : int
        Of the resamples.
    """
    store, model = open_store(root), Model.load(candidate)
    absolute = floors(read_metrics(reports), settings.model_dump())
    champion = ensure_champion(root, store)
    same = sameness(model, *champion) if champion else ""
    if same:
        decision = {"verdict": "unchanged", "version": champion[1], "reasons": [same]}
        decision["checks"] = as_json(absolute)
    else:
        run_id, _ = record_evaluation(root, candidate, reports)
        version = version_of(root, store, model, run_id)
        checks = list(absolute)
        if champion:
            theirs = champion[0].folder
            checks.append(compare(theirs, candidate, subframes, settings.tolerance, evaluate, seed))
        decision = decide(root, model, version, checks)
    write_reports(out, model, absolute, decision)
    tell(decision)
    return decision


def sameness(model: Model, champion: Model, version: int) -> str:
    """Return the sentence that says why a candidate is no new model, or an empty one if it is new."""
    if model.sha256 == champion.sha256:
        return f"this candidate is the champion, version {version}"
    if fingerprint_of(model).sha256 == fingerprint_of(champion).sha256:
        return (
            f"this candidate was made from the same inputs as the champion, version {version}; "
            "the last bits of its weights differ, as on another processor, so the champion stays"
        )
    return ""


def version_of(root: Path, store: Store, model: Model, run_id: str) -> int:
    """Return the version of a candidate in the registry, which from now on is the challenger."""
    commit = commit_of(root, fingerprint_of(model))
    version = int(registry.register(store, model, run_id, commit, at_least=next_number(root)).version)
    registry.set_alias(store, registry.CHALLENGER, version)
    return version


def compare(
    champion: Path, candidate: Path, subframes: Path, tolerance: float, evaluate: Evaluate, seed: int
) -> Check:
    """Score both models on the test subframes and compare them by a paired bootstrap."""
    from blobwatch.detector.scoring import scores_on_test

    labels, rootnames, theirs = scores_on_test(champion, subframes)
    *_, mine = scores_on_test(candidate, subframes)
    settings = tolerance, evaluate.confidence, evaluate.bootstrap, seed
    return not_worse(labels, rootnames, theirs, mine, *settings)


def decide(root: Path, model: Model, version: int, checks: list[Check]) -> dict:
    """Promote a version if the gate and the state of the inputs allow it, else say why not and how to."""
    failed = [check.sentence for check in checks if not check.passed]
    reasons = failed + obstacles(root, model)
    decision = {"version": version, "checks": as_json(checks), "reasons": reasons}
    if reasons:
        command = f'blobwatch promote {version} --reason "..."'
        return decision | {"verdict": "refused" if failed else "held", "command": command}
    promote(root, version, "passed the gate: " + "; ".join(check.sentence for check in checks))
    return decision | {"verdict": "promoted"}


def obstacles(root: Path, model: Model) -> list[str]:
    """Return what keeps even a good model from being promoted unasked: its inputs are not in the commit."""
    if checkout.is_aside(root):
        home = checkout.main_checkout(root)
        return [f"this is a worktree or a queued experiment; bring it to {home}, commit, and promote there"]
    loose = checkout.uncommitted(root)
    if loose:
        named = ", ".join(loose[:5]) + (f" and {len(loose) - 5} more" if len(loose) > 5 else "")
        return [f"its inputs are not committed: {named}; commit them and promote"]
    now, then = take(root, "train"), fingerprint_of(model)
    if now.sha256 != then.sha256:
        changed = ", ".join(now.differences(then)) or "how a number is written"  # 1 is 1.0, but not in JSON
        return [f"it was not trained from what is here: {changed} differs; run `dvc repro`"]
    return []


def write_reports(out: Path, model: Model, absolute: list[Check], decision: dict) -> None:
    """Write both reports. The gate's holds nothing random and nothing of the day, so DVC sees no change."""
    with whole_folder(out) as folder:
        gate = {
            "fingerprint": fingerprint_of(model).sha256,
            "files": model.files,
            "checks": as_json(absolute),
            "passed": all(check.passed for check in absolute),
        }
        write_json(folder / GATE, gate)
        write_json(folder / DECISION, decision)


def as_json(checks: list[Check]) -> list[dict]:
    """Return the checks as plain mappings."""
    return [asdict(check) for check in checks]


def tell(decision: dict) -> None:
    """Print the decision: every check, then the verdict with its reasons or what to do next."""
    lines = [f"{'ok' if check['passed'] else 'FAILED'}: {check['sentence']}" for check in decision["checks"]]
    lines += decision["reasons"]
    if decision["verdict"] == "promoted":
        lines.append(
            f"version {decision['version']} is the champion; "
            "commit models/champion and models/promotions.jsonl"
        )
    if "command" in decision:
        lines.append(f"not promoted; to do it all the same: {decision['command']}")
    for line in lines:
        console.print(f"register: {line}", markup=False, highlight=False, soft_wrap=True)
