"""Tables on narrow terminals."""

from pathlib import Path

import pytest

from blobwatch.cli.output import lineage
from blobwatch.cli.output.printing import print_table
from blobwatch.lineage import versions

METRICS = {name: {"value": 0.98765, "low": 0.9712, "high": 0.99231} for name in versions.FLOORS}
LISTED = [
    {
        "version": number,
        "state": "champion",
        "forced": True,
        "when": "2026-11-28T10:00:00",
        "metrics": METRICS,
        "data": {"data/raw": "a" * 32, "data/subframes": "b" * 32},
    }
    for number in (9, 10)
]


@pytest.mark.parametrize("width", [80, 120, 300])
def test_versions_have_complete_cells_at_each_width(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(lineage, "recover", lambda root: None)
    monkeypatch.setattr(versions, "list_versions", lambda root: LISTED)
    lineage.run_models(Path(), False)
    out, messages = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= width
    for text in ("version", "champion (forced)", "0.988", "[0.971, 0.992]", "aaaaaaaa", "2026-11-28"):
        assert text in out
    assert "…" not in out
    assert ("do not fit in this terminal" in messages) == (width < 300)


def test_long_text_continues_on_the_next_line(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("link", ""), [("data", "x" * 30)])
    out = capsys.readouterr().out
    assert out.count("x") == 30
