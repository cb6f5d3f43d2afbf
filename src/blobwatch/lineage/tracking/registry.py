"""Versions of the registered model ``blobwatch``, with their lineage."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from blobwatch.artefact import DEPLOYED, MANIFEST, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_folder, write_json
from blobwatch.lineage.origin import fingerprint_of
from blobwatch.lineage.tracking.logged_model import NOTE, log_model
from blobwatch.lineage.tracking.runs import tag_data
from blobwatch.lineage.tracking.store import MODEL, Store, create_once, open_store

CHAMPION = "champion"
CHALLENGER = "challenger"
SHA256 = "sha256."  # prefix of the tag with the hash of a file
COMMIT = "commit"
PROMOTION, PROMOTED_BY = "promotion", "promoted_by"  # tags: hash of the log line, and its author
CLAIM = "blobwatch-promotion"
FETCHED = Path(".dvc/tmp/blobwatch/versions")


def register(store: Store, model: Model, run_id: str, commit: str, at_least: int = 1):
    """Return the version of a model; create it if no version has the same manifest.

    The manifest contains the hashes of weights, ONNX model and inputs. Equal weights from other inputs are
    therefore another version.

    Parameters
    ----------
    store : Store
    model : Model
        Its files are logged to the run. The version points to these files.
    run_id : str
        Its training run.
    commit : str
        Git commit of its inputs, with suffix ``-dirty`` if they differ from that commit.
    at_least : int
        Lowest number of a new version. A new registry thus continues the numbers of the promotion log, and
        never assigns a number to a second model.
    """
    known = find_version(store, model.files[MANIFEST])
    if known is not None:
        return known
    fingerprint = fingerprint_of(model)
    logged = log_model(store, run_id, model)
    card = store.client.get_run(run_id).data.tags.get(NOTE)
    tags = {"fingerprint": fingerprint.sha256, COMMIT: commit}
    tags |= {f"{SHA256}{name}": sha256 for name, sha256 in model.files.items()}
    tags |= tag_data(fingerprint.parts["data"])
    while True:
        version = store.client.create_model_version(
            MODEL, logged.artifact_location, run_id, tags, description=card, model_id=logged.model_id
        )
        if int(version.version) >= at_least:
            return version
        # MLflow never reuses the number of a deleted version, so this skips one.
        store.client.delete_model_version(MODEL, version.version)


def versions(store: Store) -> list:
    """Return all versions, oldest first; create the registered model if absent."""
    from mlflow.exceptions import MlflowException

    try:
        store.client.get_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        about = "Detects new IR blobs in WFC3 frames."
        create_once(lambda: store.client.create_registered_model(MODEL, description=about))
    found = store.client.search_model_versions(f"name = '{MODEL}'", max_results=10_000)
    return sorted(found, key=lambda version: int(version.version))


def find_version(store: Store, manifest: str):
    """Return the version with this hash of its manifest, or None."""
    return next((one for one in versions(store) if one.tags.get(SHA256 + MANIFEST) == manifest), None)


def get_version(store: Store, number: int):
    """Return a version by its number.

    Raises
    ------
    BlobwatchError
        If there is none. Contains the known versions.
    """
    there = {int(version.version): version for version in versions(store)}
    if number not in there:
        known = ", ".join(map(str, there)) or "none"
        raise BlobwatchError(f"version {number} not found. Known versions: {known}")
    return there[number]


def fetch(store: Store, version, folder: Path) -> Model:
    """Copy the files of a version into ``folder`` and check their hashes."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    tags = {
        name.removeprefix(SHA256): value for name, value in version.tags.items() if name.startswith(SHA256)
    }
    try:
        copied = download_artifacts(artifact_uri=version.source, dst_path=str(folder), tracking_uri=store.uri)
        model = Model.load(copied)
    except (MlflowException, OSError, BlobwatchError) as error:
        raise BlobwatchError(
            f"version {version.version} cannot be read from {version.source}: {error}. "
            "Its files were lost or altered. Register it again from its commit with `dvc repro`"
        ) from error
    if model.files != tags:
        odd = sorted(name for name in tags if model.files.get(name) != tags[name])
        raise BlobwatchError(
            f"{', '.join(odd)} of version {version.version} in {version.source} differs from the registered "
            "file. Register the model again from its commit with `dvc repro`"
        )
    return model


