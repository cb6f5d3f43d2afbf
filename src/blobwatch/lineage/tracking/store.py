"""The MLflow store of a project: its address, and safe opening and creation."""

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
INTERVALS = "blobwatch.intervals"  # tag of a run: bounds of its metrics
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # the view of trainings, not of GenAI
    "mlflow.note.content": """Trainings of the network and the baselines of their evaluation.

* **Compare**: select runs and press *Compare*. Networks (tag `kind` = `network`) and baselines (`baseline`)
  have metrics of the same names, measured on the test subframes at the same rate of false blobs on val.
* **Intervals and slices**: `evaluate/metrics.json` and `tables/` of each run; `figures/` contains the ROC
  and precision-recall curves and the confusion matrices.
* **Inputs**: commit, `blobwatch.dirty` and the DVC hashes (`data.…`) are tags of each run.
* **Rebuilt runs** (tag `blobwatch.rebuilt`) come from files or git; they have no system metrics.
* **Deployed**: alias `champion` of the model `blobwatch`. `blobwatch models` prints the history.""",
}
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for results
}
LOCAL = "sqlite:///"


@dataclass(frozen=True)
class Store:
    """An open MLflow store: its URI, a client, and the experiment of blobwatch."""

    uri: str
    client: "MlflowClient"
    experiment_id: str


def tracking_uri(root: Path) -> str:
    """Return ``MLFLOW_TRACKING_URI``, or ``mlflow.db`` of the main checkout.

    A sqlite address is absolute, since DVC deletes the folder of a queued experiment.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    home = main_checkout(root)
    if not uri and not (home / "dvc.yaml").is_file():
        raise BlobwatchError(f"{home}: not a blobwatch project. Run the command in the project folder")
    uri = uri or LOCAL + "mlflow.db"
    if not uri.startswith(LOCAL):
        return uri
    return LOCAL + str(home / uri.removeprefix(LOCAL))


def open_store(root: Path) -> Store:
    """Open the store of the project; create it if absent.

    Raises
    ------
    BlobwatchError
        If the store was copied or moved from another folder, since it would write there.
    """
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    try:
        import mlflow  # noqa: F401
    except ImportError:
        raise BlobwatchError("mlflow is not installed. Run: pip install 'blobwatch[train]'") from None
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri, home = tracking_uri(root), main_checkout(root)
    artifacts = (home / "mlartifacts").as_uri()
    if uri.startswith("http"):
        require_answer(uri)
    with lock_creation(uri):
        client = connect(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            # A server stores artifacts itself. The default of a database depends on the current folder.
            place = None if uri.startswith("http") else artifacts
            create_once(lambda: client.create_experiment(EXPERIMENT, place, EXPERIMENT_TAGS))
            experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None  # created above
    for key, value in EXPERIMENT_TAGS.items() - experiment.tags.items():
        client.set_experiment_tag(experiment.experiment_id, key, value)
    if uri == f"{LOCAL}{home / 'mlflow.db'}" and experiment.artifact_location != artifacts:
        raise BlobwatchError(
            f"{home / 'mlflow.db'} came from another folder: its artifacts are in "
            f"{experiment.artifact_location}. Move it away and run `blobwatch sync`, which creates a new one"
        )
    return Store(uri, client, experiment.experiment_id)


def connect(uri: str) -> "MlflowClient":
    """Return a client of a store.

    Raises
    ------
    BlobwatchError
        If an older or newer version of MLflow wrote the database.
    """
    from mlflow import MlflowClient, __version__

    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.get_experiment_by_name(EXPERIMENT)
    except Exception as error:
        # MLflow raises MlflowException for an older schema, alembic CommandError for an unknown one.
        problem, address = str(error), uri.rpartition("@")[2]  # without a password
        if "out-of-date database schema" in problem or "Can't locate revision" in problem:
            raise BlobwatchError(
                f"{address}: another version of MLflow wrote this database, and MLflow {__version__} "
                "cannot use it. If it is older, copy it and run `mlflow db upgrade` on its address. "
                "If it is newer, install that version. Or move the database away and run `blobwatch sync`, "
                "which creates it from git"
            ) from None
        raise
    return client


def require_answer(uri: str) -> None:
    """Raise an error if a server is down, since MLflow retries for four minutes."""
    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=5):
            return
    except HTTPError:
        return  # the server is up
    except OSError as error:
        raise BlobwatchError(
            f"the MLflow server at {uri} does not answer: {error}. Start it, or correct MLFLOW_TRACKING_URI"
        ) from error


def create_once(create: Callable[[], object]) -> None:
    """Create an object, unless another client created it at the same time."""
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def lock_creation(uri: str):
    """Lock a sqlite database, since concurrent creation fails."""
    if not uri.startswith(LOCAL):
        return nullcontext()
    return file_lock(Path(uri.removeprefix(LOCAL) + ".lock"))
