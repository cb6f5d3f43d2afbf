"""Bad pixels are masked and offsets subtracted; blobs and noise stay as they are."""

from functools import partial

import numpy as np
import pytest

from blobwatch.errors import BlobwatchError
from blobwatch.images import cleaning
from blobwatch.images.cleaning import CleanFrame, clean_frame, fill_unknown
from blobwatch.instrument.blobs import Blob, depth_at_snr, overlap
from blobwatch.instrument.detector import DEATH_STAR

SIZE = 1024
CLUSTERS = {
    "single": [(0, 0)],
    "pair": [(0, 0), (0, 1)],
    "diagonal pair": [(0, 0), (1, 1)],
    "corner": [(0, 0), (0, 1), (1, 0)],
    "line": [(0, 0), (1, 0), (2, 0), (3, 0)],
    "square": [(0, 0), (0, 1), (1, 0), (1, 1)],
}


def noise_frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 1.0, (SIZE, SIZE)).astype(np.float32)


def draw_bad_pixels(rng: np.random.Generator, share: float) -> np.ndarray:
    """Draw a mask of single and paired bad pixels."""
    bad = rng.uniform(size=(SIZE, SIZE)) < share / 1.3
    return bad | np.roll(bad & (rng.uniform(size=bad.shape) < 0.3), 1, axis=rng.integers(2))


def add_bad_pixels(rng: np.random.Generator, image: np.ndarray, share: float) -> np.ndarray:
    """Add positive and negative bad pixels in place, and return their mask."""
    bad = draw_bad_pixels(rng, share)
    excess = rng.choice([-1.0, 1.0], bad.sum()) * (6.0 + rng.exponential(20.0, bad.sum()))
    image[bad] += excess
    return bad


def uneven_frame(seed: int) -> np.ndarray:
    """Return a frame with bad and unknown pixels, stripes, a step and a gradient."""
    rng, image = np.random.default_rng(seed), noise_frame(seed)
    image += rng.normal(0.0, 0.05, SIZE) + rng.normal(0.0, 0.05, (SIZE, 1))
    image[:512, 512:] += 0.3
    image -= 5.0 * np.clip(1.0 - np.arange(SIZE) / 200.0, 0.0, 1.0)
    add_bad_pixels(rng, image, 0.01)
    image[rng.uniform(size=image.shape) < 0.01] = np.nan
    image[:5] = image[-5:] = image[:, :5] = image[:, -5:] = np.nan
    return image.astype(np.float32)


@pytest.fixture
def no_death_star(monkeypatch):
    """Remove the death star, whose mask is not symmetric."""
    monkeypatch.setattr(cleaning, "death_star_mask", lambda: np.zeros((SIZE, SIZE), dtype=bool))


def test_white_noise_does_not_change(no_death_star):
    image = noise_frame(1) + 7
    clean = clean_frame(image)
    assert clean.masked.mean() < 2e-4
    np.testing.assert_array_equal(clean.masked, np.isnan(clean.image))
    good = ~clean.masked
    assert np.std((clean.image - image)[good]) < 0.01
    assert clean.level == pytest.approx(7, abs=0.02)
    assert clean.noise == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.015])
@pytest.mark.parametrize("seed", range(3))
def test_bad_pixels_are_masked_and_excluded_from_the_noise(share, seed):
    image = noise_frame(seed)
    bad = add_bad_pixels(np.random.default_rng(seed), image, share)
    clean = clean_frame(image)
    assert clean.noise == pytest.approx(1, abs=0.02)
    if share:
        assert clean.masked[bad].mean() > 0.97


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
@pytest.mark.parametrize("value", [-6.0, 6.0, 60.0])
def test_small_clusters_are_masked(cluster, value, no_death_star):
    image, bad = noise_frame(2), np.zeros((SIZE, SIZE), dtype=bool)
    for dy, dx in cluster:
        bad[10 + dy : 1000 : 25, 10 + dx : 1000 : 25] = True
    image[bad] = value + 0.2 * image[bad]
    assert clean_frame(image).masked[bad].mean() > 0.95


