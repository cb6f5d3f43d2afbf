"""What is measured at a blob: depth, SNR, radius."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import NOISE, image_with_blobs

from blobwatch.images.blob_fit import MAX_SHIFT, fit_blob
from blobwatch.instrument.blobs import Blob, blob_snr, depth_at_snr, draw_blob, half_width_at, radius_at

PLACES = [(220.3, 180.8), (512.0, 512.0), (900.5, 830.2)]


def typical(x: float, y: float, depth: float = 0.05, size: float = 1.0) -> Blob:
    return Blob(x=x, y=y, half_width=size * half_width_at(x, y), depth=depth)


@pytest.mark.parametrize("place", PLACES)
def test_fit_recovers_a_typical_blob(place):
    blob = typical(*place)
    found = fit_blob(image_with_blobs([blob], noise=0.0), *place, 0.0, NOISE)
    assert found.depth == pytest.approx(blob.depth, rel=0.02)
    assert found.snr == pytest.approx(blob_snr(blob, NOISE), rel=0.02)
    assert found.radius == pytest.approx(radius_at(*place), rel=0.01)


@pytest.mark.parametrize("place", PLACES)
def test_snr_in_noise(place):
    blob = typical(*place, depth=0.03)
    found = [fit_blob(image_with_blobs([blob], seed), *place, 0.0, NOISE) for seed in range(12)]
    assert np.mean([one.snr for one in found]) == pytest.approx(blob_snr(blob, NOISE), abs=1.5)
    assert np.mean([one.depth for one in found]) == pytest.approx(blob.depth, rel=0.12)


def test_larger_blob_has_larger_radius():
    radii = [
        fit_blob(
            image_with_blobs([typical(512.0, 512.0, size=s)], noise=0.0), 512.0, 512.0, 0.0, NOISE
        ).radius
        for s in (0.6, 1.0, 1.5)
    ]
    assert radii == pytest.approx([s * radius_at(512.0, 512.0) for s in (0.6, 1.0, 1.5)], rel=0.01)


def test_unit_and_offset_change_only_the_depth():
    image = image_with_blobs([typical(512.0, 512.0)])
    one = fit_blob(image, 512.0, 512.0, 0.0, NOISE)
    other = fit_blob(image * 1000 + 5, 512.0, 512.0, 5.0, NOISE * 1000)
    assert other.snr == pytest.approx(one.snr, rel=1e-4)
    assert (other.x, other.y, other.radius) == pytest.approx((one.x, one.y, one.radius), rel=1e-6)
    assert other.depth == pytest.approx(1000 * one.depth, rel=1e-4)


def drawn_frame(snr: float, wrong: float, seed: int = 0) -> tuple[np.ndarray, list[Blob], np.ndarray]:
    """Return a frame of 144 drawn blobs of one SNR, the blobs, and their positions with errors."""
    rng = np.random.default_rng([seed, int(snr)])
    blobs = [draw_blob(rng, x, y) for x in np.arange(60.3, 1000, 80) for y in np.arange(60.8, 1000, 80)]
    blobs = [replace(blob, depth=depth_at_snr(blob, snr, NOISE)) for blob in blobs]
    places = np.array([(blob.x, blob.y) for blob in blobs]) + rng.normal(0.0, wrong, (len(blobs), 2))
    return image_with_blobs(blobs, seed), blobs, places


@pytest.mark.parametrize(("snr", "better"), [(10.0, 0.95), (15.0, 0.8), (40.0, 0.45)])
def test_fit_of_drawn_blobs_is_unbiased(snr, better):
    image, blobs, places = drawn_frame(snr, wrong=0.45)
    found = [fit_blob(image, *place, 0.0, NOISE) for place in places]
    true = np.array([(blob.x, blob.y) for blob in blobs])
    before = np.hypot(*(places - true).T)
    after = np.hypot(*(np.array([(one.x, one.y) for one in found]) - true).T)
    assert np.median(after) < better * np.median(before)
    assert np.median([one.snr for one in found]) == pytest.approx(snr, rel=0.03)
    depths = [one.depth / blob.depth for one, blob in zip(found, blobs, strict=True)]
    assert np.median(depths) == pytest.approx(1.0, abs=0.05)
    radii = [
        one.radius * half_width_at(blob.x, blob.y) / radius_at(blob.x, blob.y) / blob.half_width
        for one, blob in zip(found, blobs, strict=True)
    ]
    assert np.median(radii) == pytest.approx(1.0, abs=0.05)


def test_shift_is_limited():
    image = image_with_blobs([typical(512.0, 512.0)], noise=0.0)
    found = fit_blob(image, 515.0, 512.0, 0.0, NOISE)
    assert (found.x, found.y) == pytest.approx((515.0 - MAX_SHIFT, 512.0), abs=0.1)


@pytest.mark.parametrize("value", [-30.0, 1.0, np.nan])
@pytest.mark.parametrize("cluster", [(509, 510), (516, 513), (512, 512)])
def test_bad_pixels_have_little_effect(value, cluster):
    blob = typical(512.0, 512.0, depth=0.03)
    image = image_with_blobs([blob])
    sound = fit_blob(image, 512.4, 511.7, 0.0, NOISE)
    x, y = cluster
    image[y : y + 2, x : x + 2] = value
    found = fit_blob(image, 512.4, 511.7, 0.0, NOISE)
    assert (found.x, found.y) == pytest.approx((sound.x, sound.y), abs=0.25)
    assert found.snr == pytest.approx(sound.snr, rel=0.1)
    assert found.depth == pytest.approx(sound.depth, rel=0.15)


def test_unknown_pixels_are_ignored():
    image = image_with_blobs([typical(512.0, 512.0)], noise=0.0)
    image[505:512] = np.nan
    found = fit_blob(image, 512.0, 512.0, 0.0, NOISE)
    assert found.depth == pytest.approx(0.05, rel=0.02)
    assert found.snr < 0.95 * blob_snr(typical(512.0, 512.0), NOISE)


@pytest.mark.parametrize("place", [(-2.0, 500.0), (1024.0, 1024.0), (1100.0, 500.0), (0.0, 0.0)])
def test_fit_at_the_border(place):
    found = fit_blob(image_with_blobs([]), *place, 0.0, NOISE)
    assert np.isfinite([found.radius, found.snr, found.depth]).all()


def test_unknown_or_negative_image_has_no_signal():
    unknown = fit_blob(np.full((1024, 1024), np.nan, np.float32), 300.0, 300.0, 0.0, NOISE)
    dark = fit_blob(-image_with_blobs([typical(300.0, 300.0)], noise=0.0), 300.0, 300.0, 0.0, NOISE)
    for found in (unknown, dark):
        assert (found.x, found.y, found.snr, found.depth) == (300.0, 300.0, 0.0, 0.0)
        assert found.radius == radius_at(300.0, 300.0)
