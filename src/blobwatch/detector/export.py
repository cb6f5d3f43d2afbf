"""The model artefact: weights, serving model, manifest. No pickle, no paths, stable bytes."""

import copy
import io
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from blobwatch.artefact import MANIFEST, ONNX, WEIGHTS, Model
from blobwatch.detector.network import build_network, count_parameters
from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_file, file_hash, write_json
from blobwatch.images.scaling import CLIP

PREPROCESSING = {
    "cleaning": "bad pixels masked; offsets of rows, columns and quadrants, and background subtracted",
    "whitening": "power spectrum of the noise; nothing below 0.06 cycles per pixel is amplified",
    "scaling": "noise per pixel of white noise as strong at the scale of a blob",
    "clip_sigma": CLIP,
    "unknown": 0.0,
}
AGREEMENT = 1e-3  # largest difference allowed between the logits of torch and of onnxruntime


def write_weights(path: Path, network: nn.Module) -> None:
    """Write the weights as safetensors without metadata."""
    with atomic_file(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, partial)


def load_network(folder: Path, manifest: dict) -> nn.Module:
    """Rebuild the network of an artefact from its manifest and weights."""
    architecture = manifest["architecture"]
    network = build_network(**{key: value for key, value in architecture.items() if key != "stride"})
    network.load_state_dict(load_file(Path(folder) / WEIGHTS))
    return network.eval()


def write_onnx(path: Path, network: nn.Module) -> None:
    """Write the serving model; it accepts frames whose sides are multiples of 8."""
    import onnx

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter writes the paths of the sources into the file.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format),
            (torch.zeros(1, 1, 256, 256),),
            buffer,
            input_names=["frame"],
            output_names=["map"],
            dynamic_axes={
                "frame": {0: "batch", 2: "ny", 3: "nx"},
                "map": {0: "batch", 2: "rows", 3: "columns"},
            },
            opset_version=17,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    with atomic_file(path) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))


def write_artefact(folder: Path, network: nn.Module, architecture: dict, about: dict) -> dict:
    """Write weights, serving model and manifest into a folder that is there; return the manifest.

    Parameters
    ----------
    folder : Path
    network : Module
    architecture : dict
        The arguments of `network.build_network`.
    about : dict
        Further entries of the manifest: threshold, fingerprint, data, metrics.

    Raises
    ------
    BlobwatchError
        If the serving model does not answer as the network does.
    """
    write_weights(folder / WEIGHTS, network)
    write_onnx(folder / ONNX, network)
    manifest = {
        "name": "blobwatch",
        "architecture": {**architecture, "stride": network.stride},
        "parameters": count_parameters(network),
        "preprocessing": PREPROCESSING,
        "files": {name: file_hash(folder / name) for name in (ONNX, WEIGHTS)},
        **about,
    }
    write_json(folder / MANIFEST, manifest)
    check_agreement(folder, network)
    return manifest


def check_agreement(folder: Path, network: nn.Module) -> None:
    """Refuse an artefact whose serving model and network disagree on a fixed frame."""
    frame = np.random.default_rng(0).normal(size=(1, 1, 512, 512)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(frame)).numpy()
    worst = float(np.abs(Model.load(folder).run(frame) - expected).max())
    if worst > AGREEMENT:
        raise BlobwatchError(f"ONNX and torch differ by {worst:.2g} in the logit; do not use {folder}")
