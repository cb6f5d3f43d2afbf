"""Bad exposures are told from good ones, and no stack holds one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blobwatch.errors import Unfit
from blobwatch.images.blobimage import blob_image
from blobwatch.images.quality import Limits, expected_noise, fault_of, fit_image, measure_quality
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.badframes import FAULTS
from blobwatch.instrument.exposures import Exposure
from blobwatch.instrument.season import expose, plan_season
from blobwatch.stages.simulate import sky_of


def exposure(image, dq=None, seconds=1.0, gain=1.0) -> Exposure:
    dq = np.zeros(image.shape, dtype=np.int16) if dq is None else dq
    return Exposure("ia", image, dq, 58000.0, seconds, gain, "F153M", "", "", Path("ia_flt.fits"))


@pytest.fixture(scope="module")
def even() -> Exposure:
    """Even light of 16,000 electrons, with the noise of photons and reads."""
    rng = np.random.default_rng(3)
    spread = np.sqrt(16000 + wfc3ir.READ_NOISE**2)
    return exposure(rng.normal(16000.0, spread, (1024, 1024)))


def measured(one: Exposure):
    return measure_quality(one, blob_image(one.image, one.dq))


def test_limits_are_those_of_the_parameters(params):
    assert params.difference.quality.model_dump() == Limits().__dict__


def test_an_even_exposure_has_no_fault(even):
    quality = measured(even)
    assert quality.excess == pytest.approx(1.0, abs=0.01)
    assert quality.noise == pytest.approx(expected_noise(16000.0), rel=0.01)
    assert quality.gradient < 0.02
    assert quality.streaks < 0.001
    assert quality.flagged == 0.0
    assert fault_of(quality, Limits()) == ""
    assert np.array_equal(fit_image(even, 64, Limits()), blob_image(even.image, even.dq))


def test_each_measure_grows_with_its_own_fault_alone(even):
    y, x = np.mgrid[:1024, :1024] / 1023.0
    rng = np.random.default_rng(4)
    quality = measured(replace(even, image=even.image * (1 + 0.5 * x)))
    assert quality.gradient == pytest.approx(0.5 * 15 / 16 / 1.25, abs=0.02)
    assert quality.streaks < 0.001
    lit = even.image.copy()
    lit[100:140] *= 1.02
    assert measured(replace(even, image=lit)).streaks == pytest.approx(40 / 1024, abs=0.002)
    noisy = replace(even, image=even.image + 16000 * rng.normal(0, 0.01, y.shape))
    assert measured(noisy).excess == pytest.approx(np.hypot(1, 0.01 / expected_noise(16000.0)), rel=0.02)
    dq = np.zeros((1024, 1024), dtype=np.int16)
    dq[5:107] = 1
    dq[200:900] = wfc3ir.DQ_BLOB | 64  # blobs and warm pixels are no loss
    assert measured(replace(even, dq=dq)).flagged == pytest.approx(102 / 1014)


def test_few_electrons_make_noise_though_no_excess(even):
    rng = np.random.default_rng(5)
    faint = exposure(rng.normal(900.0, np.sqrt(900 + wfc3ir.READ_NOISE**2), (1024, 1024)))
    quality = measured(faint)
    assert quality.excess == pytest.approx(1.0, abs=0.02)
    assert fault_of(quality, Limits()) == f"noise {quality.noise:.3g} above 0.0115"


def test_a_ramp_is_not_held_against_its_photons(even):
    quality = measured(replace(even, gain=2.35))
    assert np.isnan(quality.excess)
    assert fault_of(quality, Limits()) == ""


def test_several_faults_are_all_named_and_nothing_known_is_a_fault():
    nothing = exposure(np.full((1024, 1024), np.nan))
    said = fault_of(measured(nothing), Limits())
    assert "glow gradient nan above 1.2; share of streaks nan" in said
    assert "share of flagged pixels 1 above 0.1" in said
    with pytest.raises(Unfit, match=r"ia_flt\.fits is a bad exposure \(glow gradient nan"):
        fit_image(nothing, 64, Limits())


def taken(season, pointing) -> Exposure:
    header, planes = expose(season, pointing)
    image, dq = wfc3ir.embed(planes["SCI"]), wfc3ir.embed(planes["DQ"], fill=0)
    return replace(exposure(image, dq, pointing.exptime), rootname=header["ROOTNAME"])


def test_bad_exposures_of_a_season_are_caught_and_good_ones_kept(params):
    """More of each are in docs/simulator.md: 200 of 200 bad ones caught, 0 of 200 good ones lost."""
    own = params.simulate
    season = plan_season(8, own.start, own.days, 20, sky_of(own), bad=20)
    kinds = [one.fault for one in season.pointings]
    assert kinds == [""] * 20 + 4 * list(FAULTS)
    faults = [fault_of(measured(taken(season, one)), Limits()) for one in season.pointings]
    assert sum(map(bool, faults[:20])) == 0
    assert sum(map(bool, faults[20:])) >= 19
    words = {"limb": "glow", "streaks": "streaks", "dim": "noise", "noise": "expected", "lost": "flagged"}
    named = [words[kind] in fault for kind, fault in zip(kinds[20:], faults[20:], strict=True)]
    assert sum(named) >= 18


def test_bad_exposures_leave_the_good_ones_as_they_are(params):
    own = params.simulate
    seasons = [plan_season(8, own.start, own.days, 3, sky_of(own), bad) for bad in (0, 2)]
    assert seasons[0].pointings == seasons[1].pointings[:3]
    assert [one.rootname[-3:] for one in seasons[1].pointings] == ["00q", "01q", "02q", "03q", "04q"]
    assert np.array_equal(*(expose(season, season.pointings[1])[1]["SCI"] for season in seasons))
    assert expose(seasons[1], seasons[1].pointings[3])[0]["SIMFAULT"] == "limb"
