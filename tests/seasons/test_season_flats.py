"""Seasons whose flats change: no false blob and each true one found, with the flats, without, and as raw."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from seasons.flats import ONSETS, SCENARIOS, Sky, expected, write_flats, write_flts, write_raws

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


def confirmed(folder: Path, ledger: Path, *options: object) -> tuple[list[dict], str]:
    """Run the monitor; return its confirmed blobs and its messages."""
    url = f"sqlite:///{ledger}"
    done = blobwatch("monitor", folder, "--ledger", url, *options, "--json")
    assert done.returncode in (0, 1), done.stderr
    assert len(done.stdout.splitlines()) == len(list(folder.iterdir()))
    found = json.loads(blobwatch("blobs", "--ledger", url, "--json").stdout)
    return [one for one in found if one["status"] == "confirmed"], done.stderr


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


def test_stacks_start_anew_with_each_flat(sky, season, tmp_path):
    scenario, folder = season
    found, _ = confirmed(folder, tmp_path / "ledger.db")
    check(found, sky, scenario.onsets)


def test_flats_are_undone(sky, season, flats, tmp_path):
    _, folder = season
    found, _ = confirmed(folder, tmp_path / "ledger.db", "--flats", flats)
    check(found, sky, ONSETS)


def test_raw_needs_no_flats(sky, tmp_path):
    folder = write_raws(tmp_path / "season", sky, SCENARIOS["2010 to 2020"])
    found, _ = confirmed(folder, tmp_path / "ledger.db")
    check(found, sky, ONSETS)
