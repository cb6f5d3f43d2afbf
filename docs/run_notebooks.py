"""Run the notebooks and save their outputs: ``python docs/run_notebooks.py``."""

from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent / "notebooks"
CELL_SECONDS = 300  # time limit per cell


def run(path: Path) -> nbformat.NotebookNode:
    """Return a notebook after running all cells in its own directory.

    Raises
    ------
    CellExecutionError
        If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    # Without execution times, equal outputs give equal files.
    client = NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", record_timing=False, coalesce_streams=True
    )
    with TemporaryDirectory() as sockets:  # other users can reach ports, but not these sockets
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        return client.execute(cwd=str(path.parent))


if __name__ == "__main__":
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        nbformat.write(run(path), path)
