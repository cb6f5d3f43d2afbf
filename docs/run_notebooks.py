"""Run the notebooks anew and keep what they show: ``python docs/run_notebooks.py``."""

from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent / "notebooks"
LIMIT = 300  # seconds that a cell may take


def run(path: Path) -> nbformat.NotebookNode:
    """Return a notebook as it is after running it, in its own folder, from the top.

    Raises
    ------
    CellExecutionError
        If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    # Without the moments at which cells ran, a notebook that shows the same is the same.
    client = NotebookClient(
        notebook, timeout=LIMIT, kernel_name="python3", record_timing=False, coalesce_streams=True
    )
    with TemporaryDirectory() as sockets:  # rather than ports, which others on the machine can reach
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        return client.execute(cwd=str(path.parent))


if __name__ == "__main__":
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        nbformat.write(run(path), path)
