"""Tests of the export: reproducible files without paths, agreement of onnxruntime and torch."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from synthetic import box_detector, random_network, write_model

from blobwatch.artefact import MANIFEST, ONNX, WEIGHTS, Model
from blobwatch.detector import export
from blobwatch.detector.export import load_network, write_artefact, write_onnx
from blobwatch.detector.network import build_network, count_parameters
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("export") / "model", random_network())


def frames(size: int, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(size).normal(size=(batch, 1, size, size)).astype(np.float32)


def test_exports_are_reproducible(folder, tmp_path):
    again = write_model(tmp_path / "elsewhere" / "deeper", random_network())
    for name in (ONNX, WEIGHTS, MANIFEST):
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_different_weights_give_different_files(folder, tmp_path):
    other = write_model(tmp_path / "other", random_network(seed=2))
    for name in (ONNX, WEIGHTS):
        assert file_hash(other / name) != file_hash(folder / name)


@pytest.mark.parametrize("name", [ONNX, WEIGHTS, MANIFEST])
def test_files_contain_no_paths(folder, name):
    content = (folder / name).read_bytes()
    here = {
        str(Path.cwd()),
        str(folder),
        str(Path(torch.__file__).parent),
        sys.prefix,
        os.path.expanduser("~"),
    }
    for trace in (*here, ".py", "site-packages", "/tmp"):
        assert trace.encode() not in content, trace


def test_onnx_model_contains_no_metadata(folder):
    model = onnx.load(folder / ONNX)
    assert not model.metadata_props
    assert model.doc_string == ""
    assert model.graph.doc_string == ""
    for node in model.graph.node:
        assert node.doc_string == ""
        assert not node.metadata_props
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("size", [256, 512, 1024])
@pytest.mark.parametrize("batch", [1, 2])
def test_onnxruntime_and_torch_agree(folder, size, batch):
    model = Model.load(folder)
    network = load_network(folder, model.manifest)
    images = frames(size, batch)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    assert expected.shape == (batch, 3, size // 4, size // 4)
    assert expected.std() > 0.01
    np.testing.assert_allclose(model.run(images), expected, atol=1e-4)


def test_predecessor_is_exported(tmp_path):
    network = random_network("predecessor")
    folder = write_model(tmp_path / "model", network, name="predecessor")
    images = frames(1024)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    model = Model.load(folder)
    assert model.stride == 256
    np.testing.assert_allclose(model.run(images), expected, atol=1e-4)


def test_weights_round_trip_without_metadata(folder):
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        assert not file.metadata()
    network = load_network(folder, json.loads((folder / MANIFEST).read_text()))
    assert not network.training
    for name, tensor in random_network().state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


def test_load_network_restores_clip(tmp_path):
    torch.manual_seed(4)
    architecture = {"name": "compact", "width": 8, "clip": 2.5}
    write_artefact(tmp_path, build_network(**architecture).eval(), architecture, {"threshold": 0.5})
    model = Model.load(tmp_path)
    assert model.manifest["architecture"] == architecture | {"stride": 4}
    network = load_network(tmp_path, model.manifest)
    assert network.clip == 2.5
    frame, beyond, below = (frames(64) for _ in range(3))
    frame[0, 0, 20, 30], beyond[0, 0, 20, 30], below[0, 0, 20, 30] = 2.5, 7.9, 2.0

    def rebuilt(images):
        with torch.inference_mode():
            return network(torch.from_numpy(images)).numpy()

    for answer in (rebuilt, model.run):
        np.testing.assert_array_equal(answer(beyond), answer(frame))
        assert np.abs(answer(below) - answer(frame)).max() > 1e-6
    np.testing.assert_allclose(model.run(beyond), rebuilt(beyond), atol=1e-4)


def test_trained_batch_norm_statistics_are_exported(tmp_path):
    torch.manual_seed(5)
    network = build_network("compact", 8).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        (network(3 * torch.randn(2, 1, 64, 64) + 0.5) ** 2).mean().backward()
        optimizer.step()
    network.eval()
    write_artefact(tmp_path, network, {"name": "compact", "width": 8}, {"threshold": 0.5})
    images = frames(256, 2)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    assert expected[:, 0].std() > 1e-3
    model = Model.load(tmp_path)
    np.testing.assert_allclose(model.run(images), expected, atol=1e-4)
    with torch.inference_mode():
        rebuilt = load_network(tmp_path, model.manifest)(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(rebuilt, expected, atol=1e-5)


def test_onnx_model_uses_standard_operators(folder):
    kinds = {node.op_type for node in onnx.load(folder / ONNX).graph.node}
    assert "Conv" in kinds
    assert not kinds & {"ScatterND", "Gather", "Einsum", "Expand"}  # kernels are constants


def test_manifest_describes_the_model(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["architecture"] == {"name": "compact", "width": 16, "stride": 4}
    assert manifest["parameters"] == count_parameters(random_network())
    assert manifest["files"] == {name: file_hash(folder / name) for name in (ONNX, WEIGHTS)}
    assert manifest["preprocessing"]["clip_sigma"] == 127 / 16
    assert manifest["threshold"] == 0.5
    assert sorted(path.name for path in folder.iterdir()) == sorted([ONNX, WEIGHTS, MANIFEST])
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000


def test_export_does_not_depend_on_mode_or_memory_layout(tmp_path):
    network = random_network()
    write_onnx(tmp_path / "one.onnx", network)
    write_onnx(tmp_path / "two.onnx", network.to(memory_format=torch.channels_last).train())
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_disagreeing_onnx_model_is_rejected(monkeypatch, tmp_path):
    def another(path, network):
        write_onnx(path, random_network(seed=2))

    monkeypatch.setattr(export, "write_onnx", another)
    with pytest.raises(BlobwatchError, match=r"the logits of ONNX and torch differ by .*\. Export it again"):
        write_artefact(tmp_path, box_detector(), {"name": "compact", "width": 16}, {"threshold": 0.5})
