"""The command line ``blobwatch``. Each command imports the heavy libraries that it needs."""

from blobwatch.cli import stages, archive, data, predict, monitor, lineage  # noqa: F401, I001  in the order of --help
from blobwatch.cli.app import app, main

__all__ = ["app", "main"]
