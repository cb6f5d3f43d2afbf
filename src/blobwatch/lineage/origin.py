"""The fingerprint in a model's manifest, and the commit of the training inputs."""

from pathlib import Path

from blobwatch.artefact import MANIFEST, Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage import git
from blobwatch.lineage.fingerprint import Fingerprint, take_fingerprint

DIRTY = "-dirty"  # suffix of a commit that does not contain the inputs


def fingerprint_of(model: Model) -> Fingerprint:
    """Return the training fingerprint recorded in a model's manifest.

    Raises
    ------
    BlobwatchError
        If the manifest has no fingerprint, or the fingerprint contradicts the manifest.
    """
    path = model.folder / MANIFEST
    try:
        fingerprint = Fingerprint(model.manifest["fingerprint"]["parts"])
        recorded = model.manifest["fingerprint"]["sha256"], model.manifest["data"]
        found = fingerprint.sha256, fingerprint.parts["data"]
        rows = model.manifest.get("exposures", [])  # older models have none
        exposures = {row["rootname"]: row["md5"] for row in rows}
    except (KeyError, TypeError, ValueError):
        raise BlobwatchError(
            f"{path} does not name the model's inputs. Train the model again with `dvc repro`"
        ) from None
    if recorded != found or exposures != fingerprint.parts.get("exposures", {}):
        raise BlobwatchError(
            f"{path} contradicts itself: the fingerprint does not match the inputs it lists. "
            "Train the model again with `dvc repro`"
        )
    return fingerprint


def commit_of(root: Path, fingerprint: Fingerprint) -> str:
    """Return the current commit, with suffix ``-dirty`` if the inputs differ from it."""
    commit = git.commit(root)
    try:
        matches = not git.uncommitted(root) and take_fingerprint(root, "train").sha256 == fingerprint.sha256
    except BlobwatchError:  # an input is missing
        matches = False
    return commit if matches else commit + DIRTY