def grid_of_blobs(rng: np.random.Generator, cells: list[tuple[float, float]]) -> list[tuple[Blob, float]]:
    """Draw a separate blob of each half-width and SNR, with random shapes."""
    places = [(x, y) for x in range(60, 1000, 110) for y in range(170, 1000, 110)]
    chosen = rng.choice(len(places), len(cells), replace=False)
    blobs = []
    for (half_width, snr), index in zip(cells, chosen, strict=True):
        x, y = places[index] + rng.uniform(-0.5, 0.5, 2)
        blob = Blob(
            *(float(x), float(y), half_width, 1.0),
            axis_ratio=float(rng.normal(1.08, 0.05)),
            exponent=float(rng.triangular(0.73, 1.25, 1.84)),
            edge=float(np.exp(rng.uniform(*np.log([1.6, 25.0])))),
            hole=0.35 if half_width > 7 and rng.uniform() < 0.4 else 0.0,
        )
        blobs.append((blob, snr))
    return blobs


def amplitude(image: np.ndarray, blob: Blob, known: np.ndarray) -> float:
    """Fit the amplitude of the shape of a blob."""
    region, part = overlap(*blob.unit_shape(), image.shape)
    part = np.where(known[region], part, 0.0)
    return float((part * np.where(known[region], image[region], 0.0)).sum() / (part**2).sum())


def amplitude_changes(image: np.ndarray, blobs: list[tuple[Blob, float]]) -> list[float]:
    """Return the relative change of each amplitude by cleaning."""
    before, frame = clean_frame(image), image.copy()
    for blob, snr in blobs:
        region, part = overlap(*blob.unit_shape(), image.shape)
        frame[region] += (depth_at_snr(blob, snr, 1.0) * part).astype(np.float32)
    after = clean_frame(frame)
    known = np.isfinite(after.image) & ~before.masked
    gain = after.image + after.level - before.image - before.level
    # A pixel that is masked only with the blob in it is a part of the blob that is lost.
    lost = after.masked & ~before.masked
    gain[lost] = 0.0
    return [amplitude(gain, blob, known | lost) / depth_at_snr(blob, snr, 1.0) - 1 for blob, snr in blobs]


HALF_WIDTHS, SNRS = (2.5, 4.0, 6.0, 9.0, 12.0), (5.0, 10.0, 20.0, 50.0, 100.0, 200.0)


@pytest.mark.parametrize("make", [noise_frame, uneven_frame])
def test_cleaning_keeps_blob_amplitudes(make):
    rng = np.random.default_rng(11)
    cells = [(half_width, snr) for half_width in HALF_WIDTHS for snr in SNRS]
    blobs = [grid_of_blobs(rng, cells[first::3]) for _ in range(9) for first in range(3)]
    changes = np.array([amplitude_changes(make(seed), ten) for seed, ten in enumerate(blobs)])
    changes = changes.reshape(9, 3, -1).swapaxes(1, 2).reshape(9, len(HALF_WIDTHS), len(SNRS))
    assert np.median(np.abs(changes)) < 0.01
    by_cell = np.abs(np.median(changes, axis=0))
    assert by_cell[:, SNRS.index(20.0) :].max() < 0.02
    # The offsets of rows and columns take some 3 % of the widest and faintest with them.
    assert by_cell.max() < 0.05


@pytest.mark.parametrize("half_width", [2.5, 3.0])
@pytest.mark.parametrize("exponent", [0.73, 1.25, 1.84])
@pytest.mark.parametrize("edge", [1.6, 5.0, 25.0])
def test_peak_of_a_small_deep_blob_is_not_masked(half_width, exponent, edge, no_death_star):
    rng, image, peaks = np.random.default_rng(4), noise_frame(4), np.zeros((SIZE, SIZE), dtype=bool)
    for x in range(40, 1000, 60):
        for y in range(40, 1000, 60):
            left, up = rng.uniform(-0.5, 0.5, 2)
            blob = Blob(x + left, y + up, half_width, 1.0, 1.08, exponent, edge)
            region, part = overlap(*blob.unit_shape(), image.shape)
            image[region] += depth_at_snr(blob, rng.uniform(20, 200), 1.0) * part
            image[y + 1, x + 1] = 500.0  # a bad pixel in it
            peaks[region] |= part > 0.3
            peaks[y + 1, x + 1] = False
    clean = clean_frame(image)
    assert clean.masked[41::60, 41::60][:16, :16].all()
    assert clean.masked[peaks].mean() < 1e-3


