"""The gates of a promotion, in order.

The first ones check the state of the version: committed, up to date, trained from the inputs in this
checkout, complete, and equal in both formats. The others are in `criteria`.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage import git
from blobwatch.lineage.fingerprint import dependency_hash, differing_keys, join_names, take_fingerprint
from blobwatch.lineage.origin import fingerprint_of
from blobwatch.lineage.pipeline import parse_lock, read_stages, upstream
from blobwatch.lineage.promotion.criteria import Check, ModelScores, check_floors, check_not_worse
from blobwatch.lineage.restore import CANDIDATE, Snapshot, find_contradiction
from blobwatch.params import Params

REPORT_STAGE = "evaluate"  # its report is the basis of a promotion
STATE_CHECKS = ("committed", "up_to_date", "fingerprint", "files")  # can be fixed without a new model
MUST_FIND = 10.0  # SNR above which a blob must not be missed


def run_gates(root: Path, model: Model, metrics: dict, champion: Model | None, params: Params) -> list[Check]:
    """Check a model against every gate; return the checks in order.

    Parameters
    ----------
    root : Path
        Project folder.
    model, champion : Model
        The model to promote, and the deployed one.
    metrics : dict
        Content of ``metrics.json`` for this model.
    params : Params
        Section ``register`` contains the limits.
    """
    same_files = f"its files equal those of {CANDIDATE}, which the report describes"
    states = (
        ("committed", "all inputs are committed", find_uncommitted, root),
        ("up_to_date", "the pipeline is up to date and no stage of it is frozen", find_outdated, root),
        ("fingerprint", "its fingerprint matches the inputs in this checkout", compare_inputs, root, model),
        ("files", same_files, compare_files, root, model),
        ("agreement", "ONNX and torch give the same answer", compare_outputs, model),
    )
    checks = [run_check(*state) for state in states]
    checks += check_floors(metrics, params.register_.model_dump())
    return checks + (compare_with_champion(root, model, champion, params) if champion else [])


def run_check(name: str, success: str, find: Callable[..., str], *arguments: object) -> Check:
    """Return one check, with the problem from ``find`` or the success message."""
    try:
        problem = find(*arguments)
    except BlobwatchError as error:
        problem = str(error)
    return Check(name, not problem, problem or success)


def find_uncommitted(root: Path) -> str:
    """Return a message on inputs that differ from the commit, or an empty string."""
    changed = git.uncommitted(root)
    return f"its inputs are not committed: {join_names(changed)}. Commit them and promote" if changed else ""


def find_outdated(root: Path) -> str:
    """Return a message on frozen or outdated stages behind the report, or an empty string.

    Compares the files with ``dvc.lock`` directly: DVC counts a frozen stage as up to date, and a running
    stage calls this function.
    """
    stages, lock = read_stages(root), Path(root) / "dvc.lock"
    needed = upstream(stages, REPORT_STAGE)
    frozen = [name for name in needed if stages[name].frozen]
    if frozen:
        return f"{join_names(frozen)} is frozen, so it may be out of date. Run `dvc unfreeze` and `dvc repro`"
    locked, hash_of = parse_lock(lock.read_text()) if lock.is_file() else {}, cache(dependency_hash)
    for name in needed:
        if name not in locked:
            return f"stage {name!r} has not run. Run `dvc repro`"
        changed = take_fingerprint(root, name, hash_of).differences_from_lock(locked[name])
        changed += [path for path, md5 in locked[name].outs.items() if hash_of(Path(root) / path) != md5]
        if changed:
            names = join_names(changed)
            return f"stage {name!r} is not up to date: {names} changed since it ran. Run `dvc repro`"
        if problem := find_contradiction(Snapshot(Path(root), None, locked), name):
            return f"{problem}. Run `dvc repro --force {name}`"
    return ""


def compare_inputs(root: Path, model: Model) -> str:
    """Return how the current training inputs differ from the model's, or an empty string."""
    now, then = take_fingerprint(root, "train"), fingerprint_of(model)
    if now.sha256 == then.sha256:
        return ""
    changed = join_names(now.differences(then)) or "how a number is written"  # 1 is 1.0, but not in JSON
    return (
        f"it was not trained from this checkout: {changed} differs. Check out its commit, or run `dvc repro`"
    )


def compare_files(root: Path, model: Model) -> str:
    """Return a message if the report describes another model, or an empty string."""
    changed = differing_keys(model.files, Model.load(Path(root) / CANDIDATE).files)
    return f"{CANDIDATE} is another model: {join_names(changed)} differs. Run `dvc repro`" if changed else ""


def compare_outputs(model: Model) -> str:
    """Return why ONNX model and weights cannot be compared.

    Return an empty string if they agree; raise an error if they differ.
    """
    from blobwatch.detector.export import check_agreement, load_network

    try:
        check_agreement(model.folder, load_network(model.folder, model.manifest))
    except BlobwatchError:
        raise
    except Exception as error:  # the libraries raise many types for an invalid file
        return f"ONNX model and weights cannot be compared: {str(error).splitlines()[0]}"
    return ""


def compare_with_champion(root: Path, model: Model, champion: Model, params: Params) -> list[Check]:
    """Compare a model with the champion on the test subframes."""
    own = params.evaluate
    settings = params.register_.tolerance, own.confidence, own.bootstrap, params.seed
    try:
        theirs, mine = (
            score_test_split(one, root / "data/subframes", own.match_radius) for one in (champion, model)
        )
        return check_not_worse(theirs, mine, *settings)
    except BlobwatchError as error:
        return [Check("not_worse", False, f"it could not be compared with the champion: {error}")]


def score_test_split(model: Model, subframes: Path, radius: float) -> ModelScores:
    """Return the results of a model on the test subframes; ``radius`` in pixels."""
    from blobwatch.dataset.shards import read_split
    from blobwatch.detector.scoring import score_model

    data = read_split(subframes, "test")
    scored = score_model(model, data, radius)
    loud = data.blobs["snr"] >= MUST_FIND
    found = (scored.matches.hit >= model.threshold)[loud]
    exposures = data.rootnames[data.blobs["subframe"][loud]]
    return ModelScores(data.labels, data.rootnames, scored.scores, found, exposures)
