"""The predictor keeps its contract (DESIGN.md) on any image, with any model."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from synthetic import (
    NOISE,
    image_with_blobs,
    random_network,
    write_exposure,
    write_image,
    write_model,
)

from blobwatch import detections
from blobwatch.artefact import ONNX
from blobwatch.detections import measure_blobs
from blobwatch.errors import BlobwatchError, RejectedExposure
from blobwatch.figures.prediction import plot_prediction as draw
from blobwatch.files import file_hash
from blobwatch.history import History
from blobwatch.images.cleaning import clean_frame
from blobwatch.images.peaks import Peaks
from blobwatch.images.tiling import tiles
from blobwatch.instrument.blobs import Blob, blob_snr, half_width_at, old_snr_at, read_old_blobs
from blobwatch.instrument.exposure_files import list_exposures
from blobwatch.predict import Predictor, find_model
from blobwatch.settings import DifferenceSettings

LOUD = Blob(x=411.8, y=89.1, half_width=4.0, depth=0.04)
STRADDLING = Blob(x=511.6, y=767.4, half_width=4.5, depth=0.04)  # over four subframes


@pytest.fixture(scope="module")
def predictor(box_model):
    return Predictor.load(box_model)


@pytest.fixture(scope="module")
def image():
    return image_with_blobs([LOUD, STRADDLING])


@pytest.fixture(scope="module")
def answer(predictor, image):
    return predictor(image, name="given.fits", rootname="izzz0000q")


def test_prediction_as_json(answer, box_model):
    content = json.loads(json.dumps(answer.as_json(), allow_nan=False))
    subframes, blobs = content.pop("subframes"), content.pop("blobs")
    assert len(content.pop("old_blob_residuals")) == len(answer.residuals)
    model = {"name": "blobwatch", "version": None, "run_id": None, "sha256": file_hash(box_model / ONNX)}
    assert content == {
        "image": "given.fits",
        "rootname": "izzz0000q",
        "kind": "difference",
        "model": model,
        "threshold": 0.5,
        "masked_pixels": answer.masked.sum(),
    }
    for index, one in enumerate(subframes):
        row, col = divmod(index, 4)  # row-major from the bottom row
        place = {"index": index, "row": row, "col": col, "x0": 256 * col, "y0": 256 * row, "size": 256}
        assert one == place | {"probability": one["probability"], "blob": one["probability"] >= 0.5}
        assert 0.0 <= one["probability"] <= 1.0
    assert len(subframes) == 16
    for blob in blobs:
        assert list(blob) == ["x", "y", "radius", "probability", "snr", "depth"]
        assert all(type(value) is float for value in blob.values())
        assert blob["probability"] >= 0.5


def test_each_blob_is_found_once(answer):
    assert len(answer.blobs) == 2
    found = {(blob.x > 450): blob for blob in answer.blobs}
    for blob, true in ((found[False], LOUD), (found[True], STRADDLING)):
        assert (blob.x, blob.y) == pytest.approx((true.x, true.y), abs=3.0)
        # Both are smaller than is usual at their places, so that the fit of a typical shape takes less.
        assert 0.4 < blob.depth / true.depth < 1.1
        assert 0.7 < blob.snr / blob_snr(true, NOISE) < 1.1
    assert answer.blobs[0].probability >= answer.blobs[1].probability


def flagged(answer) -> list[int]:
    return np.flatnonzero(answer.probabilities >= answer.threshold).tolist()


def containing_tiles(answer) -> list[int]:
    return [tile.index for tile in tiles() if any(tile.contains(blob.x, blob.y) for blob in answer.blobs)]


def test_blob_at_a_corner_is_in_one_subframe(answer):
    assert flagged(answer) == containing_tiles(answer)
    assert len(flagged(answer)) == 2
    assert {9, 10, 13, 14} & set(flagged(answer))


def test_shifted_blob_at_a_border_is_found_once(predictor):
    for step in np.linspace(-6, 6, 13):
        found = predictor(image_with_blobs([Blob(512.0 + step, 511.5 + step / 3, 4.5, 0.04)]))
        assert len(found.blobs) == 1, step
        assert flagged(found) == containing_tiles(found)


def test_refined_position_stays_in_the_subframe_of_its_peak():
    true = Blob(512.2, 300.0, 6.0, 0.05)
    peaks = Peaks(np.array([511.4]), np.array([300.0]), np.array([0.9]))
    clean = clean_frame(image_with_blobs([true]))
    (found,) = measure_blobs(peaks, clean)
    assert 511.49 < found.x < 511.5
    assert found.y == pytest.approx(true.y, abs=0.3)
    (free,) = measure_blobs(replace(peaks, x=np.array([511.6])), clean)
    assert free.x == pytest.approx(true.x, abs=0.3)


def test_residual_of_an_old_blob_is_not_a_new_blob(predictor, monkeypatch):
    """Compare the residual with the same light elsewhere, and with an old blob of full depth."""
    x, y, depth = max(read_old_blobs().tolist(), key=lambda one: old_snr_at(*one[:2]))
    whole = Blob(x=x, y=y, half_width=half_width_at(x, y), depth=depth)
    left = replace(whole, x=x + 3.0, depth=0.4 * depth)
    monkeypatch.setattr(detections, "RESIDUAL", 0.5)
    residual, elsewhere, new = (
        predictor(image_with_blobs([one])) for one in (left, replace(left, x=700.0, y=300.0), whole)
    )
    assert residual.residuals
    assert not residual.blobs
    assert residual.probabilities.max() < residual.threshold
    assert len(residual.as_json()["old_blob_residuals"]) == len(residual.residuals)
    assert elsewhere.blobs
    assert not elsewhere.residuals
    assert new.blobs


def test_masked_pixels_are_counted(predictor, image, answer):
    spoilt = image.copy()
    spoilt[600:1000:20, 600:1000:20] += 20 * NOISE
    masked = predictor(spoilt).masked
    assert masked[600:1000:20, 600:1000:20].all()
    assert (masked & ~answer.masked).sum() == 400
    assert answer.as_json()["masked_pixels"] == answer.masked.sum()


@pytest.mark.parametrize("weights", ["by hand", "random"])
def test_unit_and_offset_do_not_matter(predictor, image, weights, tmp_path):
    if weights == "random":
        predictor = Predictor.load(write_model(tmp_path / "m", random_network()))
    one, other = predictor(image), predictor(image * 1000 + 5)
    np.testing.assert_allclose(other.probabilities, one.probabilities, atol=1e-4)
    assert len(other.blobs) == len(one.blobs)
    for a, b in zip(one.blobs, other.blobs, strict=True):
        assert (b.x, b.y, b.probability, b.snr) == pytest.approx((a.x, a.y, a.probability, a.snr), rel=1e-3)


def test_input_is_not_changed(predictor, image):
    before = image.copy()
    predictor(image)
    assert image.tobytes() == before.tobytes()


@pytest.mark.parametrize("dtype", [">f4", "f8", "i2", "i4", "u2"])
@pytest.mark.parametrize("border", [0, 5])
def test_all_number_formats_are_accepted(predictor, image, answer, dtype, border):
    inner = slice(border, 1024 - border)
    whole = (image * 5000 + 1000).astype(dtype)[inner, inner]
    found = predictor(whole)
    assert len(found.blobs) == 2
    # Integers are rounded, and the outermost tiles lose their border.
    np.testing.assert_allclose(found.probabilities, answer.probabilities, atol=0.04)


def test_flt_plane_is_embedded(predictor, image, answer):
    found = predictor(image[5:-5, 5:-5])
    assert found.frame.shape == (1024, 1024)
    assert np.isnan(found.frame[:5]).all()
    places = sorted((blob.x, blob.y) for blob in found.blobs)
    # Without its border the frame has a noise that differs in the fourth digit.
    np.testing.assert_allclose(places, sorted((blob.x, blob.y) for blob in answer.blobs), atol=0.01)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_non_finite_pixels_are_not_blobs(predictor, value):
    image = image_with_blobs([])
    image[300:306, 300:306] = value
    assert predictor(image).blobs == []


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.full((1024, 1024), np.nan), "fewer than a tenth of the pixels are finite; leave the image out"),
        (np.full((1024, 1024), 3.0), "the image has no noise"),
        (np.zeros((1024, 1024), dtype=np.int16), "the image has no noise"),
        (np.zeros((512, 512)), "the image is 512 x 512; a full WFC3/IR frame is 1024 x 1024"),
        (np.zeros((4096, 2051)), "Subarrays and UVIS frames cannot be used"),
        (np.zeros(1024), "the image is 1024; a full"),
        (np.zeros((3, 1024, 1024)), "the image is 3 x 1024 x 1024"),
    ],
)
def test_unusable_image_is_an_error(predictor, image, said):
    with pytest.raises(BlobwatchError, match=said):
        predictor(image)


# Files


def test_file_and_array_have_the_same_result(predictor, image, answer, tmp_path):
    path = write_image(tmp_path / "a.fits", image, ROOTNAME="IZZZ0000Q")
    found = predictor.predict_file(path)
    assert (found.image, found.rootname, found.kind) == (str(path), "izzz0000q", "difference")
    assert found.as_json() | {"image": "given.fits"} == answer.as_json()


@pytest.mark.parametrize("form", ["gz", "cube", "extension", "fz"])
def test_all_forms_of_a_difference_image(predictor, image, answer, tmp_path, form):
    path = tmp_path / "a.fits"
    if form == "gz":
        path = write_image(tmp_path / "a.fits.gz", image)
    elif form == "cube":
        write_image(path, np.stack([image, image_with_blobs([], 8)]))
    elif form == "extension":
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="DIFF")]).writeto(path)
    else:
        path = tmp_path / "a.fits.fz"
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, quantize_level=-1e-5)]).writeto(path)
    found = predictor.predict_file(path)
    assert found.rootname == "a"
    np.testing.assert_allclose(found.probabilities, answer.probabilities, atol=1e-3)


@pytest.mark.parametrize("threshold", [0.05, 0.4])
def test_flagged_subframes_of_an_untrained_network_contain_the_blobs(tmp_path, threshold):
    predictor = Predictor.load(write_model(tmp_path / "m", random_network(), threshold))
    found = predictor(image_with_blobs([LOUD, STRADDLING], seed=2))
    assert flagged(found) == containing_tiles(found)


def test_error_names_the_file_once(predictor, tmp_path):
    flat = write_image(tmp_path / "flat.fits", np.ones((1024, 1024), np.float32))
    with pytest.raises(BlobwatchError, match="the image has no noise") as caught:
        predictor.predict_file(flat)
    assert str(caught.value).count(str(flat)) == 1


# Exposures


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """Return five exposures on five days; the last one shows a new blob."""
    folder = tmp_path_factory.mktemp("month")
    old = Blob(x=700.0, y=300.0, half_width=4.0, depth=0.04)
    paths = [write_exposure(folder, number, [old]) for number in range(4)]
    return [*paths, write_exposure(folder, 4, [old, LOUD])]


def test_exposure_with_history_or_stack(predictor, month):
    history = History(list_exposures(month[0].parent))
    found = predictor.predict_file(month[4], history=history)
    assert found.rootname == "iaaa0401q"
    assert len(found.blobs) == 1  # the old one cancels
    assert (found.blobs[0].x, found.blobs[0].y) == pytest.approx((LOUD.x, LOUD.y), abs=3.0)
    assert 0.4 < found.blobs[0].depth / LOUD.depth < 1.1
    assert predictor.predict_file(month[3], history=history).blobs == []
    alone = predictor.predict_file(month[4], stack=np.ones((1024, 1024), np.float32))
    assert flagged(alone) == [1, 6]  # nothing cancels the old one
    with pytest.raises(BlobwatchError, match=r"is an exposure\. Pass its median stack with --stack"):
        predictor.predict_file(month[4])


def test_smallest_number_of_exposures_is_a_setting(predictor, month):
    listed = list_exposures(month[0].parent)
    with pytest.raises(BlobwatchError, match="iaaa0201q: 2 accepted exposures in the 30 days before it"):
        predictor.predict_file(month[2], history=History(listed))
    two = History(listed, DifferenceSettings(minimum=2))
    assert predictor.predict_file(month[2], history=two).blobs == []


# Models


def test_champion_of_the_current_project_is_found(box_model, tmp_path, monkeypatch):
    shutil.copytree(box_model, tmp_path / "models" / "champion")
    monkeypatch.chdir(tmp_path)
    assert find_model().resolve() == tmp_path / "models" / "champion"
    assert Predictor.load().model.threshold == 0.5
    with pytest.raises(BlobwatchError, match=r"no/such: not a model folder\. Pass champion or the path"):
        find_model("no/such")


FORBIDDEN = ["torch", "mlflow", "dvc", "pydantic", "scipy", "matplotlib", "sklearn", "pandas", "yaml", "onnx"]
WITHOUT = f"""
import sys
from blobwatch.predict import Predictor
answer = Predictor.load(sys.argv[1]).predict_file(sys.argv[2])
assert len(answer.as_json()["subframes"]) == 16
print(*[name for name in {FORBIDDEN!r} if name in sys.modules])
"""


def test_prediction_imports_no_training_library(box_model, image, tmp_path):
    path = write_image(tmp_path / "a.fits", image)
    command = [sys.executable, "-c", WITHOUT, str(box_model), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


# The picture


def test_figure_shows_frame_probabilities_and_circles(answer):
    figure = draw(answer)
    whole = figure.axes[0]
    assert len(whole.texts) == 16
    assert [text.get_text() for text in whole.texts] == [f"{p:.2f}" for p in answer.probabilities]
    circles = whole.collections[0].get_offsets()
    np.testing.assert_allclose(circles, [(blob.x, blob.y) for blob in answer.blobs])
    assert whole.get_title() == "izzz0000q: 2 new blobs  (blobwatch, unregistered model)"
    marks = whole.collections[1]
    np.testing.assert_array_equal(marks.get_offsets(), np.argwhere(answer.masked)[:, ::-1])
    assert [text.get_text() for text in whole.get_legend().texts] == [
        f"{answer.masked.sum()} bad pixels masked"
    ]
    close = figure.axes[1]
    assert np.mean(close.get_xlim()) == pytest.approx(answer.blobs[0].x)


def test_figure_without_blobs(predictor):
    found = predictor(image_with_blobs([], seed=3), rootname="a")
    assert found.blobs == []
    assert (found.probabilities < 0.5).all()
    figure = draw(found)
    assert figure.axes[0].get_title().startswith("a: no new blob")


def test_rejected_exposure_is_not_predicted(predictor, month, tmp_path):
    light = np.linspace(0.1, 1.9, 1024)[None, :] * np.ones((1024, 1))
    bad = write_exposure(tmp_path, 4, light=light)
    message = r"iaaa0401q_flt\.fits: rejected \(glow gradient [0-9.]+, .* sigma from"
    with pytest.raises(RejectedExposure, match=message):
        predictor.predict_file(bad, history=History(list_exposures(month[0].parent)))


def test_stack_with_other_flats_is_an_error(predictor, month, tmp_path):
    flats = {"FLATCORR": "COMPLETE", "PFLTFILE": "iref$u4m1335mi_pfl.fits"}
    path = write_exposure(tmp_path, 4, **flats)
    stack = np.ones((1024, 1024), np.float32)
    with pytest.raises(BlobwatchError, match=r"flats u4m1335mi_pfl\.fits, but the stack has x_pfl\.fits"):
        predictor.predict_file(path, stack=stack, stack_flats="x_pfl.fits")
    assert predictor.predict_file(path, stack=stack, stack_flats="u4m1335mi_pfl.fits").blobs == []
    assert predictor.predict_file(path, stack=stack).blobs == []  # nothing is known of the stack
