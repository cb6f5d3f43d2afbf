"""The models and pages of MLflow as a modeller uses them: load by alias, and compare in a browser."""

import json
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

import mlflow
import numpy as np
import pytest
from astropy.io import fits
from lineage.project import MLFLOW_WARNING, promote
from playwright.sync_api import expect, sync_playwright
from team.servers import HOST, free_port, is_healthy, serving

from blobwatch.artefact import MANIFEST, Model
from blobwatch.files import write_json
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.logging import record_evaluation
from blobwatch.lineage.tracking.store import open_store
from blobwatch.predict import Predictor

CHROMIUM = "/usr/bin/chromium"
CHAMPION = Path(__file__).parents[3] / "models/champion"
pytestmark = [pytest.mark.filterwarnings(MLFLOW_WARNING), pytest.mark.usefixtures("ungated")]


@pytest.fixture
def deployed(project, monkeypatch):
    """Return a project whose champion has the network of the repository."""
    manifest = json.loads((project.candidate / MANIFEST).read_text())
    for name in ("model.onnx", "model.safetensors"):
        shutil.copy(CHAMPION / name, project.candidate)
    real = json.loads((CHAMPION / MANIFEST).read_text())
    own = {key: manifest[key] for key in ("fingerprint", "data", "exposures")}
    write_json(project.candidate / MANIFEST, real | own)
    (project.reports / "model_card.md").write_text("# Model card: blobwatch\n\nDetects new blobs.\n")
    store, model = open_store(project.root), Model.load(project.candidate)
    run_id, _ = record_evaluation(project.root, project.candidate, project.reports)
    registry.register(store, model, run_id, project.commit())
    promote(project.root, 1, "good")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    return project


@pytest.mark.filterwarnings("ignore::UserWarning:mlflow", "ignore:.*type hint:UserWarning")
def test_champion_loads_by_alias_and_predicts_like_blobwatch(deployed, tmp_path):
    rng, (y, x) = np.random.default_rng(1), np.mgrid[:1024, :1024]
    image = rng.normal(0, 0.01, (1024, 1024)) + 0.1 * np.exp(-((x - 300) ** 2 + (y - 200) ** 2) / 128)
    path = tmp_path / "difference.fits"
    fits.PrimaryHDU(image.astype(np.float32)).writeto(path)
    served = mlflow.pyfunc.load_model("models:/blobwatch@champion")
    assert served.metadata.signature.inputs.input_names() == ["image"]
    example = served.input_example
    assert list(example) == ["image"]
    (found,) = served.predict(example.assign(image=str(path)))
    expected = Predictor.load(CHAMPION).predict_file(path).as_json()
    assert [(round(blob["x"]), round(blob["y"])) for blob in found["blobs"]] == [(300, 200)]
    assert found.pop("model")["sha256"] == expected.pop("model")["sha256"]
    assert found == expected
    network = mlflow.onnx.load_model("models:/blobwatch@champion")
    assert network.SerializeToString() == (CHAMPION / "model.onnx").read_bytes()
    assert not list((deployed.root / "mlartifacts").rglob("*.pkl"))


@pytest.fixture
def address(deployed):
    """Run ``mlflow ui`` and return its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--host", HOST, "--port", str(port)]
    command += ["--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"]]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    how = {"env": os.environ | quiet, "cwd": deployed.root, "otherwise": pytest.fail}
    with serving(command, deployed.root / "mlflow.log", lambda: is_healthy(port), **how):
        yield f"http://{HOST}:{port}"


@pytest.mark.slow
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"{CHROMIUM} is not installed")
def test_runs_are_listed_and_compared_and_champion_has_card(deployed, address):
    store = open_store(deployed.root)
    runs = store.client.search_runs([store.experiment_id])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"{address}/#/experiments/{store.experiment_id}/runs?workflowType=machine_learning")
        for name in ("3ep-lr0.003", "baseline-matched-filter"):
            expect(page.get_by_text(name).first).to_be_visible(timeout=30_000)
        ids = quote(json.dumps([run.info.run_id for run in runs]))
        page.goto(f"{address}/#/compare-runs?runs={ids}&experiments=[%22{store.experiment_id}%22]")
        expect(page.get_by_text("subframes.auc").first).to_be_visible(timeout=30_000)
        page.goto(f"{address}/#/models/blobwatch/versions/1")
        expect(page.get_by_text("Model card: blobwatch").first).to_be_visible(timeout=30_000)
        browser.close()
