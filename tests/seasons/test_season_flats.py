"""Seasons whose flats change: no false blob and each true one found, with the flats, without, and as raw."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from seasons.flats import COUNT, ONSETS, SCENARIOS, Sky, expected, write_flats, write_flts, write_raws

REACH = 5.0  # pixels between a found and a true blob

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sky() -> Sky:
    return Sky(1)


@pytest.fixture(scope="module")
def flats(sky, tmp_path_factory) -> Path:
    return write_flats(tmp_path_factory.mktemp("flats"), sky)


@pytest.fixture(scope="module", params=SCENARIOS)
def season(request, sky, tmp_path_factory):
    scenario = SCENARIOS[request.param]
    return scenario, write_flts(tmp_path_factory.mktemp("season"), sky, scenario)


def blobwatch(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "blobwatch.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@dataclass(frozen=True)
class Watched:
    """Confirmed blobs of a run of the monitor, and its messages."""

    confirmed: list[dict]
    outcomes: list[str]
    warnings: list[str]


def watch(folder: Path, ledger: Path, *options: object) -> Watched:
    """Run the monitor on an empty ledger."""
    url = f"sqlite:///{ledger}"
    done = blobwatch("monitor", folder, "--ledger", url, *options, "--json")
    assert done.returncode in (0, 1), done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    judged = [line for line in lines if "rootname" in line]
    assert len(judged) == COUNT
    found = json.loads(blobwatch("blobs", "--ledger", url, "--json").stdout)
    return Watched(
        [one for one in found if one["status"] == "confirmed"],
        [f"{line['outcome']}: {line['reason']}" for line in judged],
        [line["warning"] for line in lines if "warning" in line],
    )


def check(found: list[dict], sky: Sky, onsets: tuple[int, ...]) -> None:
    """Check that no confirmed blob is false and that all of these onsets are found."""
    every = {one.onset: (one.blob.x, one.blob.y) for one in sky.new}
    seen = set()
    for one in found:
        onset, distance = min(
            ((onset, float(np.hypot(one["x"] - x, one["y"] - y))) for onset, (x, y) in every.items()),
            key=lambda pair: pair[1],
        )
        assert distance < REACH, f"false blob {one}"
        seen.add(onset)
    missed = {one.onset for one in expected(sky, onsets)} - seen
    assert not missed, f"missed, of onsets {sorted(missed)}"


def test_stacks_restart_with_each_flat(sky, season, tmp_path):
    scenario, folder = season
    watched = watch(folder, tmp_path / "ledger.db")
    check(watched.confirmed, sky, scenario.onsets)
    changes = [n for n in range(1, COUNT) if scenario.applied(n) != scenario.applied(n - 1)]
    anew = [n for n, outcome in enumerate(watched.outcomes) if "flats changed" in outcome]
    assert anew == [n for change in changes for n in range(change, change + 3)]
    assert sum("D-flat" in warning for warning in watched.warnings) == bool(scenario.applied(0).dflat)


def test_flats_are_undone(sky, season, flats, tmp_path):
    _, folder = season
    watched = watch(folder, tmp_path / "ledger.db", "--flats", flats)
    check(watched.confirmed, sky, ONSETS)
    assert not watched.warnings


def test_raw_needs_no_flats(sky, tmp_path):
    folder = write_raws(tmp_path / "season", sky, SCENARIOS["2010 to 2020"])
    watched = watch(folder, tmp_path / "ledger.db")
    check(watched.confirmed, sky, ONSETS)
