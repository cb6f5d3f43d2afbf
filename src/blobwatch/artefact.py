"""The model artefact: a folder with weights, serving model and manifest, checked when loaded."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
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
STAGING = "models/.promotion"  # during a promotion: next/ and old/


@dataclass(frozen=True)
class Model:
    """A checked model artefact.

    Attributes
    ----------
    folder : Path
    manifest : dict
    files : dict of str to str
        The sha256 of serving model, weights and manifest.
    onnx : bytes
        The checked serving model; the file itself may be replaced later.
    version : int or None
        Version in the registry, if known.
    run_id : str or None
    promotion : str
        Hash of the promotion record in the log; empty unless deployed.
    threads : int
        Threads of onnxruntime; 0 for one per core.
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
            Threads of onnxruntime; 0 for one per core.

        Raises
        ------
        BlobwatchError
            If a file is missing, or its sha256 differs from the manifest.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        files = {name: manifest["files"][name] for name in (ONNX, WEIGHTS)}
        content = {name: (folder / name).read_bytes() for name in files if (folder / name).is_file()}
        for name, expected in files.items():
            if hashlib.sha256(content.get(name, b"")).hexdigest() != expected:
                raise BlobwatchError(
                    f"{folder / name} is missing or not the file that {MANIFEST} names (by its sha256); "
                    f"restore {folder}, for instance with git checkout"
                )
        files[MANIFEST] = file_hash(folder / MANIFEST)
        deployed = read_deployment(folder, files[MANIFEST])
        return cls(folder, manifest, files, content[ONNX], threads=threads, **deployed)

    @cached_property
    def session(self):
        """Return the onnxruntime session."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self.threads
        options.enable_cpu_mem_arena = False  # an arena doubles the memory and saves no time
        return onnxruntime.InferenceSession(self.onnx, options, providers=["CPUExecutionProvider"])

    @property
    def sha256(self) -> str:
        """Return the hash of the serving model, which identifies the model."""
        return self.files[ONNX]

    @property
    def stride(self) -> int:
        """Return the number of pixels per cell of the map."""
        return int(self.manifest["architecture"]["stride"])

    @property
    def threshold(self) -> float:
        """Return the probability above which a cell is a blob."""
        return float(self.manifest["threshold"])

    @property
    def whitened(self) -> bool:
        """Return whether the model needs `prepare_frame`; versions before 7 need `scale_frame`."""
        return "whitening" in self.manifest.get("preprocessing", {})

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return the maps of scaled images.

        The images have shape (n, 1, ny, nx), the maps (n, 3, rows, columns).
        """
        return self.session.run(None, {"frame": images})[0]

    def describe(self) -> dict:
        """Return the description of the model in a prediction."""
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
    with describe_damage(path):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest["files"][ONNX], manifest["files"][WEIGHTS]
        int(manifest["architecture"]["stride"]), float(manifest["threshold"])
    return manifest


def read_deployment(folder: Path, manifest_sha256: str) -> dict:
    """Return the registry entry of a deployed model; check its manifest.

    The entry of other models is empty.
    """
    path = folder / DEPLOYED
    if not path.is_file():
        return {}
    with describe_damage(path):
        known = json.loads(path.read_text(encoding="utf-8"))
        version, expected = int(known["version"]), str(known["manifest_sha256"])
    if manifest_sha256 != expected:
        raise BlobwatchError(
            f"{folder / MANIFEST} is not the one that was deployed (its sha256 differs); "
            f"restore {folder}, for instance with git checkout"
        )
    return {"version": version, "run_id": known.get("run_id"), "promotion": known.get("promotion", "")}


@contextmanager
def describe_damage(path: Path) -> Iterator[None]:
    """Raise errors of the content of a file as `BlobwatchError`."""
    try:
        yield
    except (ValueError, KeyError, TypeError):
        raise BlobwatchError(f"{path} is damaged; restore it, for instance with git checkout") from None
