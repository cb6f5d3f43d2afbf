"""The notebooks run without errors and are committed with their outputs."""

import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
PICTURES = {"data_processing.ipynb": 8, "modelling_and_evaluation.ipynb": 6}


def test_both_notebooks_exist():
    assert sorted(PICTURES) == NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_reproduces_committed_outputs(name, tmp_path):
    for directory in ("labels", "templates"):
        shutil.copytree(ROOT / "data" / directory, tmp_path / "data" / directory)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    copy = tmp_path / "docs" / "notebooks" / name
    copy.parent.mkdir(parents=True)
    notebook = nbformat.read(FOLDER / name, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbformat.write(notebook, copy)
    spec = spec_from_file_location("run_notebooks", ROOT / "docs" / "run_notebooks.py")
    program = module_from_spec(spec)
    spec.loader.exec_module(program)
    assert output_kinds(program.run(copy)) == output_kinds(nbformat.read(FOLDER / name, as_version=4))
    assert [path.name for path in copy.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_committed_with_outputs(name):
    notebook = nbformat.read(FOLDER / name, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    shown = output_kinds(notebook)
    assert sum(kind.startswith("image/") for kind in shown) == PICTURES[name]
    assert not {"error", "stderr"} & set(shown)
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert len(text) < 1_500_000
    for machine in ("/tmp/", str(ROOT), str(Path.home()), "execution_failed", "iopub"):
        assert machine not in text


def output_kinds(notebook) -> list[str]:
    """Return the kind of each output, in order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs") or []]
    return [
        max(output.data, key=lambda kind: kind.startswith("image/"))
        if "data" in output
        else output.get("name", output.output_type)
        for output in outputs
    ]
