"""Gates of a promotion: order and messages."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from lineage.project import settings

from blobwatch.artefact import Model
from blobwatch.detector.export import load_network, write_onnx
from blobwatch.files import file_hash, write_json
from blobwatch.lineage.promotion import gate
from blobwatch.lineage.promotion.criteria import ModelScores
from blobwatch.lineage.promotion.gate import (
    compare_files,
    compare_inputs,
    compare_outputs,
    find_outdated,
    find_uncommitted,
    run_gates,
)
from blobwatch.lineage.tracking.logging import read_metrics

ORDER = ["committed", "up_to_date", "fingerprint", "files", "agreement"]
CRITERIA = ["auc", "recall_above_15", "recall_10_to_15", "snr_at_half", "false_per_100", "position_error"]
CRITERIA += ["worst_snr_at_half", "worst_false_per_100", "worst_recall_above_15"]


def candidate(project) -> Model:
    return Model.load(project.candidate)


def test_gates_run_in_order(project, monkeypatch):
    """Run the other gates although the ONNX gate fails for a text model."""
    project.commit()
    labels, names = np.arange(20) % 2, np.array([f"izzz{n // 4:04d}q" for n in range(20)])
    scores = ModelScores(labels, names, labels.astype(float), np.ones(8, dtype=bool), names[:8])
    monkeypatch.setattr(gate, "score_test_split", lambda *arguments: scores)
    model, metrics = candidate(project), read_metrics(project.reports)
    checks = run_gates(project.root, model, metrics, None, settings())
    assert [check.name for check in checks] == [*ORDER, *CRITERIA]
    assert [check.name for check in checks if not check.passed] == ["agreement"]
    checks = run_gates(project.root, model, metrics, model, settings())
    assert [check.name for check in checks][-2:] == ["not_worse_auc", "not_worse_recall"]
    assert all(check.sentence for check in checks)


def test_missing_test_subframes_fail_the_comparison(project):
    model = candidate(project)
    (check,) = gate.compare_with_champion(project.root, model, model, settings())
    assert not check.passed
    assert "could not be compared with the champion" in check.sentence
    assert "no test subframes" in check.sentence


def test_uncommitted_inputs_are_listed(project):
    project.commit()
    assert find_uncommitted(project.root) == ""
    (project.root / "src/pkg/new.py").write_text("")
    (project.root / "params.yaml").write_text((project.root / "params.yaml").read_text() + "\n")
    assert find_uncommitted(project.root) == (
        "its inputs are not committed: params.yaml, src/pkg/new.py. Commit them and promote"
    )


def alter(project, path: str) -> None:
    (project.root / path).write_text((project.root / path).read_text() + " ")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda project: alter(project, "src/pkg/loss.py"), "stage 'train' is not up to date: src/pkg"),
        (lambda project: alter(project, "data/subframes/a.npy"), "stage 'subframes' is not up to date"),
        (
            lambda project: alter(project, "reports/evaluate/metrics.json"),
            "stage 'evaluate' is not up to date",
        ),
        (lambda project: (project.root / "dvc.lock").unlink(), "stage 'evaluate' has not run"),
        (lambda project: (project.root / "dvc.lock").write_text("no: ["), "stage 'evaluate' has not run"),
    ],
)
def test_outdated_stage_is_named(project, change, sentence):
    assert find_outdated(project.root) == ""
    change(project)
    assert sentence in find_outdated(project.root)


@pytest.mark.parametrize("stage", ["subframes", "train", "evaluate"])
def test_frozen_stage_is_named(project, stage):
    pipeline = yaml.safe_load((project.root / "dvc.yaml").read_text())
    pipeline["stages"][stage]["frozen"] = True
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    assert find_outdated(project.root) == (
        f"{stage} is frozen, so it may be out of date. Run `dvc unfreeze` and `dvc repro`"
    )


def test_small_number_equals_its_dvc_notation(project):
    """DVC writes 0.00001 as 1e-05."""
    params = (project.root / "params.yaml").read_text().replace("0.003", "0.00001")
    (project.root / "params.yaml").write_text(params)
    project.lock()
    lock = (project.root / "dvc.lock").read_text()
    assert "1.0e-05" in lock
    (project.root / "dvc.lock").write_text(lock.replace("1.0e-05", "1e-05"))
    assert find_outdated(project.root) == ""


def test_other_training_inputs_are_named(project):
    assert compare_inputs(project.root, candidate(project)) == ""
    alter(project, "src/pkg/loss.py")
    problem = compare_inputs(project.root, candidate(project))
    assert problem.startswith("it was not trained from this checkout: src/pkg differs")


def test_report_of_another_model_is_detected(project, tmp_path):
    shutil.copytree(project.candidate, tmp_path / "other")
    other = Model.load(tmp_path / "other")
    assert compare_files(project.root, other) == ""
    project.train("two")
    problem = compare_files(project.root, other)
    assert (
        "models/candidate is another model: manifest.json, model.onnx, model.safetensors differs" in problem
    )


def test_onnx_and_torch_outputs_are_compared(tmp_path):
    """Compare the deployed network, and one with the ONNX model of another network."""
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "models/champion", folder)
    (folder / "deployed.json").unlink()
    assert compare_outputs(Model.load(folder)) == ""
    manifest = json.loads((folder / "manifest.json").read_text())
    network = load_network(folder, manifest)
    with torch.no_grad():
        network.calibrate(1.0, 0.1)
    write_onnx(folder / "model.onnx", network)
    manifest["files"]["model.onnx"] = file_hash(folder / "model.onnx")
    write_json(folder / "manifest.json", manifest)
    (check,) = [gate.run_check("agreement", "they agree", compare_outputs, Model.load(folder))]
    assert not check.passed
    assert "the logits of ONNX and torch differ by 0.1" in check.sentence
