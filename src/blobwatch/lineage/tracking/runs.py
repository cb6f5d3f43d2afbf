"""Training runs in MLflow, identified by their fingerprint."""

import getpass
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from blobwatch.lineage import git
from blobwatch.lineage.fingerprint import Fingerprint, check_unchanged
from blobwatch.lineage.tracking.store import FINGERPRINT, Store, open_store

REBUILT = "blobwatch.rebuilt"
IS_DIRTY = "blobwatch.dirty"
COMMIT = "mlflow.source.git.commit"
EXPERIMENT_NAME = "dvc.experiment"  # tag: name of the DVC experiment
KIND = "kind"  # tag: network or baseline
DATA = "data."  # prefix of the tag with the DVC hash of a data set
SAMPLES_EVERY = 10  # seconds between two samples of the system metrics


@dataclass(frozen=True)
class Run:
    """An active MLflow run; ``done`` contains the epochs already logged."""

    store: Store
    run_id: str
    done: frozenset[int] = frozenset()

    def log_epoch(self, row: dict) -> None:
        """Log the metrics of one epoch, unless an interrupted run already did."""
        if row["epoch"] not in self.done:
            numbers = {name: value for name, value in row.items() if name != "epoch"}
            log_metrics(self.store, self.run_id, numbers, row["epoch"])


def find_run(store: Store, fingerprint: str, unfinished: bool = False):
    """Return the newest run with a fingerprint, or None.

    Parameters
    ----------
    store : Store
    fingerprint : str
        SHA-256 of the fingerprint of the training.
    unfinished : bool
        Return an interrupted run, which can be resumed, instead of a finished one.
    """
    query = f"tags.`{FINGERPRINT}` = '{fingerprint}'"
    found = store.client.search_runs([store.experiment_id], query, order_by=["attributes.start_time DESC"])
    return next((run for run in found if (run.info.status != "FINISHED") == unfinished), None)


def create_run(
    store: Store,
    root: Path,
    fingerprint: Fingerprint,
    tags: dict[str, str] | None = None,
    start: int | None = None,
):
    """Create a run with parameters, DVC hashes of the data, commit and fingerprint.

    ``start`` is its time in milliseconds, by default now.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param

    own = {
        FINGERPRINT: fingerprint.sha256,
        "mlflow.runName": name_run(fingerprint),
        KIND: "network",
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": "blobwatch train",
        COMMIT: git.commit(root),
        "mlflow.source.git.branch": git.branch(root),
        IS_DIRTY: str(bool(git.uncommitted(root))).lower(),
    }
    if os.environ.get("DVC_EXP_NAME"):
        own[EXPERIMENT_NAME] = os.environ["DVC_EXP_NAME"]
    own |= tag_data(fingerprint.parts["data"]) | (tags or {})
    run = store.client.create_run(store.experiment_id, start, own)
    params = [Param(name, str(value)) for name, value in flat(fingerprint.parts["params"]).items()]
    store.client.log_batch(run.info.run_id, params=params)
    context = [InputTag("mlflow.data.context", "training")]
    data = [
        # The digest is DVC's hash, since that of MLflow covers only the first 10,000 elements.
        DatasetInput(Dataset(path, digest[:36], "local", json.dumps({"uri": path})), context)
        for path, digest in fingerprint.parts["data"].items()
    ]
    if data:
        store.client.log_inputs(run.info.run_id, data)
    store.client.log_dict(run.info.run_id, fingerprint.as_json(), "fingerprint.json")
    return run


def name_run(fingerprint: Fingerprint) -> str:
    """Return a name from the parameters, such as ``compact-w16-4ep-lr0.006``."""
    train = fingerprint.parts["params"].get("train", {})
    parts = {"architecture": "{}", "width": "w{}", "epochs": "{}ep", "learning_rate": "lr{}"}
    named = [form.format(train[key]) for key, form in parts.items() if key in train]
    return "-".join(named) or f"train-{fingerprint.sha256[:8]}"


def tag_data(data: dict[str, str]) -> dict[str, str]:
    """Return a tag per data set with its DVC hash."""
    return {f"{DATA}{path}": digest for path, digest in data.items()}


@contextmanager
def training(root: Path, fingerprint: Fingerprint) -> Iterator[Run]:
    """Yield the run of a training; resume the run with this fingerprint, or start a new one.

    A repeated training with equal inputs uses the same run. The run ends as ``FINISHED``, as ``FAILED`` after
    an error, or as ``KILLED`` after Ctrl-C. It also fails if an input of stage ``train`` changed during the
    training, so that the fingerprint of a finished run is correct.
    """
    store = open_store(root)
    run = find_run(store, fingerprint.sha256, unfinished=True) or find_run(store, fingerprint.sha256)
    if run is None:
        run = create_run(store, root, fingerprint)
    run_id = run.info.run_id
    store.client.update_run(run_id, status="RUNNING")
    status = "FAILED"
    try:
        with system_metrics(store, run_id):
            yield Run(store, run_id, list_epochs(store, run_id))
        check_unchanged(root, "train", fingerprint)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        store.client.set_terminated(run_id, status)


@contextmanager
def system_metrics(store: Store, run_id: str) -> Iterator[None]:
    """Log processor, memory, disk and network use to the run during the block."""
    # Their first import inside a monitored run deadlocks.
    import matplotlib  # noqa: F401
    import sklearn  # noqa: F401
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, SAMPLES_EVERY, resume_logging=True, tracking_uri=store.uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def list_epochs(store: Store, run_id: str) -> frozenset[int]:
    """Return the epochs that a run contains."""
    names = [
        name for name in store.client.get_run(run_id).data.metrics if name.startswith(("train_", "val_"))
    ]
    history = [store.client.get_metric_history(run_id, name) for name in names]
    return frozenset(metric.step for metrics in history for metric in metrics)


def log_metrics(store: Store, run_id: str, values: dict, step: int = 0) -> None:
    """Log the numbers among the values in one batch."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    numbers = {name: value for name, value in values.items() if isinstance(value, Real)}
    store.client.log_batch(run_id, [Metric(name, float(value), now, step) for name, value in numbers.items()])


def flat(nested: dict, prefix: str = "") -> dict:
    """Flatten a nested mapping into dotted names."""
    result: dict = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        result |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return result
