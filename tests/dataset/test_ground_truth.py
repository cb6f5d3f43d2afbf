"""New blobs in a difference image and their visible depth."""

import numpy as np
import pytest

from blobwatch.dataset.ground_truth import (
    FRAME_NOISE,
    Appearance,
    read_truth,
    visible_fraction,
    visible_new_blobs,
)
from blobwatch.instrument.blobs import Blob
from blobwatch.stages.simulate import write_truth

BLOB = Blob(x=300.25, y=700.5, half_width=6.0, depth=0.05)


@pytest.mark.parametrize("depth", [0.02, 0.05, 0.2])
def test_visible_fraction_decreases_with_stack_share(depth):
    shares = [visible_fraction(depth, inside, 11, FRAME_NOISE) for inside in range(12)]
    assert (np.diff(shares) < 1e-12).all()
    assert (shares[0], shares[11]) == pytest.approx((1.0, 0.0), abs=1e-9)
    assert shares[3] > 0.8
    assert shares[8] < 0.35
    if depth > 0.03:
        assert shares[8] < 0.1


@pytest.mark.parametrize("inside", [2, 5, 8])
def test_visible_fraction_matches_simulated_median(inside):
    rng = np.random.default_rng(1)
    stack = rng.normal(1.0, FRAME_NOISE, (11, 20000))
    stack[:inside] -= 0.03
    seen = (np.median(stack, axis=0) - (1.0 - 0.03)).mean() / 0.03
    assert visible_fraction(0.03, inside, 11, FRAME_NOISE) == pytest.approx(seen, abs=0.04)


def test_visible_new_blobs_by_date():
    truth = [Appearance(105.0, BLOB)]
    before, after = [98.0, 99.0, 100.0], [106.0, 107.0, 108.0]
    assert visible_new_blobs(truth, 104.9, before) == []
    assert visible_new_blobs(truth, 105.0, before) == [BLOB]
    assert visible_new_blobs(truth, 110.0, after) == []
    (half,) = visible_new_blobs(truth, 110.0, [*before, after[0], after[1]])
    assert 0.0 < half.depth < BLOB.depth
    assert (half.x, half.y, half.half_width) == (BLOB.x, BLOB.y, BLOB.half_width)


def test_reads_truth_table_of_simulate(tmp_path, season):
    assert read_truth(tmp_path / "truth.csv") == []
    write_truth(tmp_path / "truth.csv", season)
    found = read_truth(tmp_path / "truth.csv")
    assert len(found) == len(season.new) > 3
    for one, (moment, blob) in zip(found, season.new, strict=True):
        assert one.mjd == pytest.approx(moment, abs=1e-5)
        for key, value in blob.as_dict().items():
            assert one.blob.as_dict()[key] == pytest.approx(value, abs=6e-4), key
