"""The model that a command line names."""

from pathlib import Path

from blobwatch.predict import find_model


def find_model_or_version(name: str) -> Path:
    """Return the folder of ``champion``, of a registered version, or of a path.

    A registered version is fetched from the registry.
    """
    if name.isdigit() and not Path(name).is_dir():
        from blobwatch.lineage.tracking.registry import fetch_version  # loads MLflow

        return fetch_version(int(name))
    return find_model(name)
