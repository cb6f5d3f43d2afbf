"""Four independent seasons: no good exposure is rejected, and nearly every bad one is, with its reason."""

import ast
from pathlib import Path

import numpy as np
import pytest
from seasons.faults import FAULTS
from seasons.judge import describe, judge_season
from seasons.series import HISTORY, deal_faults, plan, write_season
from seasons.sky import Conditions

ENOUGH = 0.93  # of 33; benchmarks/quality.py asks for 0.95 of 232
SEASONS = [
    Conditions(901, 15, "F105W", fixed=0.010, noise=0.7, level=0.4, nsamps=(13,), modern=True),
    Conditions(902, 15, "F153M", fixed=0.006, noise=1.0, restless=True, nsamps=(10,), modern=True),
    Conditions(903, 15, "F160W", fixed=0.000, noise=1.5, level=2.5, nsamps=(10, 13), modern=False),
    Conditions(904, 15, "F140W", fixed=0.003, noise=1.2, level=1.0, nsamps=(13,), scattered=0.3),
]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    dealt = deal_faults(np.random.default_rng(46), [9, 8, 8, 8])
    every = []
    for own, faults in zip(SEASONS, dealt, strict=True):
        every.append(judge_season(write_season(tmp_path_factory.mktemp("season"), own, faults)))
    return every


@pytest.mark.slow
def test_no_good_exposure_is_rejected(verdicts):
    good = [one for season in verdicts for one in season if not one.taken.fault]
    assert len(good) >= 60
    wrong = [describe(one, season) for season in verdicts for one in season if one in good and one.reason]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_bad_exposures_are_rejected(verdicts):
    bad = [one for season in verdicts for one in season if one.taken.fault]
    assert {one.taken.fault for one in bad} == set(FAULTS)
    missed = [describe(one, season) for season in verdicts for one in season if one in bad and not one.reason]
    assert len(missed) <= (1 - ENOUGH) * len(bad), "\n".join(missed)


def test_bad_exposures_have_a_history():
    rng = np.random.default_rng(0)
    days = np.cumsum(rng.uniform(0.1, 12, 60))
    kinds = plan(rng, days, 48, ["blank"] * 12)
    for number, kind in enumerate(kinds):
        recent = [not kinds[n] for n in range(number) if days[number] - days[n] <= 28]
        assert not kind or sum(recent) >= HISTORY
    assert kinds.count("blank") >= 10


def test_generator_does_not_import_package():
    """What is judged must not share assumptions, or code, with what judges."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem == "judge" or path.stem.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "blobwatch"], path
