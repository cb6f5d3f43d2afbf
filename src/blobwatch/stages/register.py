"""Stage ``register``: a version in the registry, the gates, and promotion of what passes them."""

from dataclasses import asdict
from pathlib import Path

from blobwatch.artefact import Model
from blobwatch.files import atomic_folder, write_json
from blobwatch.lineage import git
from blobwatch.lineage.origin import commit_of, fingerprint_of
from blobwatch.lineage.promotion.commands import record_of, tell
from blobwatch.lineage.promotion.criteria import Check, floors
from blobwatch.lineage.promotion.deployment import deploy, lock_deployment, next_number, settle
from blobwatch.lineage.promotion.gate import OF_STATE, judge
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.logging import read_metrics, record_evaluation
from blobwatch.lineage.tracking.store import Store, open_store
from blobwatch.params import Params
from blobwatch.progress import console

GATE = "gate.json"  # a DVC output: the same for the same candidate, whatever is deployed
DECISION = "decision.json"  # what was done about it, here and now


def register(root: Path, candidate: Path, reports: Path, out: Path, params: Params) -> dict:
    """Register a candidate, hold it against the gates, and promote it if it passes; return the decision.

    Parameters
    ----------
    root : Path
        The project's folder.
    candidate, reports : Path
        The model folder, and its evaluation.
    out : Path
        The folder for ``gate.json`` and ``decision.json``.
    params : Params
        The limits of the gates, and how the comparison with the champion is made.
    """
    store, model, metrics = open_store(root), Model.load(candidate), read_metrics(reports)
    absolute = floors(metrics, params.register_.model_dump())
    with lock_deployment(root, wait=600.0):
        champion = settle(root, store)
        same = sameness(model, *champion) if champion else ""
        if same:
            decision = {"verdict": "unchanged", "version": champion[1], "reasons": [same]}
            decision["checks"] = as_json(absolute)
        else:
            run_id, _ = record_evaluation(root, candidate, reports)
            decision = decide(root, store, model, run_id, metrics, champion, params)
    write_reports(out, model, absolute, decision)
    announce(decision)
    return decision


def sameness(model: Model, champion: Model, version: int) -> str:
    """Return the sentence that says why a candidate is no new model, or an empty one if it is new."""
    if model.files == champion.files:
        return f"this candidate is the champion, version {version}"
    if fingerprint_of(model).sha256 == fingerprint_of(champion).sha256:
        return (
            f"this candidate was made from the same inputs as the champion, version {version}; "
            "the last bits of its weights differ, as on another processor, so the champion stays"
        )
    return ""


def decide(
    root: Path,
    store: Store,
    model: Model,
    run_id: str,
    metrics: dict,
    champion: tuple[Model, int] | None,
    params: Params,
) -> dict:
    """Make a version of a candidate and promote it if every gate allows it, else say why not and how to."""
    commit = commit_of(root, fingerprint_of(model))
    version = registry.register(store, model, run_id, commit, at_least=next_number(root))
    number = int(version.version)
    registry.set_alias(store, registry.CHALLENGER, number)
    checks = judge(root, model, metrics, champion[0] if champion else None, params)
    failed = [check for check in checks if not check.passed]
    reasons = [check.sentence for check in failed] + obstacles(root, model, champion)
    decision = {"version": number, "checks": as_json(checks), "reasons": reasons}
    if reasons:
        verdict = "refused" if any(check.name not in OF_STATE for check in failed) else "held"
        command = f'blobwatch promote {number} --reason "..."' + (" --force" if verdict == "refused" else "")
        return decision | {"verdict": verdict, "command": command}
    reason = "passed the gate: " + "; ".join(check.sentence for check in checks)
    deploy(root, store, model, record_of(root, version, model, metrics, reason, []))
    return decision | {"verdict": "promoted"}


def obstacles(root: Path, model: Model, champion: tuple[Model, int] | None) -> list[str]:
    """Return what keeps even a good model from being promoted unasked."""
    if git.is_aside(root):
        home = git.main_checkout(root)
        return [f"this is a worktree or a queued experiment; bring it to {home}, commit, and promote there"]
    if champion and model.sha256 == champion[0].sha256:
        return [
            f"it answers byte for byte as the champion, version {champion[1]}, does, and only its lineage is "
            "another; promote it if that is to be the deployed one's"
        ]
    return []


def write_reports(out: Path, model: Model, absolute: list[Check], decision: dict) -> None:
    """Write both reports. The gate's holds nothing random and nothing of the day, so DVC sees no change."""
    with atomic_folder(out) as folder:
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


def announce(decision: dict) -> None:
    """Print the decision: every check, then the verdict with its reasons or what to do next."""
    tell("register", [Check(**check) for check in decision["checks"]])
    lines = list(decision["reasons"])
    if decision["verdict"] == "promoted":
        lines.append(
            f"version {decision['version']} is the champion; "
            "commit models/champion and models/promotions.jsonl"
        )
    if "command" in decision:
        lines.append(f"not promoted; to do it all the same: {decision['command']}")
    for line in lines:
        console.print(f"register: {line}", markup=False, highlight=False, soft_wrap=True)
