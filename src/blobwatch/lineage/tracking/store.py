"""The MLflow store: which one, opened safely. With ``tracking`` and ``registry`` it is the door to MLflow."""

import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_lock
from blobwatch.lineage.git import main_checkout

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = MODEL = "blobwatch"
FINGERPRINT = "blobwatch.fingerprint"  # tag of a run
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for answers
}
LOCAL = "sqlite:///"


@dataclass(frozen=True)
class Store:
    """An open MLflow store: its address, a client for it, and the experiment of blobwatch in it."""

    uri: str
    client: "MlflowClient"
    experiment_id: str


def tracking_uri(root: Path) -> str:
    """Return ``MLFLOW_TRACKING_URI`` where it is set, else ``mlflow.db`` of the main checkout.

    A sqlite address is absolute, since DVC deletes the folder in which a queued experiment runs.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    home = main_checkout(root)
    if not uri and not (home / "dvc.yaml").is_file():
        raise BlobwatchError(f"{home} is no blobwatch project; run this in the project's folder")
    uri = uri or LOCAL + "mlflow.db"
    if not uri.startswith(LOCAL):
        return uri
    return LOCAL + str(home / uri.removeprefix(LOCAL))


def open_store(root: Path) -> Store:
    """Open the store of the project, and make it if it is new.

    Raises
    ------
    BlobwatchError
        If the project's own store was copied or moved from another folder, where it would go on writing.
    """
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise BlobwatchError("this needs MLflow; install it with pip install 'blobwatch[train]'") from None
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri, home = tracking_uri(root), main_checkout(root)
    artifacts = (home / "mlartifacts").as_uri()
    if uri.startswith("http"):
        require_answer(uri)
    with lock_creation(uri):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            # A server keeps artifacts itself; for a database the default would be relative to this process.
            place = None if uri.startswith("http") else artifacts
            create_once(lambda: client.create_experiment(EXPERIMENT, artifact_location=place))
            experiment = client.get_experiment_by_name(EXPERIMENT)
    if uri == f"{LOCAL}{home / 'mlflow.db'}" and experiment.artifact_location != artifacts:
        raise BlobwatchError(
            f"{home / 'mlflow.db'} came from another folder: its artifacts are in "
            f"{experiment.artifact_location}. Move it away and run `blobwatch sync`, which makes a new one"
        )
    return Store(uri, client, experiment.experiment_id)


def require_answer(uri: str) -> None:
    """Ask a server once whether it is there: MLflow would ask for four minutes."""
    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=5):
            return
    except HTTPError:
        return  # it answers
    except OSError as error:
        raise BlobwatchError(
            f"the MLflow server at {uri} does not answer: {error}; start it, or mend MLFLOW_TRACKING_URI"
        ) from error


def create_once(create: Callable[[], object]) -> None:
    """Create what another client of the same server may create at this moment."""
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def lock_creation(uri: str):
    """Lock a sqlite database: if two processes create one at the same time, one of them fails."""
    if not uri.startswith(LOCAL):
        return nullcontext()
    return file_lock(Path(uri.removeprefix(LOCAL) + ".lock"))
