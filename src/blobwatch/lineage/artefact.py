"""The model artefact as lineage sees it: a folder of three files, checked against its manifest."""

import json
from dataclasses import dataclass
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash
from blobwatch.lineage.fingerprint import Fingerprint

WEIGHTS = ("model.onnx", "model.safetensors")
MANIFEST = "manifest.json"
DEPLOYED = "deployed.json"


@dataclass(frozen=True)
class Artefact:
    """A model folder whose files are what its manifest says; ``files`` maps each name to its sha256."""

    folder: Path
    manifest: dict
    files: dict[str, str]

    @property
    def sha256(self) -> str:
        """The hash of the serving model, by which a model is the same or another."""
        return self.files["model.onnx"]

    @property
    def fingerprint(self) -> str:
        """The hash over all inputs of the training."""
        return self.manifest["fingerprint"]["sha256"]

    @property
    def recorded_fingerprint(self) -> Fingerprint:
        """The fingerprint with its parts, as the training recorded it."""
        return Fingerprint(self.fingerprint, self.manifest["fingerprint"]["parts"])


def read_artefact(folder: Path) -> Artefact:
    """Read a model folder.

    Raises
    ------
    BlobwatchError
        If a file is missing, altered, or the manifest is not one.
    """
    folder = Path(folder)
    mend = "run `dvc repro`, or restore the folder with `dvc checkout` or `git checkout`"
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        promised = {name: manifest["files"][name] for name in WEIGHTS}
        lineage = [manifest["data"], manifest["fingerprint"]["sha256"], manifest["fingerprint"]["parts"]]
    except FileNotFoundError:
        raise BlobwatchError(f"{folder} holds no {MANIFEST}; {mend}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BlobwatchError(f"{folder / MANIFEST} is no manifest ({error!r}); {mend}") from None
    if not all(lineage):
        raise BlobwatchError(f"{folder / MANIFEST} does not say what the model was made from; {mend}")
    for name, sha256 in promised.items():
        if not (folder / name).is_file():
            raise BlobwatchError(f"{folder / name} is missing; {mend}")
        if file_hash(folder / name) != sha256:
            raise BlobwatchError(f"{folder / name} is not the file that its manifest names; {mend}")
    return Artefact(folder, manifest, promised | {MANIFEST: file_hash(folder / MANIFEST)})
