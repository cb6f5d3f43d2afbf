"""The figure of architecture.md matches `dvc.yaml` and the floors that `tests/test_pipeline.py` checks."""

import re
import sys

import pytest
from conftest import ROOT
from test_pipeline import FLOORS, PIPELINE

sys.path.insert(0, str(ROOT / "docs"))
from make_architecture_figure import FIGURE, draw, read_floors, read_flow

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_figure_is_current():
    drawn = FIGURE.read_text(encoding="utf-8")
    assert drawn == draw(), "run `python docs/make_architecture_figure.py` and commit the figure"
    assert f"pictures/{FIGURE.name}" in PAGE


def test_figure_shows_each_floor_and_stage():
    drawn = re.findall(r'class="code"[^>]*>([^<]+)<', FIGURE.read_text(encoding="utf-8"))
    assert read_floors() == FLOORS
    assert drawn == [*PIPELINE, *reversed(FLOORS)]


@pytest.mark.parametrize(
    ("stage", "sources"),
    [
        ("simulate", []),
        ("subframes", ["simulate", "difference"]),
        ("evaluate", ["subframes", "train", "baseline"]),
    ],
)
def test_flow_follows_outputs(stage, sources):
    assert read_flow()[stage] == sources


def test_page_names_each_stage():
    assert [stage for stage in PIPELINE if f"`{stage}`" not in PAGE] == []
