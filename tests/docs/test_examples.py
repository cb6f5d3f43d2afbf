"""The example files are what their table describes, and the deployed model finds their blobs."""

import re
import sys

import numpy as np
import pytest
from astropy.io import fits
from conftest import ROOT

from blobwatch.inspection import inspect
from blobwatch.instrument.differences import read_difference
from blobwatch.instrument.season import expose
from blobwatch.predict import Predictor

EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))
from make_examples import ONE_BLOB, SEED, THREE_BLOBS, WITHOUT_BLOB, find_pointing, plan_example_season  # noqa: E402

DAYS = {"three_blobs_flt": THREE_BLOBS, "one_blob_diff": ONE_BLOB, "no_blob_diff": WITHOUT_BLOB}
FILES = sorted(path.name for path in EXAMPLES.glob("*.fits*"))


@pytest.fixture(scope="module")
def example_season(params):
    return plan_example_season(params)


def read_true_positions(name: str) -> list[tuple[float, float]]:
    """Return the positions in the row of a file of the table."""
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{name}.fits.fz`"))
    return [(float(x), float(y)) for x, y in re.findall(r"\(([\d.]+), ([\d.]+)\)", row)]


def test_season_was_not_used_in_training(params):
    assert params.seed != SEED
    assert [fits.getheader(EXAMPLES / name)["SIMSEED"] for name in FILES] == [SEED] * 4


def test_examples_are_small():
    assert sum(path.stat().st_size for path in EXAMPLES.iterdir() if path.is_file()) < 4e6


@pytest.mark.parametrize("name", DAYS)
def test_table_contains_blobs_of_season(name, example_season, params):
    seen = find_pointing(example_season, DAYS[name]).expstart
    window = (seen - params.difference.days, seen)
    true = [
        (round(b.x, 1), round(b.y, 1)) for when, b in example_season.new if window[0] <= when <= window[1]
    ]
    assert sorted(read_true_positions(name)) == sorted(true)


def test_exposure_is_that_of_simulator(example_season):
    _, planes = expose(example_season, find_pointing(example_season, THREE_BLOBS))
    with fits.open(EXAMPLES / "three_blobs_flt.fits.fz") as hdus:
        np.testing.assert_allclose(hdus["SCI"].data, planes["SCI"], atol=2.0**-7 + 1e-5)
        np.testing.assert_array_equal(hdus["DQ"].data, planes["DQ"])


@pytest.mark.parametrize("name", DAYS)
def test_deployed_model_finds_exactly_true_blobs(name):
    stack = read_difference(EXAMPLES / "three_blobs_stack.fits.fz").image
    stack = stack if name == "three_blobs_flt" else None
    found = Predictor.load(ROOT / "models" / "champion").predict_file(EXAMPLES / f"{name}.fits.fz", stack)
    true = read_true_positions(name)
    assert len(found.blobs) == len(true)
    for x, y in true:
        assert min(np.hypot(blob.x - x, blob.y - y) for blob in found.blobs) < 1.0


@pytest.mark.parametrize("name", DAYS)
def test_examples_need_no_repair(name):
    found = inspect(EXAMPLES / f"{name}.fits.fz")
    kind = "flt" if name.endswith("flt") else "difference"
    assert (found.kind, found.usable, list(found.warnings)) == (kind, True, [])
