"""Read-only copy of the registry: runs, versions and aliases as plain data.

A database is read with SQL, since MLflow needs seconds to open one and creates a missing one. A server is
read through MLflow.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.tracking.store import ENVIRONMENT, FINGERPRINT, INTERVALS, LOCAL, MODEL, tracking_uri

SERVER_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
DELETED = "Deleted_Internal"  # stage of a deleted version


@dataclass(frozen=True)
class Version:
    """A registered version: its training run, the URI of its files, and its tags."""

    run_id: str
    source: str
    tags: dict[str, str]


@dataclass(frozen=True)
class Run:
    """A run: whether it was deleted, its fingerprint, its latest metrics, and their bounds."""

    deleted: bool
    fingerprint: str | None
    metrics: dict[str, float]
    intervals: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Mirror:
    """State of the registry: aliases, versions and runs."""

    aliases: dict[str, int]
    versions: dict[int, Version]
    runs: dict[str, Run]

    @property
    def champion(self) -> int | None:
        """Return the version of the champion, or None."""
        return self.aliases.get("champion")


def read_registry(root: Path) -> Mirror:
    """Return the current state of the project's MLflow store.

    Raises
    ------
    BlobwatchError
        If the store is missing or does not answer.
    """
    uri = tracking_uri(root)
    if uri.startswith(LOCAL) and not Path(uri.removeprefix(LOCAL)).is_file():
        raise BlobwatchError("MLflow store not found. Run `blobwatch sync`, which creates it from the files")
    try:
        return read_server(uri) if uri.startswith("http") else read_database(uri)
    except Exception as error:  # with any broken store, the files can still be checked
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise BlobwatchError(f"the MLflow store does not answer: {reason}") from error


QUERIES = {
    "aliases": "SELECT alias, version FROM registered_model_aliases WHERE name = :name",
    "versions": "SELECT version, run_id, source, current_stage FROM model_versions WHERE name = :name",
    "tags": "SELECT version, key, value FROM model_version_tags WHERE name = :name",
    "runs": "SELECT run_uuid, lifecycle_stage FROM runs",
    "fingerprints": "SELECT run_uuid, value FROM tags WHERE key = :tag",
    "intervals": "SELECT run_uuid, value FROM tags WHERE key = :intervals",
    "metrics": "SELECT run_uuid, key, value FROM latest_metrics WHERE key NOT LIKE 'system/%' AND NOT is_nan",
}


def read_database(uri: str) -> Mirror:
    """Read the tables of MLflow; change none."""
    from sqlalchemy import create_engine, text

    if uri.startswith(LOCAL):
        uri = f"{LOCAL}file:{quote(uri.removeprefix(LOCAL))}?mode=ro&uri=true"
    engine, values = create_engine(uri), {"name": MODEL, "tag": FINGERPRINT, "intervals": INTERVALS}
    with engine.connect() as connection:
        rows = {name: connection.execute(text(query), values).all() for name, query in QUERIES.items()}
    engine.dispose()
    tags: dict[int, dict[str, str]] = {}
    for version, key, value in rows["tags"]:
        tags.setdefault(int(version), {})[key] = value
    metrics: dict[str, dict[str, float]] = {}
    for run, key, value in rows["metrics"]:
        metrics.setdefault(run, {})[key] = value
    intervals = {run: value for run, value in rows["intervals"]}
    fingerprints = {run: value for run, value in rows["fingerprints"]}
    return Mirror(
        {alias: int(version) for alias, version in rows["aliases"]},
        {
            int(number): Version(run, source, tags.get(int(number), {}))
            for number, run, source, stage in rows["versions"]
            if stage != DELETED
        },
        {
            run: Run(
                stage == "deleted",
                fingerprints.get(run),
                metrics.get(run, {}),
                json.loads(intervals.get(run, "{}")),
            )
            for run, stage in rows["runs"]
        },
    )


def read_server(uri: str) -> Mirror:
    """Read a server, with short timeouts since it may be down."""
    for key, value in (ENVIRONMENT | SERVER_TIMEOUTS).items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    found = client.search_model_versions(f"name = '{MODEL}'", max_results=10_000)
    versions = {
        int(one.version): Version(one.run_id or "", one.source or "", dict(one.tags)) for one in found
    }
    runs = {}
    for one in versions.values():
        try:
            run = client.get_run(one.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            continue
        deleted = run.info.lifecycle_stage == "deleted"
        tags, metrics = run.data.tags, dict(run.data.metrics)
        bounds = json.loads(tags.get(INTERVALS, "{}"))
        runs[one.run_id] = Run(deleted, tags.get(FINGERPRINT), metrics, bounds)
    aliases = client.get_registered_model(MODEL).aliases if versions else {}
    return Mirror({alias: int(version) for alias, version in aliases.items()}, versions, runs)
