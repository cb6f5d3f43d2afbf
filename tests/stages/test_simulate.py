"""Stage ``simulate``: exposures and truth table."""

import pytest

from blobwatch.files import folder_hash, read_table
from blobwatch.instrument.exposures import read_exposure
from blobwatch.instrument.season import TRUTH
from blobwatch.params import Simulate
from blobwatch.stages.simulate import simulate


@pytest.fixture(scope="module")
def settings(params) -> Simulate:
    return params.simulate.model_copy(update={"days": 60.0, "exposures": 3, "new_blobs_per_month": 5.0})


@pytest.fixture(scope="module")
def made(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "simulated"
    return folder, simulate(folder, settings, seed=7, workers=1)


def test_folder_contains_exposures_and_truth(made):
    folder, season = made
    names = [f"{pointing.rootname}_flt.fits" for pointing in season.pointings]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, TRUTH])
    assert [path.name for path in folder.parent.iterdir()] == ["simulated"]
    for name, pointing in zip(names, season.pointings, strict=True):
        read = read_exposure(folder / name)
        assert read.rootname == pointing.rootname
        assert read.expstart == pointing.expstart
        assert read.filter == "F153M"


def test_season_size_is_limited(made, params):
    folder, season = made
    size = sum(path.stat().st_size for path in folder.glob("*.fits")) / len(season.pointings)
    assert size * params.simulate.exposures < 250e6


def test_truth_lists_every_blob(made):
    folder, season = made
    rows = read_table(folder / TRUTH)
    assert len(rows) == len(season.old) + len(season.new)
    assert [row["blob"] for row in rows] == [str(number) for number in range(1, len(rows) + 1)]
    old, new = rows[: len(season.old)], rows[len(season.old) :]
    assert {row["kind"] for row in old} == {"old"}
    assert {row["appeared_mjd"] for row in old} == {""}
    assert new
    for row, (moment, blob) in zip(new, season.new, strict=True):
        assert row["kind"] == "new"
        assert float(row["appeared_mjd"]) == pytest.approx(moment, abs=1e-5)
        assert (float(row["x"]), float(row["y"])) == pytest.approx((blob.x, blob.y), abs=1e-3)
        assert float(row["depth"]) == pytest.approx(blob.depth, abs=1e-5)
        assert season.settings.start <= moment <= season.settings.start + 60
        assert float(row["snr"]) > 0
        assert 4 < float(row["radius"]) < 13


def test_output_is_independent_of_workers(made, settings, tmp_path):
    folder, _ = made
    simulate(tmp_path / "simulated", settings, seed=7, workers=2)
    assert folder_hash(tmp_path / "simulated") == folder_hash(folder)


def test_truth_depends_on_seed(made, settings, tmp_path):
    simulate(tmp_path / "simulated", settings.model_copy(update={"exposures": 1}), seed=8, workers=1)
    assert (tmp_path / "simulated" / TRUTH).read_bytes() != (made[0] / TRUTH).read_bytes()


def test_error_keeps_old_season(made, settings, monkeypatch, tmp_path):
    target = tmp_path / "simulated"
    target.mkdir()
    (target / "kept.txt").write_text("old")

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("blobwatch.stages.simulate.write_flt", fail)
    with pytest.raises(OSError, match="no space left"):
        simulate(target, settings, seed=7, workers=1)
    assert [path.name for path in target.iterdir()] == ["kept.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["simulated"]
