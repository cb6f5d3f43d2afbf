import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from lineage.project import MLFLOW_WARNING, Project, blank_database, project  # noqa: F401

from blobwatch.detector import scoring
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash, write_json
from blobwatch.lineage import registry
from blobwatch.lineage.promotion import promote
from blobwatch.lineage.store import open_store
from blobwatch.params import Register, load_params
from blobwatch.stages.register import register

pytestmark = pytest.mark.filterwarnings(MLFLOW_WARNING)
SETTINGS = Register(auc=0.9, recall_above_15=0.97, false_per_100=10.0, position_error=2.0, tolerance=0.0)
PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
EVALUATE = PARAMS.evaluate.model_copy(update={"bootstrap": 100, "confidence": 0.95})
LABELS = np.arange(200) % 2
ROOTNAMES = np.array([f"izzz{index // 4:04d}q" for index in range(200)])


@pytest.fixture(autouse=True)
def scores(monkeypatch):
    """Models are as good as their weights say: "bad" ones guess, others nearly know."""

    def scores_on_test(folder, subframes):
        noise = 5.0 if "bad" in (folder / "model.onnx").read_text() else 0.3
        return LABELS, ROOTNAMES, LABELS + noise * np.random.default_rng(1).normal(size=len(LABELS))

    monkeypatch.setattr(scoring, "scores_on_test", scores_on_test)


def run(made: Project) -> dict:
    out = made.root / "reports/register"
    return register(made.root, made.candidate, made.reports, made.subframes, out, SETTINGS, EVALUATE, seed=7)


def again(made: Project, weights: str, **metrics: float) -> dict:
    made.train(weights)
    made.evaluate(**metrics)
    return run(made)


def report(made: Project, name: str) -> dict:
    return json.loads((made.root / "reports/register" / name).read_text())


def retrained_elsewhere(made: Project) -> None:
    """The same fingerprint, other last bits."""
    (made.candidate / "model.onnx").write_text("onnx one, other bits")
    manifest = json.loads((made.candidate / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = file_hash(made.candidate / "model.onnx")
    write_json(made.candidate / "manifest.json", manifest)
    made.evaluate()


def other_inputs(made: Project) -> None:
    (made.root / "src/pkg/loss.py").write_text("weight = 2\n")
    made.commit()


def test_the_first_good_candidate_is_promoted(project):  # noqa: F811
    decision = run(project)
    assert (decision["verdict"], decision["version"], decision["reasons"]) == ("promoted", 1, [])
    assert (project.root / "models/champion/model.onnx").read_text() == "onnx one"
    assert project.lines()[0]["version"] == 1
    assert report(project, "gate.json")["passed"]
    assert report(project, "decision.json") == decision


def test_a_second_run_changes_nothing(project):  # noqa: F811
    run(project)
    gate = (project.root / "reports/register/gate.json").read_bytes()
    log = (project.root / "models/promotions.jsonl").read_bytes()
    decision = run(project)
    assert decision["verdict"] == "unchanged"
    assert decision["reasons"] == ["this candidate is the champion, version 1"]
    assert (project.root / "reports/register/gate.json").read_bytes() == gate
    assert (project.root / "models/promotions.jsonl").read_bytes() == log


def test_the_gate_report_knows_nothing_of_the_registry(project):  # noqa: F811
    run(project)
    other_inputs(project)
    again(project, "two")
    held = (project.root / "reports/register/gate.json").read_bytes()
    store = open_store(project.root)
    registry.set_alias(store, "champion", 2)
    shutil.rmtree(project.root / "models/champion")
    (project.root / "models/promotions.jsonl").unlink()
    assert run(project)["verdict"] == "promoted"
    assert (project.root / "reports/register/gate.json").read_bytes() == held
    assert set(report(project, "gate.json")) == {"fingerprint", "files", "checks", "passed"}


def test_a_rebuild_on_another_processor_changes_nothing(project):  # noqa: F811
    run(project)
    retrained_elsewhere(project)
    decision = run(project)
    assert decision["verdict"] == "unchanged"
    assert "made from the same inputs as the champion, version 1" in decision["reasons"][0]
    assert (project.root / "models/champion/model.onnx").read_text() == "onnx one"
    assert len(registry.versions(open_store(project.root))) == 1


def test_a_better_candidate_follows(project):  # noqa: F811
    run(project)
    other_inputs(project)
    decision = again(project, "two")
    assert (decision["verdict"], decision["version"]) == ("promoted", 2)
    assert [check["name"] for check in decision["checks"]][-1] == "not_worse"
    assert registry.alias_of(open_store(project.root), "champion") == 2


@pytest.mark.parametrize(
    ("weights", "metrics", "reason"),
    [
        ("two", {"auc": 0.85}, "AUC of the test subframes is 0.85; at least 0.9"),
        ("two", {"position_error": 3.0}, "median position error in pixels is 3; at most 2"),
        ("bad", {}, "significantly worse"),
    ],
)
def test_what_fails_the_gate_stays_challenger(project, weights, metrics, reason):  # noqa: F811
    run(project)
    other_inputs(project)
    decision = again(project, weights, **metrics)
    assert decision["verdict"] == "refused"
    assert decision["command"] == 'blobwatch promote 2 --reason "..."'
    assert len(decision["reasons"]) == 1
    assert reason in decision["reasons"][0]
    store = open_store(project.root)
    assert registry.alias_of(store, "champion") == 1
    assert registry.alias_of(store, "challenger") == 2
    assert (project.root / "models/champion/model.onnx").read_text() == "onnx one"
    promote(project.root, 2, "all the same")
    assert (project.root / "models/champion/model.onnx").read_text() == f"onnx {weights}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda made: (made.root / "src/pkg/new.py").write_text(""), "not committed: src/pkg/new.py"),
        (other_inputs, "not trained from what is here: src/pkg differs"),
    ],
)
def test_a_good_candidate_of_other_inputs_is_held(project, change, reason):  # noqa: F811
    change(project)
    decision = run(project)
    assert decision["verdict"] == "held"
    assert reason in decision["reasons"][0]
    assert decision["command"] == 'blobwatch promote 1 --reason "..."'
    assert project.lines() == []
    assert not (project.root / "models/champion").exists()
    assert run(project)["version"] == 1


def test_a_worktree_promotes_nothing(project, tmp_path):  # noqa: F811
    project.git("worktree", "add", "--quiet", str(tmp_path / "side"), "-b", "side")
    side = Project(tmp_path / "side")
    shutil.copytree(project.root / "data", side.root / "data", dirs_exist_ok=True)
    side.train()
    side.evaluate()
    decision = run(side)
    assert decision["verdict"] == "held"
    assert "worktree or a queued experiment" in decision["reasons"][0]


def test_says_what_it_decided(project, capsys):  # noqa: F811
    run(project)
    said = capsys.readouterr()
    assert said.out == ""
    assert "ok: AUC of the test subframes is 0.98; at least 0.9 required" in said.err
    assert "version 1 is the champion; commit models/champion" in said.err


def test_an_altered_candidate_is_refused(project):  # noqa: F811
    (project.candidate / "model.onnx").write_text("evil")
    with pytest.raises(BlobwatchError, match="sha256 differs"):
        run(project)
    assert not (project.root / "reports/register").exists()
