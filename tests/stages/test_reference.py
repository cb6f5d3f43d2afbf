"""Stage ``reference``, and the statistics that it measures: of difference images with the box model."""

import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic import NOISE, image_with_blobs, write_image

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.blobs import Blob
from blobwatch.monitor.drift import read_reference
from blobwatch.monitor.statistics import STATISTICS, measure_statistics
from blobwatch.params import Reference
from blobwatch.predict import Predictor
from blobwatch.stages.reference import REFERENCE, bootstrap_ranges, reference

SETTINGS = Reference(exposures=3, together=2, draws=500, confidence=0.9)
LOUD = Blob(x=411.8, y=89.1, half_width=4.0, depth=0.1)
SPLITS = ("train", "train", "val", "train", "test")


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    """Five difference images, each noisier than the one before; the first has a blob."""
    folder = tmp_path_factory.mktemp("differences")
    for number in range(len(SPLITS)):
        image = image_with_blobs([LOUD] if number == 0 else [], number, NOISE * (1 + number / 10))
        write_image(folder / f"izzz{number:04d}q_diff.fits", image, ROOTNAME=f"izzz{number:04d}q")
    return folder


def subframes_of(folder, splits):
    rows = [f"izzz{number:04d}q,{split}" for number, split in enumerate(splits)]
    (folder / "index.csv").write_text("\n".join(["rootname,split", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def measured(box_model, differences, tmp_path_factory):
    """Return the result of the stage and its output file."""
    folder = tmp_path_factory.mktemp("measured")
    subframes = subframes_of(folder, SPLITS)
    found = reference(box_model, differences, subframes, folder / "out", SETTINGS, seed=1, workers=1)
    return found, folder / "out" / REFERENCE


def test_reference_measures_training_exposures_only(measured, box_model):
    found, path = measured
    assert json.loads(path.read_text()) == found
    assert list(found) == ["model", "together", "ranges", "exposures"]
    assert (found["model"], found["together"]) == (Model.load(box_model).sha256, 3)
    assert [row["rootname"] for row in found["exposures"]] == ["izzz0000q", "izzz0001q", "izzz0003q"]
    for row, noise, blobs in zip(found["exposures"], (1.0, 1.1, 1.3), (1, 0, 0), strict=True):
        assert set(row) == {"rootname", *STATISTICS}
        assert row["noise"] == pytest.approx(noise * NOISE, rel=0.02)
        assert row["found"] == blobs


def test_ranges_contain_mean_and_lie_within_measured_values(measured):
    found, _ = measured
    assert set(found["ranges"]) == set(STATISTICS)
    for name, known in found["ranges"].items():
        seen = [row[name] for row in found["exposures"]]
        digit = 1e-5 * np.abs(seen).max()  # as the file is rounded
        assert min(seen) - digit <= known["low"] <= known["mean"] <= known["high"] <= max(seen) + digit
        assert known["mean"] == pytest.approx(np.mean(seen), rel=1e-5)
    assert found["ranges"]["noise"]["low"] < found["ranges"]["noise"]["high"]


def test_monitor_reads_reference(measured):
    found, path = measured
    known = read_reference(path)
    assert (known.model, known.together, known.ranges) == (found["model"], 3, found["ranges"])
    assert not any(known.is_outside(name, known.ranges[name]["mean"]) for name in STATISTICS)
    assert known.is_outside("noise", 1.4 * NOISE)


def rows_of(count: int) -> list[dict]:
    return [
        dict(zip(STATISTICS, row, strict=True)) for row in np.random.default_rng(3).normal(size=(count, 4))
    ]


def test_ranges_depend_on_seed():
    first, again, other = (
        bootstrap_ranges(rows_of(30), SETTINGS, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_neighbours_are_drawn_in_runs():
    """Check that means of runs scatter more if neighbours are correlated."""
    slow = [dict.fromkeys(STATISTICS, float(number // 10)) for number in range(40)]
    widths = []
    for together in (10, 1):
        settings = SETTINGS.model_copy(update={"exposures": 10, "together": together})
        noise = bootstrap_ranges(slow, settings, np.random.default_rng(1))["noise"]
        widths.append(noise["high"] - noise["low"])
    assert widths[0] > 2 * widths[1]


def test_ranges_of_one_exposure():
    one = bootstrap_ranges(rows_of(1), SETTINGS, np.random.default_rng(1))
    assert all(known["low"] == known["mean"] == known["high"] for known in one.values())


def test_subframes_without_training_exposures(box_model, differences, tmp_path):
    with pytest.raises(BlobwatchError, match="no training exposures\\. Run `dvc repro subframes`"):
        reference(box_model, differences, subframes_of(tmp_path, ["val"]), tmp_path / "out", SETTINGS, 1)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def statistics(box_model):
    predictor = Predictor.load(box_model)
    return lambda image: measure_statistics(predictor(image))


def test_noise_statistic_matches_image(statistics):
    quiet, loud = (statistics(image_with_blobs([], 1, noise)) for noise in (0.004, 0.03))
    assert quiet["noise"] == pytest.approx(0.004, rel=0.01)
    assert loud["noise"] == pytest.approx(0.03, rel=0.01)
    assert max(quiet["contaminants"], loud["contaminants"]) < 0.002
    assert quiet["contaminants"] == pytest.approx(loud["contaminants"], abs=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_contaminated_share_matches_streaks(statistics, sign):
    image = image_with_blobs([], 2)
    clean = statistics(image)["contaminants"]
    shares = []
    for rows in (16, 64):
        streaked = image.copy()
        streaked[400 : 400 + rows] += sign * 5 * NOISE
        shares.append(statistics(streaked)["contaminants"] - clean)
    assert shares == pytest.approx([16 / 1024, 64 / 1024], rel=0.1)


def test_one_blob_is_found_and_keeps_score(statistics):
    image, loud = image_with_blobs([], 4), image_with_blobs([LOUD], 4)
    without, with_it = statistics(image), statistics(loud)
    assert (without["found"], with_it["found"]) == (0, 1)
    assert with_it["score"] == pytest.approx(without["score"], abs=0.3)
    assert with_it["noise"] == pytest.approx(without["noise"], rel=0.01)


def test_many_blobs_raise_score(statistics):
    everywhere = [Blob(128 + 256 * i, 128 + 256 * j, 4.0, 0.1) for i in range(4) for j in range(4)]
    found = statistics(image_with_blobs(everywhere, 4))
    assert found["found"] == 16
    assert found["score"] > statistics(image_with_blobs([], 4))["score"] + 3


def test_extreme_probabilities_give_finite_scores(box_model):
    answer = Predictor.load(box_model)(image_with_blobs([], 5))
    for sure, sign in ((np.zeros(16), -1), (np.ones(16), 1)):
        for kind in (np.float32, np.float64):
            score = measure_statistics(replace(answer, probabilities=sure.astype(kind)))["score"]
            assert score == pytest.approx(sign * np.log(1e7), abs=0.3)
