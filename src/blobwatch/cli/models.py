"""The model that a command line names, and the versions of program and model."""

from pathlib import Path

from blobwatch import __version__
from blobwatch.errors import BlobwatchError


def find_model_or_version(name: str) -> Path:
    """Return the folder of ``champion``, of a registered version, or of a path.

    A registered version is fetched from the registry.
    """
    if name.isdigit() and not Path(name).is_dir():
        from blobwatch.lineage.tracking.registry import fetch_version  # loads MLflow

        return fetch_version(int(name))
    from blobwatch.predict import find_model

    return find_model(name)


def describe_version() -> str:
    """Return the version of the program, its commit if it is a git checkout, and the deployed version."""
    from blobwatch.artefact import Model
    from blobwatch.lineage.git import commit
    from blobwatch.predict import find_model

    lines = [f"blobwatch {__version__}"]
    checkout = Path(__file__).parents[3]
    if (checkout / ".git").exists():
        lines.append(f"commit {commit(checkout)[:12]}")
    try:
        folder = find_model()
        lines.append(f"deployed model: version {Model.load(folder).version} ({folder})")
    except BlobwatchError as error:
        lines.append(f"deployed model: {error}")
    return "\n".join(lines)
