"""The gates in front of promotion, in their order: each a sentence that says whether it holds.

First what the version is: committed, up to date, made from what is here, whole, the same in both forms. Then
what it is worth (`merit`).
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage import git
from blobwatch.lineage.fingerprint import dependency_hash, some, take
from blobwatch.lineage.origin import fingerprint_of
from blobwatch.lineage.pipeline import parse_lock, read_stages, upstream
from blobwatch.lineage.promotion.criteria import Check, Judgement, floors, not_worse
from blobwatch.lineage.restore import CANDIDATE, Snapshot, contradiction
from blobwatch.params import Params

REPORTED = "evaluate"  # the stage whose report is what a promotion rests on
OF_STATE = ("committed", "up_to_date", "fingerprint", "files")  # what can be mended without another model
MUST_FIND = 10.0  # SNR above which a blob must not be missed


def judge(root: Path, model: Model, metrics: dict, champion: Model | None, params: Params) -> list[Check]:
    """Hold a model against every gate and return what each says, in their order.

    Parameters
    ----------
    root : Path
        The project's folder.
    model, champion : Model
        What is to be promoted, and what is deployed.
    metrics : dict
        The content of ``metrics.json`` on this model.
    params : Params
        Its section ``register`` has the limits.
    """
    checks = [
        gate("committed", "all inputs are committed", committed, root),
        gate("up_to_date", "the pipeline is up to date and no stage of it is frozen", up_to_date, root),
        gate("fingerprint", "its fingerprint is that of what is here", same_inputs, root, model),
        gate("files", f"its files are those of {CANDIDATE}, which the report is of", same_files, root, model),
        gate("agreement", "ONNX and torch give the same answer", agrees, model),
        *floors(metrics, params.register_.model_dump()),
    ]
    return checks + (beside(root, model, champion, params) if champion else [])


def gate(name: str, holds: str, find: Callable[..., str], *arguments: object) -> Check:
    """Return one check: what ``find`` says against it, else the sentence that it holds."""
    try:
        against = find(*arguments)
    except BlobwatchError as error:
        against = str(error)
    return Check(name, not against, against or holds)


def committed(root: Path) -> str:
    """Say which inputs differ from the commit."""
    loose = git.uncommitted(root)
    return f"its inputs are not committed: {some(loose)}; commit them and promote" if loose else ""


def up_to_date(root: Path) -> str:
    """Say which stages behind the report are frozen, or are not what ``dvc.lock`` says.

    Asked of the files themselves, since a frozen stage counts as up to date for DVC, and a running one asks.
    """
    stages, lock = read_stages(root), Path(root) / "dvc.lock"
    needed = upstream(stages, REPORTED)
    frozen = [name for name in needed if stages[name].frozen]
    if frozen:
        return f"{some(frozen)} is frozen, so it may be out of date; run `dvc unfreeze` and `dvc repro`"
    locked, hash_of = parse_lock(lock.read_text()) if lock.is_file() else {}, cache(dependency_hash)
    for name in needed:
        if name not in locked:
            return f"stage {name!r} has not run; run `dvc repro`"
        odd = take(root, name, hash_of).against_lock(locked[name])
        odd += [path for path, md5 in locked[name].outs.items() if hash_of(Path(root) / path) != md5]
        if odd:
            return f"stage {name!r} is not up to date: {some(odd)} changed since it ran; run `dvc repro`"
        if against := contradiction(Snapshot(Path(root), None, locked), name):
            return f"{against}; run `dvc repro --force {name}`"
    return ""


def same_inputs(root: Path, model: Model) -> str:
    """Say in what the training's inputs, taken anew, differ from those that the model names."""
    now, then = take(root, "train"), fingerprint_of(model)
    if now.sha256 == then.sha256:
        return ""
    changed = some(now.differences(then)) or "how a number is written"  # 1 is 1.0, but not in JSON
    return (
        f"it was not trained from what is here: {changed} differs; check out its commit, or run `dvc repro`"
    )


def same_files(root: Path, model: Model) -> str:
    """Say whether the report is of another model."""
    there = Model.load(Path(root) / CANDIDATE)
    odd = sorted(name for name in model.files if model.files[name] != there.files[name])
    return f"{CANDIDATE} is another model: {some(odd)} differs; run `dvc repro`" if odd else ""


def agrees(model: Model) -> str:
    """Say nothing, or raise an error, if serving model and weights do not answer alike."""
    from blobwatch.detector.export import check_agreement, load_network

    try:
        check_agreement(model.folder, load_network(model.folder, model.manifest))
    except BlobwatchError:
        raise
    except Exception as error:  # what the libraries say of a file that is none of theirs
        return f"serving model and weights cannot be compared: {str(error).splitlines()[0]}"
    return ""


def beside(root: Path, model: Model, champion: Model, params: Params) -> list[Check]:
    """Compare a model with the champion on the test subframes that are here."""
    own = params.evaluate
    settings = params.register_.tolerance, own.confidence, own.bootstrap, params.seed
    try:
        theirs, mine = (
            judgement(one, root / "data/subframes", own.match_radius) for one in (champion, model)
        )
        return not_worse(theirs, mine, *settings)
    except BlobwatchError as error:
        return [Check("not_worse", False, f"it could not be compared with the champion: {error}")]


def judgement(model: Model, subframes: Path, radius: float) -> Judgement:
    """Return what a model says of the test subframes; within ``radius`` (pixels) is the same place."""
    from blobwatch.dataset.shards import read_split
    from blobwatch.detector.scoring import score_model

    data = read_split(subframes, "test")
    scored = score_model(model, data, radius)
    loud = data.blobs["snr"] >= MUST_FIND
    found = (scored.matches.hit >= model.threshold)[loud]
    exposures = data.rootnames[data.blobs["subframe"][loud]]
    return Judgement(data.labels, data.rootnames, scored.scores, found, exposures)