def fetch_version(number: int, root: Path = Path(".")) -> Path:
    """Return a folder with a registered model; download it once."""
    store = open_store(root)
    version = get_version(store, number)
    folder = root / FETCHED / f"{number}-{version.tags[SHA256 + MANIFEST][:12]}"
    if not folder.is_dir():
        with atomic_folder(folder) as partial, tempfile.TemporaryDirectory() as copies:
            model = fetch(store, version, Path(copies))
            write_deployable(partial, model, number, version.run_id)
    return folder


def write_deployable(folder: Path, model: Model, version: int, run_id: str, promotion: str = "") -> None:
    """Write the files of a model and ``deployed.json``."""
    for name in model.files:
        shutil.copyfile(model.folder / name, folder / name)
    write_json(folder / DEPLOYED, deployed_content(version, run_id, model.files[MANIFEST], promotion))


def deployed_content(version: int, run_id: str, manifest: str, promotion: str) -> dict:
    """Return the content of ``deployed.json``: name, version and hash of the log line."""
    known = {"name": MODEL, "version": version, "run_id": run_id, "promotion": promotion}
    return known | {"manifest_sha256": manifest}


def set_alias(store: Store, alias: str, version: int) -> None:
    """Set an alias to a version."""
    store.client.set_registered_model_alias(MODEL, alias, str(version))


def set_champion(store: Store, version: int, line: str, who: str) -> None:
    """Set the alias of the champion; tag the version with the log line and its author."""
    store.client.set_model_version_tag(MODEL, str(version), PROMOTION, line)
    store.client.set_model_version_tag(MODEL, str(version), PROMOTED_BY, who)
    set_alias(store, CHAMPION, version)


def get_alias(store: Store, alias: str) -> int | None:
    """Return the version of an alias, or None."""
    versions(store)  # creates the registered model if absent
    target = store.client.get_registered_model(MODEL).aliases.get(alias)
    return None if target is None else int(target)


@contextmanager
def claim_registry(store: Store, checkout: str, who: str) -> Iterator[None]:
    """Lock the registry for a promotion.

    The lock is a registered model named ``blobwatch-promotion``, since the registry creates a name only once.
    A lock left by a killed promotion in the same checkout is taken over.

    Raises
    ------
    BlobwatchError
        If another checkout has the lock.
    """
    from mlflow.exceptions import MlflowException

    tags = {"checkout": checkout, "who": who, "since": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        store.client.create_registered_model(CLAIM, tags=tags, description="A promotion is running.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        holder = read_claim(store)
        if holder.get("checkout") != checkout:
            raise BlobwatchError(
                f"{holder.get('who')} promotes in {holder.get('checkout')} since {holder.get('since')}. "
                "Wait, run `git pull` and try again. If that promotion was interrupted, run `blobwatch sync` "
                f"there. If that checkout no longer exists, delete the model {CLAIM} in MLflow"
            ) from None
    try:
        yield
    finally:
        release_claim(store, checkout)


def release_claim(store: Store, checkout: str) -> None:
    """Delete the lock of a checkout, unless another checkout has it."""
    if read_claim(store).get("checkout") == checkout:
        store.client.delete_registered_model(CLAIM)


def read_claim(store: Store) -> dict[str, str]:
    """Return the tags of the lock, or placeholders if it was just released."""
    from mlflow.exceptions import MlflowException

    try:
        return dict(store.client.get_registered_model(CLAIM).tags)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {"who": "someone", "checkout": "another checkout", "since": "a moment ago"}
