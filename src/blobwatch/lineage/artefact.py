"""The model artefact as lineage sees it: its three files, and what it was made from."""

from dataclasses import dataclass
from pathlib import Path

from blobwatch.artefact import MANIFEST, ONNX, WEIGHTS, Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash
from blobwatch.lineage.fingerprint import Fingerprint


@dataclass(frozen=True)
class Artefact:
    """A model folder whose files are what its manifest says; ``files`` maps each name to its sha256."""

    folder: Path
    manifest: dict
    files: dict[str, str]

    @property
    def sha256(self) -> str:
        """The hash of the serving model, by which a model is the same or another."""
        return self.files[ONNX]

    @property
    def fingerprint(self) -> Fingerprint:
        """The inputs of the training, as it recorded them."""
        return Fingerprint(**self.manifest["fingerprint"])


def read_artefact(folder: Path) -> Artefact:
    """Read and check a model folder.

    Raises
    ------
    BlobwatchError
        If a file is missing or altered, or the manifest does not say what the model was made from.
    """
    folder = Path(folder)
    manifest = Model.load(folder).manifest
    try:
        files = {name: manifest["files"][name] for name in (ONNX, WEIGHTS)}
        lineage = [manifest["data"], manifest["fingerprint"]["sha256"], manifest["fingerprint"]["parts"]]
    except (KeyError, TypeError):
        lineage = [None]
    if not all(lineage):
        raise BlobwatchError(
            f"{folder / MANIFEST} does not say what the model was made from; train it again with `dvc repro`"
        )
    return Artefact(folder, manifest, files | {MANIFEST: file_hash(folder / MANIFEST)})
