"""Loading and checking of a model folder."""

import json
import shutil

import numpy as np
import pytest
from synthetic import image_with_blobs

from blobwatch.artefact import DEPLOYED, MANIFEST, ONNX, WEIGHTS, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash
from blobwatch.images.preparation import prepare_frame
from blobwatch.images.scaling import scale_frame
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import Blob
from blobwatch.predict import Predictor


@pytest.fixture
def folder(box_model, tmp_path):
    shutil.copytree(box_model, tmp_path / "model")
    return tmp_path / "model"


def test_load_returns_the_complete_model(folder):
    model = Model.load(str(folder))
    assert (model.stride, model.threshold, model.version, model.run_id) == (4, 0.5, None, None)
    assert model.files == {name: file_hash(folder / name) for name in (ONNX, WEIGHTS, MANIFEST)}
    assert model.sha256 == model.files[ONNX]
    output = model.run(np.zeros((2, 1, 256, 256), dtype=np.float32))
    assert output.shape == (2, 3, 64, 64)


def test_deployed_model_has_version_and_run(folder):
    deployed = {"version": 3, "run_id": "abc", "manifest_sha256": file_hash(folder / MANIFEST)}
    (folder / DEPLOYED).write_text(json.dumps(deployed))
    model = Model.load(folder)
    described = {"name": "blobwatch", "version": 3, "run_id": "abc", "sha256": file_hash(folder / ONNX)}
    assert model.describe() == described


def test_changed_manifest_of_deployed_model_is_an_error(folder):
    (folder / DEPLOYED).write_text(json.dumps({"version": 3, "run_id": "abc", "manifest_sha256": "0" * 64}))
    with pytest.raises(BlobwatchError, match=r"manifest\.json is not the one that was deployed"):
        Model.load(folder)


@pytest.mark.parametrize("name", [ONNX, WEIGHTS])
@pytest.mark.parametrize("place", [0, 0.5, 1, None])
def test_changed_byte_or_missing_file_is_an_error(folder, name, place):
    content = bytearray((folder / name).read_bytes())
    if place is None:
        (folder / name).unlink()
    else:
        content[int(place * (len(content) - 1))] ^= 1
        (folder / name).write_bytes(content)
    with pytest.raises(BlobwatchError, match=rf"{name} is missing or not the file that manifest\.json names"):
        Model.load(folder)


def test_missing_manifest_is_an_error(folder, tmp_path):
    (folder / MANIFEST).unlink()
    for place in (folder, tmp_path / "absent"):
        with pytest.raises(
            BlobwatchError, match=r"manifest\.json does not exist; give the folder of a model"
        ):
            Model.load(place)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"files": []}', '{"files": {"model.onnx": "a"}}', "\xff"],
)
@pytest.mark.parametrize("name", [MANIFEST, DEPLOYED])
def test_damaged_json_is_an_error(folder, name, text):
    (folder / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(BlobwatchError, match=rf"{name} is damaged; restore it"):
        Model.load(folder)


@pytest.mark.parametrize("name", [ONNX, WEIGHTS])
def test_manifest_without_a_file_is_an_error(folder, name):
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["files"][name]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BlobwatchError, match=r"manifest\.json is damaged; restore it"):
        Model.load(folder)


@pytest.mark.parametrize("key", ["whitening", "preprocessing"])
def test_model_without_whitening_gets_scaled_frames(folder, monkeypatch, key):
    image = image_with_blobs([Blob(411.0, 130.0, 6.0, 0.06)])
    image = image + np.roll(image, 1, axis=1)  # correlated, so that whitening changes it
    served, run = [], Model.run
    monkeypatch.setattr(Model, "run", lambda self, images: served.append(images) or run(self, images))
    Predictor(Model.load(folder))(image)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["preprocessing"].pop("whitening")
    if key == "preprocessing":
        del manifest["preprocessing"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    Predictor(Model.load(folder))(image)
    embedded = wfc3ir.embed(image)
    for images, expected in zip(served, (prepare_frame(embedded).scaled, scale_frame(embedded)), strict=True):
        np.testing.assert_array_equal(images[0, 0], expected)
    assert np.abs(served[0] - served[1]).max() > 0.5
