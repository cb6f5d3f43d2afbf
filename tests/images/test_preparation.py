"""What the network sees: blobs as they are, in white noise of one, without background and offsets."""

import numpy as np
import pytest

from blobwatch.errors import BlobwatchError
from blobwatch.images import cleaning
from blobwatch.images.preparation import prepare_frame
from blobwatch.images.scaling import CLIP
from blobwatch.images.whitening import noise_at_blob_scale
from blobwatch.instrument.blobs import Blob, depth_at_snr, overlap
from blobwatch.instrument.contaminants import add_line
from blobwatch.robustness import noise

SIZE = 1024
SPECTRA = {"white": noise.white_spectrum(), "correlated": noise.smoothed_spectrum(0.6, 1.0)}
BOTH = pytest.mark.parametrize("true", SPECTRA.values(), ids=SPECTRA)


@pytest.fixture(autouse=True)
def no_death_star(monkeypatch):
    """Remove the mask of the death star, so that all pixels are known."""
    monkeypatch.setattr(cleaning, "death_star_mask", lambda: np.zeros((SIZE, SIZE), dtype=bool))


def frame(true: np.ndarray = SPECTRA["white"], seed: int = 1) -> np.ndarray:
    return noise.draw_noise(np.random.default_rng(seed), true)


def add_blobs(image: np.ndarray, blobs: list[Blob]) -> np.ndarray:
    image = image.copy()
    for blob in blobs:
        region, part = overlap(*blob.unit_shape(), image.shape)
        image[region] += (blob.depth * part).astype(np.float32)
    return image


