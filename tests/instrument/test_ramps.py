"""Ramps whose background changes: depth and noise are right, cosmic rays are gone."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from instrument.oddfiles import primary

from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import Blob, transmission
from blobwatch.instrument.exposures import read_exposure
from blobwatch.instrument.ramp import Ramp, fit_rate, merge_short_intervals

TIMES = [0.0] + [2.932 + 100.0 * number for number in range(12)]
DEPTH = 0.05
PLACES = [(90, 180), (150, 640), (300, 700), (420, 150), (610, 870), (700, 330), (850, 560), (930, 930)]
BLOBS = [Blob(x=x, y=y, half_width=7.0, depth=DEPTH) for x, y in PLACES]
FLAT = 0.003  # scatter of the pixels' sensitivity
GAIN = float(np.mean(wfc3ir.GAIN))


def glow(shape: str, time: float) -> np.ndarray:
    """Return the background at a time, electrons/s, shape (1024, 1024); about 14,000 electrons in all."""
    share = time / TIMES[-1]
    if shape == "steady":
        return np.full((1024, 1024), 12.7)
    if shape == "helium":  # three times as bright at the end
        return np.full((1024, 1024), 6.4 * (1 + 2 * share))
    edge = np.clip((200 - np.arange(1024)) / 200, 0, 1)  # the bright limb comes into view at the left
    return np.tile(12.7 * (1 + share * edge), (1024, 1))


def hits(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Return the electrons of 11 cosmic rays a second, each one to three pixels long."""
    found = np.zeros((1024, 1024))
    count = rng.poisson(11.0 * seconds)
    x, y = rng.integers(5, 1015, (2, count))
    electrons = 300 + rng.exponential(1500, count)
    for step in range(3):
        lit = rng.random(count) < 1 / (step + 1)
        np.add.at(found, (y[lit], x[lit] + step), electrons[lit])
    return found


def write_ramp(path, product: str, shape: str = "helium", reads: int = 13, rays: bool = True, seed: int = 3):
    """Write a ramp with blobs, newest read first, and flags of a rejection that misfired everywhere."""
    rng = np.random.default_rng(seed)
    seen = transmission(BLOBS) * rng.normal(1.0, FLAT, (1024, 1024))
    collected, signals = np.zeros((1024, 1024)), []
    for number, time in enumerate(TIMES[:reads]):
        if number:
            seconds = time - TIMES[number - 1]
            collected += rng.poisson(glow(shape, time - seconds / 2) * seconds * seen)
            collected += hits(rng, seconds) if rays else 0.0
        signals.append(collected + rng.normal(0, wfc3ir.READ_NOISE / np.sqrt(2), (1024, 1024)))
    flags = fits.ImageHDU(np.full((1024, 1024), wfc3ir.DQ_COSMIC_RAY, np.int16), name="DQ", ver=1)
    hdus = [primary(NSAMP=reads, EXPTIME=TIMES[reads - 1])]
    reset = 11000 + rng.integers(0, 500, (1024, 1024))
    for version, number in enumerate(reversed(range(reads)), start=1):
        signal, time = signals[number], TIMES[number]
        if product == "raw":
            data = np.round(np.clip(signal / GAIN + reset + 5 * number, 0, 65535)).astype(np.uint16)
            data[:, :5], data[:, -5:] = 11000 + 5 * number, 11000 + 5 * number
        else:
            data = (signal / time if time else 0.0 * signal).astype(np.float32)
        read = fits.ImageHDU(data, name="SCI", ver=version)
        read.header.update({"BUNIT": "COUNTS" if product == "raw" else "ELECTRONS/S", "SAMPTIME": time})
        hdus += [read] if version > 1 else [read, flags]
    fits.HDUList(hdus).writeto(path)
    return path


def depth_of(image: np.ndarray) -> float:
    """Return the mean depth of the blobs, each fitted together with a plane."""
    depths = []
    for blob in BLOBS:
        y, x = np.mgrid[int(blob.y) - 25 : int(blob.y) + 26, int(blob.x) - 25 : int(blob.x) + 26]
        shape = (1 - transmission([blob])[y, x]) / DEPTH
        terms = np.stack([np.ones(x.shape), x - blob.x, y - blob.y, shape], axis=-1).reshape(-1, 4)
        level, _, _, missing = np.linalg.lstsq(terms, image[y, x].ravel(), rcond=None)[0]
        depths.append(-missing / level)
    return float(np.mean(depths))