def remaining_offsets(clean: CleanFrame, image: np.ndarray, offsets: np.ndarray) -> float:
    """Return the rms of the remaining offsets."""
    left = (clean.image - image + offsets)[~clean.masked]
    return float(np.std(left))


def test_steps_between_amplifiers_are_subtracted():
    image = noise_frame(5)
    for step in (0.1, 0.25, 0.5):
        steps = np.repeat(np.repeat(step * np.array([[0, 1], [0.5, 0]]), 512, axis=0), 512, axis=1)
        assert remaining_offsets(clean_frame(image + steps), image + steps, steps) < 0.03


@pytest.mark.parametrize(
    ("stripe", "limit"),
    # A mean of 1024 pixels is known to 0.031 sigma; strong stripes keep their means over 33 rows.
    [(0.0, 0.006), (0.05, 0.032), (0.1, 0.04), (0.2, 0.055)],
)
@pytest.mark.parametrize("turn", [np.asarray, np.transpose])
def test_stripes_are_subtracted(stripe, limit, turn):
    stripes = turn(np.broadcast_to(np.random.default_rng(6).normal(0.0, stripe, SIZE), (SIZE, SIZE)))
    image = noise_frame(6) + stripes.astype(np.float32)
    assert remaining_offsets(clean_frame(image), image, stripes) < limit


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.transpose, partial(np.rot90, k=3)])
def test_rotated_frame_is_cleaned_equally(turn, no_death_star):
    image = uneven_frame(7)
    clean, turned = clean_frame(image), clean_frame(np.ascontiguousarray(turn(image)))
    np.testing.assert_array_equal(turned.masked, turn(clean.masked))
    np.testing.assert_allclose(turned.image, turn(clean.image), atol=1e-5)
    np.testing.assert_allclose(fill_unknown(turned.image), turn(fill_unknown(clean.image)), atol=1e-5)
    assert turned.noise == pytest.approx(clean.noise, rel=1e-6)


@pytest.mark.parametrize(("unit", "offset"), [(0.01, 0.0), (1e4, 3e4), (1.0, -60.0)])
def test_unit_and_level_do_not_matter(unit, offset):
    image = uneven_frame(8)
    clean, other = clean_frame(image), clean_frame((unit * image.astype(float) + offset).astype(np.float32))
    assert (other.masked != clean.masked).mean() < 1e-5
    assert other.noise == pytest.approx(unit * clean.noise, rel=1e-3)
    both = ~(other.masked | clean.masked) & np.isfinite(image)
    np.testing.assert_allclose((other.image / unit)[both], clean.image[both], atol=2e-3)


def test_death_star_is_masked_in_a_full_frame():
    clean = clean_frame(noise_frame(9))
    y, x = np.indices(clean.masked.shape)
    distance = np.hypot(x - DEATH_STAR[0], y - DEATH_STAR[1])
    assert clean.masked[distance < 25].all()
    assert clean.masked[(distance > 25) & (distance < 60)].mean() < 1e-3
    assert clean_frame(noise_frame(9)[:256, 256:512]).masked.mean() < 1e-3


def test_filled_pixel_is_the_mean_of_its_neighbours():
    image = np.arange(25, dtype=np.float32).reshape(5, 5)
    image[1, 1] = image[1, 2] = np.nan
    filled = fill_unknown(image)
    assert filled[1, 1] == pytest.approx(np.mean([0, 1, 2, 5, 10, 11, 12]))
    np.testing.assert_array_equal(filled[2:], image[2:])
    image[:3] = np.nan
    filled = fill_unknown(image)
    assert (filled[:2] == 0).all()
    assert filled[2, 0] == pytest.approx(15.5)


def test_input_is_not_changed():
    image = uneven_frame(10)
    before = image.copy()
    clean_frame(image)
    np.testing.assert_array_equal(image, before)


def test_unusable_frames_are_errors():
    with pytest.raises(BlobwatchError, match="the image has no noise"):
        clean_frame(np.ones((256, 256), dtype=np.float32))
    image = noise_frame(0)
    image[90:] = np.nan
    with pytest.raises(BlobwatchError, match="fewer than a tenth of the pixels are finite"):
        clean_frame(image)
