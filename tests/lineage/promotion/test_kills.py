"""After a killed promotion, the next command finds either the old or the new champion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lineage.project import MLFLOW_WARNING, promote, register

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(MLFLOW_WARNING),
    pytest.mark.usefixtures("ungated"),
]
TESTS = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("old", "points"), [(None, 5), (1, 10)])
def test_promotion_killed_at_any_line_is_consistent(project, old, points):
    version = register(project)
    if old:
        promote(project.root, version, "the first")
        version = register(project, "two")
    killer = str(TESTS / "lineage/promotion/killer.py")
    done = subprocess.run(
        [sys.executable, killer, str(project.root), str(version), str(points)],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) >= points - 1
    assert len({one["where"] for one in found}) >= 0.8 * points  # some lines run more than once
    before = list(range(1, version))
    for one in found:
        assert one["log"] in (before, [*before, version]), one
        deployed = one["log"][-1] if one["log"] else None
        assert one["champion"] == one["number"] == one["alias"] == deployed, one
        assert one["predicts"] in (old, version), one
        assert one["left"] == [], one
    outcomes = [len(one["log"]) for one in found]
    assert outcomes == sorted(outcomes)  # a later kill never undoes a deployment
    assert set(outcomes) == {len(before), len(before) + 1}
