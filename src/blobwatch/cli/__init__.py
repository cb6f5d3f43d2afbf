"""``blobwatch <verb>``, in the order of the flow. Heavy libraries are loaded by the verb that needs them."""

from blobwatch.cli import stages, archive, data, predict, monitor, lineage  # noqa: F401, I001  in the order in which --help lists them
from blobwatch.cli.app import app, main

__all__ = ["app", "main"]
