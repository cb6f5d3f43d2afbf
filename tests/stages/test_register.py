"""Stage ``register``: registration, gate, promotion and its reports."""

import json
import shutil

import numpy as np
import pytest
from lineage.project import MLFLOW_WARNING, Project, promote, settings

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash, write_json
from blobwatch.lineage.promotion import gate
from blobwatch.lineage.promotion.criteria import ModelScores
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.store import open_store
from blobwatch.stages.register import register

pytestmark = pytest.mark.filterwarnings(MLFLOW_WARNING)
PARAMS = settings()
LABELS = np.arange(200) % 2
ROOTNAMES = np.array([f"izzz{index // 4:04d}q" for index in range(200)])


@pytest.fixture(autouse=True)
def scores(monkeypatch):
    """Score models by their weights: "bad" ones are random, others nearly perfect."""

    def score_test_split(model, subframes, radius):
        noise = 5.0 if "bad" in (model.folder / "model.onnx").read_text() else 0.3
        drawn = LABELS + noise * np.random.default_rng(1).normal(size=len(LABELS))
        return ModelScores(LABELS, ROOTNAMES, drawn, np.ones(len(LABELS), dtype=bool), ROOTNAMES)

    monkeypatch.setattr(gate, "score_test_split", score_test_split)
    monkeypatch.setattr(gate, "compare_outputs", lambda model: "")


def run(made: Project) -> dict:
    return register(made.root, made.candidate, made.reports, made.root / "reports/register", PARAMS)


def again(made: Project, weights: str, **metrics: float) -> dict:
    made.train(weights)
    made.evaluate(**metrics)
    return run(made)


def report(made: Project, name: str) -> dict:
    return json.loads((made.root / "reports/register" / name).read_text())


def retrained_elsewhere(made: Project) -> None:
    """Change the last bits of the weights but not the fingerprint."""
    (made.candidate / "model.onnx").write_text("onnx one, other bits")
    manifest = json.loads((made.candidate / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = file_hash(made.candidate / "model.onnx")
    write_json(made.candidate / "manifest.json", manifest)
    made.evaluate()


def other_inputs(made: Project) -> None:
    (made.root / "src/pkg/loss.py").write_text("weight = 2\n")
    made.commit()


def test_first_good_candidate_is_promoted(project):
    decision = run(project)
    assert (decision["verdict"], decision["version"], decision["reasons"]) == ("promoted", 1, [])
    assert (project.root / "models/champion/model.onnx").read_text() == "onnx one"
    assert project.lines()[0]["version"] == 1
    assert report(project, "gate.json")["passed"]
    assert report(project, "decision.json") == decision


def test_second_run_changes_nothing(project):
    run(project)
    gate = (project.root / "reports/register/gate.json").read_bytes()
    log = (project.root / "models/promotions.jsonl").read_bytes()
    decision = run(project)
    assert decision["verdict"] == "unchanged"
    assert decision["reasons"] == ["this candidate is the champion, version 1"]
    assert (project.root / "reports/register/gate.json").read_bytes() == gate
    assert (project.root / "models/promotions.jsonl").read_bytes() == log


def test_gate_report_is_independent_of_registry(project, blank_database):
    run(project)
    other_inputs(project)
    again(project, "two")
    held = (project.root / "reports/register/gate.json").read_bytes()
    shutil.copyfile(blank_database, project.root / "mlflow.db")
    shutil.rmtree(project.root / "mlartifacts")
    shutil.rmtree(project.root / "models/champion")
    (project.root / "models/promotions.jsonl").unlink()
    assert run(project)["verdict"] == "promoted"
    assert (project.root / "reports/register/gate.json").read_bytes() == held
    assert set(report(project, "gate.json")) == {"fingerprint", "files", "checks", "passed"}


def test_rebuild_on_other_processor_keeps_champion(project):
    run(project)
    retrained_elsewhere(project)
    decision = run(project)
    assert decision["verdict"] == "unchanged"
    assert "made from the same inputs as the champion, version 1" in decision["reasons"][0]
    assert (project.root / "models/champion/model.onnx").read_text() == "onnx one"
    assert len(registry.versions(open_store(project.root))) == 1


def test_better_candidate_replaces_champion(project):
    run(project)
    other_inputs(project)
    decision = again(project, "two")
    assert (decision["verdict"], decision["version"]) == ("promoted", 2)
    assert [check["name"] for check in decision["checks"]][-1] == "not_worse_recall"
    assert registry.get_alias(open_store(project.root), "champion") == 2


@pytest.mark.parametrize(
    ("weights", "metrics", "reason"),
    [
        ("two", {"auc": 0.85}, "AUC of the test subframes is 0.85; at least 0.9"),
        ("two", {"position_error": 3.0}, "median position error in pixels is 3; at most 2"),
        ("two", {"worst_snr_at_half": 9.5}, "SNR at half in the worst robustness set is 9.5; at most 9"),
        ("bad", {}, "significantly worse"),
    ],
)
def test_failing_candidate_stays_challenger(project, weights, metrics, reason):
    run(project)
    other_inputs(project)
    decision = again(project, weights, **metrics)
    assert decision["verdict"] == "refused"
    assert decision["command"] == 'blobwatch promote 2 --reason "..." --force'
    assert len(decision["reasons"]) == 1
    assert reason in decision["reasons"][0]
    store = open_store(project.root)
    assert registry.get_alias(store, "champion") == 1
    assert registry.get_alias(store, "challenger") == 2
    assert (project.root / "models/champion/model.onnx").read_text() == "onnx one"
    promote(project.root, 2, "all the same", force=True)
    assert (project.root / "models/champion/model.onnx").read_text() == f"onnx {weights}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda made: (made.root / "params.yaml").write_text(made.reworded()), "not committed: params.yaml"),
        (other_inputs, "stage 'train' is not up to date: src/pkg"),
    ],
)
def test_candidate_of_uncommitted_inputs_is_held(project, change, reason):
    change(project)
    decision = run(project)
    assert decision["verdict"] == "held"
    assert reason in decision["reasons"][0]
    assert decision["command"] == 'blobwatch promote 1 --reason "..."'
    assert project.lines() == []
    assert not (project.root / "models/champion").exists()
    assert run(project)["version"] == 1


def test_worktree_does_not_promote(project, tmp_path):
    project.git("worktree", "add", "--quiet", str(tmp_path / "side"), "-b", "side")
    side = Project(tmp_path / "side")
    shutil.copytree(project.root / "data", side.root / "data", dirs_exist_ok=True)
    side.train()
    side.evaluate()
    decision = run(side)
    assert decision["verdict"] == "held"
    assert "worktree or a queued experiment" in decision["reasons"][0]


def test_prints_checks_and_decision(project, capsys):
    run(project)
    said = capsys.readouterr()
    assert said.out == ""
    assert "ok: AUC of the test subframes is 0.98; at least 0.9 required" in said.err
    assert "version 1 is the champion. Commit models/champion" in said.err


def test_modified_candidate_raises_error(project):
    (project.candidate / "model.onnx").write_text("evil")
    with pytest.raises(BlobwatchError, match="by its sha256"):
        run(project)
    assert not (project.root / "reports/register").exists()


def test_identical_weights_need_manual_promotion(project):
    run(project)
    other_inputs(project)
    decision = again(project, "one")
    assert (decision["verdict"], decision["version"]) == ("held", 2)
    assert "identical to the champion, version 1" in decision["reasons"][0]
    promote(project.root, 2, "its lineage is the better one")
    assert [line["version"] for line in project.lines()] == [1, 2]
