"""Stage ``register``: registration, gate and promotion of the candidate."""

from dataclasses import asdict
from pathlib import Path

from blobwatch.artefact import Model
from blobwatch.files import atomic_folder, write_json
from blobwatch.lineage import git
from blobwatch.lineage.origin import commit_of, fingerprint_of
from blobwatch.lineage.promotion.commands import build_record, print_checks
from blobwatch.lineage.promotion.criteria import Check, check_floors
from blobwatch.lineage.promotion.deployment import deploy, finish_deployment, lock_deployment, next_number
from blobwatch.lineage.promotion.gate import STATE_CHECKS, run_gates
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.logging import read_metrics, record_evaluation
from blobwatch.lineage.tracking.store import Store, open_store
from blobwatch.params import Params
from blobwatch.progress import console

GATE, DECISION = "gate.json", "decision.json"


def register(root: Path, candidate: Path, reports: Path, out: Path, params: Params) -> dict:
    """Register a candidate and promote it if it passes the gate.

    Parameters
    ----------
    root : Path
        Project folder.
    candidate, reports : Path
        Model folder and its evaluation.
    out : Path
        Output folder for ``gate.json`` and ``decision.json``.
    params : Params
        Limits of the gate, and settings of the comparison with the champion.

    Returns
    -------
    dict
        Content of ``decision.json``.
    """
    store, model, metrics = open_store(root), Model.load(candidate), read_metrics(reports)
    absolute = check_floors(metrics, params.register_.model_dump())
    with lock_deployment(root, wait=600.0):
        champion = finish_deployment(root, store)
        if champion and (same := explain_unchanged(model, *champion)):
            decision = {"verdict": "unchanged", "version": champion[1], "reasons": [same]}
            decision["checks"] = [asdict(check) for check in absolute]
        else:
            run_id, _ = record_evaluation(root, candidate, reports)
            decision = register_new_version(root, store, model, run_id, metrics, champion, params)
    gate = {  # a DVC output: it depends on the candidate only
        "fingerprint": fingerprint_of(model).sha256,
        "files": model.files,
        "checks": [asdict(check) for check in absolute],
        "passed": all(check.passed for check in absolute),
    }
    with atomic_folder(out) as folder:
        write_json(folder / GATE, gate)
        write_json(folder / DECISION, decision)
    print_decision(decision)
    return decision


def explain_unchanged(model: Model, champion: Model, version: int) -> str:
    """Return why a candidate equals the champion, or an empty string."""
    if model.files == champion.files:
        return f"this candidate is the champion, version {version}"
    if fingerprint_of(model).sha256 == fingerprint_of(champion).sha256:
        return (
            f"this candidate was made from the same inputs as the champion, version {version}; "
            "its weights differ only by rounding, so the champion stays"
        )
    return ""


def register_new_version(
    root: Path,
    store: Store,
    model: Model,
    run_id: str,
    metrics: dict,
    champion: tuple[Model, int] | None,
    params: Params,
) -> dict:
    """Register a version; promote it if every check passes. Return the decision."""
    commit = commit_of(root, fingerprint_of(model))
    version = registry.register(store, model, run_id, commit, at_least=next_number(root))
    number = int(version.version)
    registry.set_alias(store, registry.CHALLENGER, number)
    checks = run_gates(root, model, metrics, champion[0] if champion else None, params)
    failed = [check for check in checks if not check.passed]
    reasons = [check.sentence for check in failed] + list_obstacles(root, model, champion)
    decision = {"version": number, "checks": [asdict(check) for check in checks], "reasons": reasons}
    if reasons:
        verdict = "refused" if any(check.name not in STATE_CHECKS for check in failed) else "held"
        command = f'blobwatch promote {number} --reason "..."' + (" --force" if verdict == "refused" else "")
        return decision | {"verdict": verdict, "command": command}
    reason = "passed the gate: " + "; ".join(check.sentence for check in checks)
    deploy(root, store, model, build_record(root, version, model, metrics, reason, []))
    return decision | {"verdict": "promoted"}


def list_obstacles(root: Path, model: Model, champion: tuple[Model, int] | None) -> list[str]:
    """Return the reasons against an automatic promotion of a good model."""
    if git.is_side_checkout(root):
        home = git.main_checkout(root)
        return [f"this is a worktree or a queued experiment. Apply it in {home}, commit and promote there"]
    if champion and model.sha256 == champion[0].sha256:
        return [
            f"the model is identical to the champion, version {champion[1]}, except for its lineage. "
            "Promote it to deploy the new lineage"
        ]
    return []


def print_decision(decision: dict) -> None:
    """Print every check, the reasons and the next step."""
    print_checks("register", [Check(**check) for check in decision["checks"]])
    lines = list(decision["reasons"])
    if decision["verdict"] == "promoted":
        lines.append(
            f"version {decision['version']} is the champion. "
            "Commit models/champion and models/promotions.jsonl"
        )
    if "command" in decision:
        lines.append(f"not promoted. To promote it anyway: {decision['command']}")
    for line in lines:
        console.print(f"register: {line}", markup=False, highlight=False, soft_wrap=True)
