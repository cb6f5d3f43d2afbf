"""The examples in docstrings are correct."""

import doctest
import re
from importlib import import_module

import pytest
from conftest import ROOT

SOURCE = ROOT / "src"
EXAMPLE = re.compile(r">>> (?!.*# doctest: \+SKIP)")
PATHS = [path for path in sorted(SOURCE.rglob("*.py")) if EXAMPLE.search(path.read_text(encoding="utf-8"))]
MODULES = [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in PATHS]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_module(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
