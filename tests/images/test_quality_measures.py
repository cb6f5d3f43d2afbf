"""Quality of an exposure: its measures, absolute limits, and the comparison with the season."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blobwatch.history import History
from blobwatch.images.flatten import blob_image
from blobwatch.images.quality_limits import (
    PRIORS,
    estimate_distribution,
    outlier_reason,
    suspect_message,
    unusable_reason,
)
from blobwatch.images.quality_measures import Quality, expected_noise, measure_difference, measure_exposure
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.bad_exposures import FAULTS
from blobwatch.instrument.exposure_files import ExposureFile
from blobwatch.instrument.exposures import Exposure
from blobwatch.instrument.season import expose, plan_season
from blobwatch.settings import QualitySettings

ELECTRONS = 16000.0
SETTINGS = QualitySettings()
GOOD = Quality(ELECTRONS, 0.2, 0.02, 0.0, 1102.9, 0.008, 0.0095, 1.0, 0.001, 0.0, 0.05)
Y, X = np.mgrid[:1024, :1024] / 1023.0


def exposure(image, dq=None, seconds=1.0) -> Exposure:
    dq = np.zeros(image.shape, dtype=np.int16) if dq is None else dq
    return Exposure(
        Path("ia_flt.fits"), "ia", 58000.0, "F153M", image=image, dq=dq, exptime=seconds, gain=1.0
    )


def draw_exposure(seed: int, pattern=1.0) -> np.ndarray:
    """Return uniform light with the noise of photons and reads."""
    rng = np.random.default_rng(seed)
    noise = np.sqrt(ELECTRONS + wfc3ir.READ_NOISE**2)
    return ELECTRONS * pattern + rng.normal(0.0, noise, (1024, 1024))


@pytest.fixture(scope="module")
def references() -> list[np.ndarray]:
    return [blob_image(draw_exposure(seed), np.zeros((1024, 1024), np.int16)) for seed in (1, 2, 3)]


def measure(one: Exposure, references: list[np.ndarray]) -> Quality:
    image = blob_image(one.image, one.dq)
    return measure_difference(measure_exposure(one, image), image, references, [ELECTRONS] * len(references))


def test_uniform_exposure_is_accepted(references):
    quality = measure(exposure(draw_exposure(4)), references)
    assert quality.light == pytest.approx(ELECTRONS, rel=0.001)
    assert quality.excess == pytest.approx(1.0, abs=0.03)
    assert quality.noise == pytest.approx(expected_noise(ELECTRONS), rel=0.01)
    assert (quality.flagged, quality.saturated, quality.sources) == (0.0, 0.0, 0.0)
    assert max(quality.gradient, quality.streaks, quality.banding) < 0.03
    assert unusable_reason(quality, "DARK-EARTH-CALIB", SETTINGS) == ""
    assert outlier_reason(quality, [], SETTINGS) == ""


def test_common_pattern_of_all_exposures_cancels():
    """Such as the error of a flat: 1 % per pixel, more than the noise."""
    pattern = 1 + np.random.default_rng(5).normal(0, 0.01, (1024, 1024))
    images = [
        blob_image(draw_exposure(seed, pattern), np.zeros((1024, 1024), np.int16)) for seed in (1, 2, 3)
    ]
    quality = measure(exposure(draw_exposure(4, pattern)), images)
    assert quality.noise > 1.5 * expected_noise(ELECTRONS)
    assert quality.excess == pytest.approx(1.0, abs=0.03)
    assert outlier_reason(quality, [], SETTINGS) == ""


def streaks(image):
    image[:, np.arange(1024) % 12 < 4] *= 1.015


def sources(image):
    for x, y in np.random.default_rng(7).integers(20, 1000, (120, 2)):
        image[y : y + 4, x : x + 4] *= 1.2


def bands(image):
    image *= 1 + 0.004 * np.sign(np.sin(np.arange(1024)[:, None]))


def noise(image):
    image += ELECTRONS * np.random.default_rng(8).normal(0, 0.012, image.shape)


def limb(image):
    image *= 1 + 5 * np.clip(1 - X, 0, 1) ** 3


@pytest.mark.parametrize(
    ("spoil", "label"),
    [
        (streaks, "share of lit blocks"),
        (sources, "share of blocks with a source"),
        (bands, "banding"),
        (noise, "noise over the expected"),
        (limb, "glow gradient"),
    ],
)
def test_each_defect_is_named(references, spoil, label):
    image = draw_exposure(4)
    spoil(image)
    assert f"{label} " in outlier_reason(measure(exposure(image), references), [GOOD] * 10, SETTINGS)


def test_difference_needs_references(references):
    image = draw_exposure(4)
    sources(image)
    quality = measure(exposure(image), references[:2])
    assert np.isnan([quality.residual, quality.excess, quality.streaks, quality.sources]).all()
    assert outlier_reason(quality, [], SETTINGS) == ""


@pytest.mark.parametrize(
    ("change", "target", "words"),
    [
        ({"light": 60.0}, "", "no light: 60 electrons per pixel"),
        ({"light": np.nan, "flagged": 0.2}, "", "no light"),
        ({"saturated": 0.7, "flagged": 0.8}, "", "saturated: "),
        ({"light": 80_000.0}, "", "saturated: "),
        ({"flagged": 0.51}, "", "51% of the pixels are flagged"),
        ({}, "NGC-188", "target NGC-188, not the Earth"),
    ],
)
def test_unusable_exposures(change, target, words):
    assert unusable_reason(replace(GOOD, **change), target, SETTINGS).startswith(words)
    assert unusable_reason(GOOD, "", SETTINGS) == ""


def test_weight_of_the_season_grows_with_its_length():
    """Excess noise of 1.35 is accepted if all exposures of the season have it."""
    odd = replace(GOOD, excess=1.35)
    assert outlier_reason(odd, [], SETTINGS) == ""
    assert "noise over the expected 1.35" in outlier_reason(odd, [GOOD] * 20, SETTINGS)
    assert outlier_reason(odd, [replace(GOOD, excess=value) for value in (1.3, 1.4) * 10], SETTINGS) == ""
    location, scatter = estimate_distribution([1.0, 1.0, 1.0], PRIORS["gradient"])
    assert (location, scatter) == pytest.approx((0.65, 0.2))  # half prior, half season; the floor


def test_bad_exposures_do_not_hide_others():
    season = [GOOD] * 6 + [replace(GOOD, streaks=0.3)] * 4
    assert "share of lit blocks" in outlier_reason(replace(GOOD, streaks=0.2), season, SETTINGS)


@pytest.mark.parametrize(
    ("seconds", "light", "rejected"),
    [(203.0, 3000.0, True), (203.0, 15000.0, False), (1102.9, 5000.0, False), (803.0, 7900.0, False)],
)
def test_truncated_ramp_is_short_and_faint(seconds, light, rejected):
    one = replace(GOOD, exptime=seconds, light=light)
    assert ("truncated ramp: " in outlier_reason(one, [GOOD] * 5, SETTINGS)) is rejected


def test_many_rejections_make_the_limits_suspect():
    assert suspect_message(4, 12, SETTINGS) == ""
    assert suspect_message(5, 12, SETTINGS).startswith(
        "5 of 12 exposures are rejected. The limits are suspect"
    )
    assert suspect_message(3, 5, SETTINGS) == ""  # too few to tell


def test_simulated_exposures(params):
    season = plan_season(8, params.simulate.model_copy(update={"exposures": 25, "bad_exposures": 15}))
    history = History()
    pointings = sorted(season.pointings, key=lambda one: one.expstart)
    for pointing in pointings:
        _, planes = expose(season, pointing)
        image, dq = wfc3ir.embed(planes["SCI"]), wfc3ir.embed(planes["DQ"], fill=0)
        one = ExposureFile(
            Path(f"{pointing.rootname}_flt.fits"), pointing.rootname, pointing.expstart, "F153M"
        )
        history.add(one)
        history.set_exposure(one, exposure(image, dq, pointing.exptime))
    reasons = {name: history.rejection(one) for name, one in history.exposures.items()}
    kinds = {one.rootname: one.fault for one in pointings}
    assert sorted(kinds.values())[:25] == [""] * 25
    assert [reasons[name] for name, kind in kinds.items() if not kind] == [""] * 25
    # With fewer than three exposures before it the difference is not judged.
    late = [
        name for name, kind in kinds.items() if kind and len(history.earlier(history.exposures[name])) > 3
    ]
    missed = [kinds[name] for name in late if not reasons[name]]
    assert set(kinds.values()) == {"", *FAULTS}
    assert len(late) >= 8
    assert set(missed) <= {"dim"}  # with little light, an exposure has just the noise of its photons
