"""Tests of the ideal observer."""

from dataclasses import replace

import numpy as np
import pytest

from blobwatch.dataset.cutouts import render_blob
from blobwatch.detector.baselines import matched_filter, snr_from_score
from blobwatch.detector.ideal_observer import find_by_ideal_observer, ideal_snr, shape_bank
from blobwatch.instrument.blobs import Blob, depth_at_snr

SIDE = 256


def frame_with(blob: Blob, snr: float, noise: np.ndarray | float = 0.0) -> np.ndarray:
    blob = replace(blob, depth=depth_at_snr(blob, snr, 1.0))
    return (render_blob(blob, (SIDE, SIDE)) + noise).astype(np.float32)


def test_shape_bank_has_distinct_unit_norm_shapes():
    stamps = shape_bank()
    assert 40 <= len(stamps) <= 60
    for stamp in stamps:
        assert (stamp**2).sum() == pytest.approx(1.0)
    assert len({(stamp.shape, round(float(stamp.sum()), 6)) for stamp in stamps}) == len(stamps)


BLOBS = [
    Blob(60.2, 170.4, 2.6, 1.0, exponent=1.3, edge=4.0),
    Blob(60.0, 170.0, 6.5, 1.0, exponent=1.2, edge=15.0),
    Blob(60.4, 170.1, 9.2, 1.0, exponent=1.3, edge=6.0, hole=0.45),
    Blob(60.4, 170.1, 11.0, 1.0, exponent=1.6, edge=2.2),
]


@pytest.mark.parametrize("blob", BLOBS)
def test_ideal_snr_measures_snr_and_position(blob):
    snr = ideal_snr(frame_with(blob, 20.0))
    assert 0.95 * 20 < snr.max() < 1.0001 * 20
    y, x = np.unravel_index(snr.argmax(), snr.shape)
    assert (x, y) == pytest.approx((blob.x, blob.y), abs=1.0)


@pytest.mark.parametrize("hole", [0.0, 0.4])
def test_ideal_snr_is_exact_for_shapes_of_the_bank(hole):
    known = Blob(60.0, 170.0, 10.0, 1.0, exponent=1.25 if hole else 1.05, edge=8.0, hole=hole)
    assert ideal_snr(frame_with(known, 20.0)).max() == pytest.approx(20.0, rel=1e-3)


def test_ideal_observer_exceeds_matched_filters_for_rings():
    ring = Blob(60.0, 170.0, 10.0, 1.0, edge=18.0, hole=0.5)
    image = frame_with(ring, 20.0)
    assert ideal_snr(image).max() > 1.1 * matched_filter(image).max()


def test_ideal_snr_of_white_noise_is_uniform():
    noise = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    best = ideal_snr(noise)
    for part in (best, best[:8], best[:, -8:]):
        assert 0.5 < part.mean() < 2.0  # maximum of 48 similar filters
        assert 0.3 < part.std() < 1.0
    assert best.max() < 6.0


def test_find_by_ideal_observer_returns_peaks_above_min_snr():
    noise = np.random.default_rng(1).normal(size=(SIDE, SIDE))
    peaks, score = find_by_ideal_observer(frame_with(BLOBS[1], 15.0, noise))
    assert (peaks.x[0], peaks.y[0]) == pytest.approx((60.0, 170.0), abs=1.5)
    assert snr_from_score(peaks.probability[0]) == pytest.approx(15.0, abs=2.5)
    assert score == peaks.probability[0]
    assert (snr_from_score(peaks.probability) >= 4.0).all()