@pytest.mark.parametrize("product", ["raw", "ima"])
@pytest.mark.parametrize("shape", ["steady", "helium", "limb"])
def test_depth_is_right_and_cosmic_rays_are_gone(tmp_path, product, shape):
    exposure = read_exposure(write_ramp(tmp_path / f"a_{product}.fits", product, shape))
    assert exposure.product == product
    assert not exposure.dq[5:-5, 5:-5].any()  # neither flags of another rejection nor saturation
    assert depth_of(exposure.image) == pytest.approx(DEPTH, rel=0.03)
    frame = exposure.image[20:-20, 220:-20]
    level = np.median(frame)
    electrons = level * exposure.exptime * exposure.gain
    expected = np.hypot(np.sqrt(electrons + wfc3ir.READ_NOISE**2) / electrons, FLAT)
    offset = frame / level - 1
    assert np.mean(offset > 6 * expected) < 1e-5  # 2 % of the pixels without rejection
    assert np.std(offset[frame > 0.97 * level]) == pytest.approx(expected, rel=0.05)


def test_with_three_reads_the_newest_minus_the_zeroth_counts(tmp_path):
    exposure = read_exposure(write_ramp(tmp_path / "a_ima.fits", "ima", reads=3))
    assert (exposure.dq[5:-5, 5:-5] == wfc3ir.DQ_COSMIC_RAY).all()  # no other rejection has run
    assert np.median(exposure.image[5:-5, 5:-5]) == pytest.approx(6.4 * (1 + 102.9 / TIMES[-1]), rel=0.02)


def small_ramp(change=None, reads: int = 6) -> Ramp:
    """Return a ramp of 128 x 128 pixels in electrons, 1000 per interval of 10 s."""
    rng = np.random.default_rng(8)
    signals = [np.zeros((128, 128))]
    for _ in range(reads - 1):
        signals.append(signals[-1] + rng.normal(1000, 32, (128, 128)))
    signals = [signal.astype(np.float32) for signal in signals]
    if change:
        change(signals)
    times = [10.0 * number for number in range(reads)]
    return Ramp(signals, [None] * reads, [0.0] * reads, times, 1.0)


def test_saturating_hit_affects_only_later_intervals():
    def hit(signals):
        for signal in signals[3:]:
            signal[70, 30] = 80_000

    rate, saturated = fit_rate(small_ramp(hit))
    assert rate[70, 30] == pytest.approx(100, rel=0.08)  # of two intervals
    assert not saturated.any()


def test_full_well_is_flagged_as_saturated():
    def fill(signals):
        for number, signal in enumerate(signals[1:], start=1):
            signal[70, 30] = 80_000  # at the first read
            signal[20, 90] = 20_000 * number  # between the third and the fourth

    _, saturated = fit_rate(small_ramp(fill))
    assert np.argwhere(saturated).tolist() == [[20, 90], [70, 30]]


def test_flagged_reads_are_saturated_too():
    ramp = small_ramp()
    flagged = np.zeros((128, 128), bool)
    flagged[70, 30] = True
    for number, count in ((1, 1), (4, 0)):
        marked = replace(ramp, saturated=[None] * number + [flagged] * (6 - number))
        assert fit_rate(marked)[1].sum() == count


def test_all_intervals_clean_is_exactly_the_last_read_minus_the_first():
    ramp = small_ramp()
    rate, _ = fit_rate(ramp)
    exact = ramp.between(0, 5) / np.float32(50.0)
    assert np.mean(rate == exact) > 0.999


def test_no_light_and_few_reads_are_not_fitted():
    assert fit_rate(small_ramp(lambda signals: [signal.fill(0.0) for signal in signals])) is None
    assert fit_rate(small_ramp(reads=3)) is None


def test_short_interval_is_merged_with_next():
    ramp = small_ramp()
    half = replace(ramp, signals=[ramp.signals[0], 0.03 * ramp.signals[1], *ramp.signals[1:]])
    half = replace(half, times=[0.0, 0.3, *ramp.times[1:]], levels=[0.0] * 7, saturated=[None] * 7)
    assert merge_short_intervals(half) == [0, 2, 3, 4, 5, 6]
