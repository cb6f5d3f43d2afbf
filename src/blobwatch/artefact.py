"""The model artefact: a small folder with weights, serving model and manifest, checked before it is used."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash

ONNX = "model.onnx"  # for serving
WEIGHTS = "model.safetensors"
MANIFEST = "manifest.json"
DEPLOYED = "deployed.json"  # in the champion's folder: version and run in the registry
CHAMPION = "models/champion"
STAGING = "models/.promotion"  # while one is deployed: next/ and old/


@dataclass(frozen=True)
class Model:
    """A checked artefact, ready to run.

    Attributes
    ----------
    folder : Path
    manifest : dict
    files : dict of str to str
        The sha256 of serving model, weights and manifest.
    onnx : bytes
        The serving model that was checked; the file may be replaced meanwhile.
    version : int or None
        In the registry, where it is known.
    run_id : str or None
    promotion : str
        The hash of the line of the log that deployed it; empty elsewhere.
    threads : int
        Of onnxruntime; 0 for one per core.
    """

    folder: Path
    manifest: dict
    files: dict[str, str]
    onnx: bytes = field(default=b"", repr=False)
    version: int | None = None
    run_id: str | None = None
    promotion: str = ""
    threads: int = 0

    @classmethod
    def load(cls, folder: Path | str, threads: int = 0) -> "Model":
        """Load an artefact and check every file against its manifest.

        Parameters
        ----------
        folder : Path or str
        threads : int
            Of onnxruntime; 0 for one per core.

        Raises
        ------
        BlobwatchError
            If a file is missing, or is not the one that the manifest names.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        files = {name: manifest["files"][name] for name in (ONNX, WEIGHTS)}
        content = {}
        for name, expected in files.items():
            path = folder / name
            if not path.is_file():
                raise BlobwatchError(f"{path} is missing; restore {folder}, for instance with git checkout")
            content[name] = path.read_bytes()
            if hashlib.sha256(content[name]).hexdigest() != expected:
                raise BlobwatchError(
                    f"{path} is not the file that {MANIFEST} names (its sha256 differs); "
                    f"restore {folder}, for instance with git checkout"
                )
        files[MANIFEST] = file_hash(folder / MANIFEST)
        deployed = read_deployment(folder, files[MANIFEST])
        return cls(folder, manifest, files, content[ONNX], threads=threads, **deployed)

    @cached_property
    def session(self):
        """The onnxruntime session."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self.threads
        options.enable_cpu_mem_arena = False  # an arena keeps twice the memory and saves no time here
        return onnxruntime.InferenceSession(self.onnx, options, providers=["CPUExecutionProvider"])

    @property
    def sha256(self) -> str:
        """The hash of the serving model, by which a model is the same or another."""
        return self.files[ONNX]

    @property
    def stride(self) -> int:
        """Pixels per cell of the map."""
        return int(self.manifest["architecture"]["stride"])

    @property
    def threshold(self) -> float:
        """Probability from which a cell counts as a blob."""
        return float(self.manifest["threshold"])

    @property
    def whitened(self) -> bool:
        """Whether the model expects frames of `prepare_frame`; versions before 7 those of `scale_frame`."""
        return "whitening" in self.manifest.get("preprocessing", {})

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return the maps, shape (n, 3, rows, columns), of scaled images, shape (n, 1, ny, nx)."""
        return self.session.run(None, {"frame": images})[0]

    def describe(self) -> dict:
        """Return what an answer says of its model."""
        return {
            "name": "blobwatch",
            "version": self.version,
            "run_id": self.run_id,
            "sha256": self.sha256,
        }


def read_manifest(folder: Path) -> dict:
    """Read the manifest of an artefact."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BlobwatchError(f"{path} does not exist; give the folder of a model, or train one (make repro)")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest["files"][ONNX], manifest["files"][WEIGHTS]
        int(manifest["architecture"]["stride"]), float(manifest["threshold"])
    except (ValueError, KeyError, TypeError):
        raise BlobwatchError(f"{path} is damaged; restore it, for instance with git checkout") from None
    return manifest


def read_deployment(folder: Path, manifest_sha256: str) -> dict:
    """Read what a deployed model is called in the registry, and check its manifest; nothing elsewhere."""
    path = folder / DEPLOYED
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        version, expected = int(known["version"]), str(known["manifest_sha256"])
    except (ValueError, KeyError, TypeError):
        raise BlobwatchError(f"{path} is damaged; restore it, for instance with git checkout") from None
    if manifest_sha256 != expected:
        raise BlobwatchError(
            f"{folder / MANIFEST} is not the one that was deployed (its sha256 differs); "
            f"restore {folder}, for instance with git checkout"
        )
    return {"version": version, "run_id": known.get("run_id"), "promotion": known.get("promotion", "")}
