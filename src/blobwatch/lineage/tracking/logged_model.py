"""Models in MLflow: the files of a model folder with an ``MLmodel`` file, a signature and a card.

The ``onnx`` flavour returns the network, the ``python_function`` flavour the answer of ``blobwatch predict``.
Neither uses pickle.
"""

import json
import platform
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from blobwatch.artefact import MANIFEST, ONNX, Model
from blobwatch.files import write_text
from blobwatch.lineage.tracking.store import Store

LOADER = "blobwatch.lineage.pyfunc"
EXAMPLE = "input_example.json"
CARD = "model_card.md"
CARD_LENGTH = 4900  # characters; MLflow stores 5000 for the description of a version
NOTE = "mlflow.note.content"


def log_model(store: Store, run_id: str, model: Model, card: str = ""):
    """Return the MLflow model of a run; log its files unless they are there.

    Another processor may round the weights differently, so that a run can have several models.
    """
    from mlflow.entities import LoggedModelOutput

    manifest = model.files[MANIFEST]
    query = f"source_run_id = '{run_id}' AND tags.manifest = '{manifest}'"
    found = store.client.search_logged_models([store.experiment_id], query)
    ready = [one for one in found if one.status == "READY"]
    if ready:
        return ready[0]
    kind = model.manifest["architecture"]["name"]
    tags = {"manifest": manifest, "sha256": model.sha256}
    logged = store.client.create_logged_model(store.experiment_id, kind, run_id, tags)
    with TemporaryDirectory() as folder:
        for name in model.files:
            shutil.copyfile(model.folder / name, Path(folder) / name)
        write_flavours(Path(folder), run_id, logged.model_id)
        if card:
            write_text(Path(folder) / CARD, card)
        store.client.log_model_artifacts(logged.model_id, folder)
    store.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    return store.client.finalize_logged_model(logged.model_id, "READY")


def write_flavours(folder: Path, run_id: str, model_id: str) -> None:
    """Write ``MLmodel`` with both flavours, the signature and the input example."""
    from mlflow.models import Model as MLmodel
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    signature = ModelSignature(Schema([ColSpec("string", "image")]))
    example = {"columns": ["image"], "data": [["izzz0000q_difference.fits"]]}
    write_text(folder / EXAMPLE, json.dumps(example))
    description = MLmodel(run_id=run_id, signature=signature, model_id=model_id)
    description.saved_input_example_info = {
        "artifact_path": EXAMPLE,
        "type": "dataframe",
        "pandas_orient": "split",
    }
    description.add_flavor("onnx", data=ONNX, providers=["CPUExecutionProvider"])
    description.add_flavor("python_function", loader_module=LOADER, python_version=platform.python_version())
    description.save(str(folder / "MLmodel"))


def shorten_card(card: str) -> str:
    """Return the first paragraphs of a model card, which fit into a description."""
    if len(card) <= CARD_LENGTH:
        return card
    rest = f"\n\nThe artifact `evaluate/{CARD}` contains the complete card."
    return card[: card.rindex("\n\n", 0, CARD_LENGTH - len(rest))] + rest