def block_scatter(image: np.ndarray, block: int) -> float:
    """Return the scatter of block sums, 1 for white noise of 1."""
    sums = image.reshape(image.shape[0] // block, block, -1, block).sum(axis=(1, 3)) / block
    return float(sums.std())


@BOTH
@pytest.mark.parametrize("seed", [1, 2])
def test_noise_is_one_at_all_scales(true, seed):
    prepared = prepare_frame(0.01 * frame(true, seed) + 0.3)
    assert prepared.scaled.dtype == np.float32
    assert [block_scatter(prepared.scaled, block) for block in (1, 2, 4, 8)] == pytest.approx(
        [1.0] * 4, abs=0.05
    )
    assert np.abs(prepared.scaled).max() <= CLIP


def measure_shape(true: np.ndarray, half_width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return relative amplitude and shape correlation of 25 blobs after preparation."""
    image = frame(true)
    before = prepare_frame(image)
    places = range(100, 1000, 200)
    blobs = [Blob(x, y, half_width, 1.0) for x in places for y in places]
    blobs = [
        Blob(b.x, b.y, half_width, depth_at_snr(b, 20.0, noise_at_blob_scale(before.spectrum))) for b in blobs
    ]
    after = prepare_frame(add_blobs(image, blobs), before.spectrum)
    added = (after.scaled - before.scaled) * noise_at_blob_scale(before.spectrum)
    amplitudes, likenesses = [], []
    for blob in blobs:
        region, part = overlap(*blob.unit_shape(), image.shape)
        product = (added[region] * part).sum()
        amplitudes.append(product / (part**2).sum() / blob.depth)
        likenesses.append(product / np.sqrt((added[region] ** 2).sum() * (part**2).sum()))
    return np.array(amplitudes), np.array(likenesses)


@BOTH
@pytest.mark.parametrize(
    ("half_width", "least", "alike"), [(6.0, 0.95, 0.99), (9.0, 0.9, 0.99), (12.0, 0.85, 0.98)]
)
def test_large_blobs_keep_shape_and_amplitude(true, half_width, least, alike):
    amplitudes, likenesses = measure_shape(true, half_width)
    assert least < amplitudes.mean() < 1.02
    assert amplitudes.min() > least - 0.05
    assert likenesses.mean() > alike


def streak(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    add_line(image, 500.0, 480.0, 900.0, 7.5, 3.0, -1.0)
    return image


def stars(image: np.ndarray) -> np.ndarray:
    rng, image = np.random.default_rng(4), image.copy()
    v, u = np.indices((25, 25)) - 12
    for x, y in rng.integers(20, 1000, (60, 2)):
        peak = np.exp(rng.uniform(*np.log([3.0, 60.0])))
        image[y - 12 : y + 13, x - 12 : x + 13] -= peak * np.exp(-4 * np.log(2) * (u**2 + v**2) / 1.5**2)
    return image


def twenty_blobs(image: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(5)
    blobs = [Blob(*rng.uniform(30, 990, 2), rng.uniform(3.0, 10.0), 1.0) for _ in range(20)]
    return add_blobs(image, [Blob(b.x, b.y, b.half_width, depth_at_snr(b, 12.0, 1.0)) for b in blobs])


@BOTH
@pytest.mark.parametrize("add", [streak, stars, twenty_blobs])
def test_sources_and_streaks_hardly_change_the_noise(true, add):
    image = frame(true)
    before, after = (prepare_frame(one).spectrum for one in (image, add(image)))
    assert noise_at_blob_scale(after) == pytest.approx(noise_at_blob_scale(before), rel=0.05)
    bands = np.sqrt(after / before)[:, 8:64].reshape(128, 7, 8).mean(axis=(0, 2))
    np.testing.assert_allclose(bands, 1.0, atol=0.05)


def test_background_and_offsets_are_subtracted():
    image = frame()
    x = np.linspace(-1.0, 1.0, SIZE)
    light = 2.0 * x + 3.0 * np.outer(x, x) + np.sin(3.0 * x)[:, None]
    light[:512, 512:] += 0.3
    light += np.random.default_rng(6).normal(0.0, 0.2, (SIZE, 1))
    plain, uneven = (prepare_frame(one.astype(np.float32)).scaled for one in (image, image + light))
    left = uneven - plain
    assert left.std() < 0.1  # the background is not continued beyond the centres of the outermost boxes
    inner = left[64:-64, 64:-64]
    assert inner.std() < 0.06
    assert block_scatter(inner, 16) / 16 < 0.045


@pytest.mark.parametrize(("unit", "offset"), [(0.01, 0.0), (1e4, 3e4), (1.0, -60.0)])
def test_unit_and_offset_do_not_matter(unit, offset):
    image = add_blobs(frame(SPECTRA["correlated"]), [Blob(400.0, 300.0, 6.0, 2.0)])
    other = (unit * image.astype(float) + offset).astype(np.float32)
    np.testing.assert_allclose(prepare_frame(other).scaled, prepare_frame(image).scaled, atol=5e-3)


def test_given_spectrum_is_used():
    image = frame()
    prepared = prepare_frame(image)
    twice = prepare_frame(image, 4 * prepared.spectrum)
    np.testing.assert_allclose(2 * twice.scaled, prepared.scaled, atol=1e-5)


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.transpose, np.rot90])
def test_rotated_frame_is_prepared_equally(turn):
    image = frame(SPECTRA["correlated"])
    image[:5] = image[300:340, 500:560] = np.nan
    turned = prepare_frame(np.ascontiguousarray(turn(image))).scaled
    np.testing.assert_allclose(turned, turn(prepare_frame(image).scaled), atol=0.02)


@BOTH
def test_unknown_pixels_are_zero(true):
    image = frame(true)
    image[:5] = image[-5:] = image[:, :5] = image[:, -5:] = np.nan
    image[300:340, 500:560] = np.inf
    scaled = prepare_frame(image).scaled
    assert np.isfinite(scaled).all()
    assert np.abs(scaled[310:330, 510:550]).max() < 0.1
    assert scaled[350:450, 500:560].std() == pytest.approx(1.0, abs=0.1)


def test_input_is_not_changed():
    image = frame()
    before = image.copy()
    prepare_frame(image)
    np.testing.assert_array_equal(image, before)


def test_unusable_frames_are_errors():
    with pytest.raises(BlobwatchError, match="the image has no noise"):
        prepare_frame(np.ones((SIZE, SIZE), dtype=np.float32))
    image = frame()
    image[90:] = np.nan
    with pytest.raises(BlobwatchError, match="fewer than a tenth of the pixels are finite"):
        prepare_frame(image)
    image = frame()
    image[np.random.default_rng(7).uniform(size=image.shape) < 0.4] = np.nan
    with pytest.raises(BlobwatchError, match="too few pixels are known to measure the noise"):
        prepare_frame(image)
