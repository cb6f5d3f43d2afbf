"""Export of the model artefact: weights, ONNX model and manifest, without pickle and reproducible."""

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from blobwatch.artefact import MANIFEST, ONNX, WEIGHTS, Model
from blobwatch.detector.network import Network, build_network, count_parameters
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
AGREEMENT = 1e-3  # largest accepted difference between the logits of torch and onnxruntime


def load_network(folder: Path, manifest: dict) -> Network:
    """Return the network of an artefact, rebuilt from its manifest and weights."""
    architecture = manifest["architecture"]
    network = build_network(**{key: value for key, value in architecture.items() if key != "stride"})
    network.load_state_dict(load_file(Path(folder) / WEIGHTS))
    return network.eval()


def write_onnx(path: Path, network: Network) -> None:
    """Write the ONNX model, which accepts frames with sides that are multiples of 8."""
    import onnx

    contiguous = copy.deepcopy(network).eval()
    contiguous.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # not in torch's types
    with atomic_file(path) as partial, warnings.catch_warnings():
        # The newer exporter writes paths of source files into the model.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            contiguous,
            (torch.zeros(1, 1, 256, 256),),
            partial,
            input_names=["frame"],
            output_names=["map"],
            dynamic_axes={
                "frame": {0: "batch", 2: "ny", 3: "nx"},
                "map": {0: "batch", 2: "rows", 3: "columns"},
            },
            opset_version=17,
            dynamo=False,
        )
        model = onnx.load(partial)
        del model.metadata_props[:]
        for node in model.graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        partial.write_bytes(model.SerializeToString(deterministic=True))


def write_artefact(folder: Path, network: Network, architecture: dict, entries: dict) -> dict:
    """Write weights, ONNX model and manifest into an existing folder; return the manifest.

    ``architecture`` contains the arguments of `network.build_network`. ``entries`` are added to the manifest:
    threshold, fingerprint, data, metrics.

    Raises
    ------
    BlobwatchError
        If the ONNX model and the network disagree.
    """
    with atomic_file(folder / WEIGHTS) as partial:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, partial)
    write_onnx(folder / ONNX, network)
    manifest = {
        "name": "blobwatch",
        "architecture": {**architecture, "stride": network.stride},
        "parameters": count_parameters(network),
        "preprocessing": PREPROCESSING,
        "files": {name: file_hash(folder / name) for name in (ONNX, WEIGHTS)},
        **entries,
    }
    write_json(folder / MANIFEST, manifest)
    check_agreement(folder, network)
    return manifest


def check_agreement(folder: Path, network: Network) -> None:
    """Raise BlobwatchError if the ONNX model and the network disagree on a fixed frame."""
    frame = np.random.default_rng(0).normal(size=(1, 1, 512, 512)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(frame)).numpy()
    worst = float(np.abs(Model.load(folder).run(frame) - expected).max())
    if worst > AGREEMENT:
        raise BlobwatchError(f"{folder}: the logits of ONNX and torch differ by {worst:.2g}. Export it again")
