"""The notebooks run from their first cell to their last, and were committed with what they show."""

from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def read(name: str):
    return nbformat.read(FOLDER / name, as_version=4)


def test_both_are_there():
    assert NOTEBOOKS == ["data_processing.ipynb", "modelling_and_evaluation.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_leaves_nothing_behind(name, monkeypatch):
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook, before = read(name), sorted(FOLDER.iterdir())
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": FOLDER}}
    )
    client.execute()
    assert pictures(notebook) == pictures(read(name))
    assert sorted(FOLDER.iterdir()) == before


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_committed_as_it_ran(name):
    notebook = read(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert pictures(notebook) >= 5
    text = (FOLDER / name).read_text()
    assert "Traceback" not in text
    assert "Warning" not in text
    assert str(Path.home()) not in text
    assert "/tmp/" not in text


def pictures(notebook) -> int:
    """Return how many pictures a notebook shows."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs") or []]
    return sum("image/png" in output.get("data", {}) for output in outputs)
