"""Tests of the export: reproducible files without paths, agreement of onnxruntime and torch."""

import json
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


def test_exports_are_reproducible_and_depend_on_weights(folder, tmp_path):
    again = write_model(tmp_path / "elsewhere" / "deeper", random_network())
    other = write_model(tmp_path / "other", random_network(seed=2))
    for name in (ONNX, WEIGHTS, MANIFEST):
        assert (again / name).read_bytes() == (folder / name).read_bytes() != (other / name).read_bytes()


@pytest.mark.parametrize("name", [ONNX, WEIGHTS, MANIFEST])
def test_files_contain_no_paths(folder, name):
    content = (folder / name).read_bytes()
    for trace in (Path.cwd(), folder, Path.home(), sys.prefix, ".py", "site-packages", "/tmp"):
        assert str(trace).encode() not in content, trace


def test_onnx_model_contains_no_metadata(folder):
    model = onnx.load(folder / ONNX)
    assert not model.metadata_props
    assert model.doc_string == ""
    assert model.graph.doc_string == ""
    for node in model.graph.node:
        assert node.doc_string == ""
        assert not node.metadata_props
    onnx.checker.check_model(model, full_check=True)


def assert_agreement(folder: Path, network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Compare the exported and the rebuilt network with the original; return the output."""
    model = Model.load(folder)
    with torch.inference_mode():
        expected, rebuilt = (
            one(torch.from_numpy(images)).numpy() for one in (network, load_network(folder, model.manifest))
        )
    np.testing.assert_allclose(model.run(images), expected, atol=1e-4)
    np.testing.assert_allclose(rebuilt, expected, atol=1e-5)
    return expected


@pytest.mark.parametrize(("size", "batch"), [(256, 2), (512, 1), (1024, 1)])
def test_exported_compact_network(folder, size, batch):
    expected = assert_agreement(folder, random_network(), frames(size, batch))
    assert expected.shape == (batch, 3, size // 4, size // 4)
    assert expected.std() > 0.01


def test_exported_predecessor(tmp_path):
    network = random_network("predecessor")
    assert_agreement(write_model(tmp_path / "model", network, name="predecessor"), network, frames(1024))


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
    assert_agreement(tmp_path, network, beyond)
    np.testing.assert_array_equal(model.run(beyond), model.run(frame))
    assert np.abs(model.run(below) - model.run(frame)).max() > 1e-6


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
    assert assert_agreement(tmp_path, network, frames(256, 2))[:, 0].std() > 1e-3


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
