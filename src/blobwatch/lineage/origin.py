"""Where a model comes from: what its manifest says of it, and whether that is what is here."""

from pathlib import Path

from blobwatch.artefact import MANIFEST, Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage import git
from blobwatch.lineage.fingerprint import Fingerprint, take

DIRTY = "-dirty"  # behind a commit that does not hold the inputs


def fingerprint_of(model: Model) -> Fingerprint:
    """Return the fingerprint of the training that made a model, as its manifest records it.

    Raises
    ------
    BlobwatchError
        If the manifest does not say what the model was made from, or contradicts itself in it.
    """
    path = model.folder / MANIFEST
    try:
        fingerprint = Fingerprint(model.manifest["fingerprint"]["parts"])
        said = model.manifest["fingerprint"]["sha256"], model.manifest["data"]
        found = fingerprint.sha256, fingerprint.parts["data"]
        rows = model.manifest.get("exposures", [])  # models of before it was recorded have none
        named = {row["rootname"]: row["md5"] for row in rows}
    except (KeyError, TypeError, ValueError):
        raise BlobwatchError(
            f"{path} does not say what the model was made from; train it again with `dvc repro`"
        ) from None
    if said != found or named != fingerprint.parts.get("exposures", {}):
        raise BlobwatchError(
            f"{path} says two things of what the model was made from: its fingerprint is not that of the "
            "parts it names; train it again with `dvc repro`"
        )
    return fingerprint


def commit_of(root: Path, fingerprint: Fingerprint) -> str:
    """Return the commit of a training's inputs, with ``-dirty`` behind it if they are not those in it."""
    commit = git.commit(root)
    try:
        is_it = not git.uncommitted(root) and take(root, "train").sha256 == fingerprint.sha256
    except BlobwatchError:  # an input is not here, so nothing can be said
        is_it = False
    return commit if is_it else commit + DIRTY
