"""The simulated detector beside the real one; needs three public files that are not part of the project."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from blobwatch.images.flatten import cut_boxes, median_without_nan
from blobwatch.instrument import wfc3ir

FOLDER = os.environ.get("BLOBWATCH_REAL_FILES", "")
pytestmark = pytest.mark.skipif(
    not Path(FOLDER, "g141_master_sky.fits").is_file(),
    reason="set BLOBWATCH_REAL_FILES to the folder of the real files (docs/simulator.md)",
)


def real(name: str) -> np.ndarray:
    return wfc3ir.embed(fits.getdata(Path(FOLDER, name)).astype(float))


def coarse(image: np.ndarray) -> np.ndarray:
    return median_without_nan(cut_boxes(image, 6))


def test_wagon_wheel_looks_like_the_real_one(season):
    sky = real("g141_master_sky.fits")
    sky = np.where(sky > 0, sky / np.nanmedian(sky), np.nan)
    window = slice(10, 346), slice(886, 1018)
    ours, theirs = coarse(season.detector.sensitivity[window]), coarse(sky[window])
    known = np.isfinite(theirs)
    assert np.corrcoef(ours[known], theirs[known])[0, 1] > 0.75
    assert np.median(np.abs(ours - theirs)[known]) < 0.05


def test_dead_features_cover_as_many_pixels_as_the_real_ones(season):
    bad, good = real("bad_pixels.fits") > 0, real("dq_mask_2009-10-03.fits")
    dead = season.detector.dead
    for rows, columns, theirs, tolerance in (
        (slice(1005, 1019), slice(370, 590), bad, 0.2),  # top edge
        (slice(985, 1019), slice(5, 45), bad, 0.3),  # upper left
        (slice(985, 1019), slice(985, 1019), bad, 0.55),  # upper right: ours is the smaller
        (slice(35, 84), slice(338, 386), bad, 0.2),  # death star
        (slice(5, 120), slice(975, 1019), good == 0, 0.3),  # lower right
    ):
        ours, real_ones = dead[rows, columns].sum(), theirs[rows, columns].sum()
        assert ours == pytest.approx(real_ones, rel=tolerance)


def test_the_share_of_bad_pixels_at_the_start_is_that_of_the_real_map(season):
    ours = season.detector.dead | (season.detector.bad_since <= 0)
    assert ours.sum() == pytest.approx((real("bad_pixels.fits") > 0).sum(), rel=0.08)


def test_old_blobs_hide_as_large_discs_as_the_real_mask(taken):
    flagged = real("dq_mask_2009-10-03.fits") == 0
    y, x = np.indices(flagged.shape, sparse=True)
    # Two of the 21 discs of the real exposure, far apart, so far from each other in size.
    for place_x, place_y in ((358, 764), (869, 43)):
        disc = flagged[np.hypot(x - place_x, y - place_y) < 20].sum()
        radius = 8.41 - 2.06 * (place_x - 512) / 512 - 1.98 * (place_y - 512) / 512
        assert disc == pytest.approx(np.pi * radius**2, rel=0.25)
