"""A small git project with the outputs of the pipeline and an MLflow store."""

import csv
import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from blobwatch.artefact import Model
from blobwatch.files import file_hash, write_json, write_table
from blobwatch.lineage.fingerprint import EXPOSURES, dependency_hash, take_fingerprint
from blobwatch.lineage.origin import commit_of, fingerprint_of
from blobwatch.lineage.pipeline import read_stages
from blobwatch.lineage.promotion import commands, promotion_log
from blobwatch.lineage.promotion.deployment import next_number
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.logging import record_evaluation
from blobwatch.lineage.tracking.store import open_store
from blobwatch.params import Params, load_params

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 deprecates.
MLFLOW_WARNING = "ignore:The ``noload`` loader strategy:DeprecationWarning"

DVC = {
    "stages": {
        "subframes": {"cmd": "blobwatch subframes data/subframes", "outs": ["data/subframes"]},
        "train": {
            "cmd": "blobwatch train data/subframes models/candidate reports/train",
            "deps": ["src/pkg", "requirements.lock", "data/subframes"],
            "params": ["seed", "train"],
            "outs": ["models/candidate", {"reports/train/history.csv": {"cache": False}}],
        },
        "evaluate": {
            "cmd": "blobwatch evaluate",
            "deps": ["models/candidate"],
            "outs": ["reports/evaluate"],
        },
    }
}
PARAMS = {"seed": 7, "train": {"epochs": 3, "learning_rate": 0.003}, "evaluate": {"bootstrap": 100}}
IGNORED = "mlflow.db*\nmlartifacts/\n.dvc/tmp/\nmodels/.promotion\ndata/\nmodels/candidate\n"
IGNORED += "reports/\n__pycache__/\n"
GOOD = {"auc": 0.98, "recall_above_15": 0.99, "recall_10_to_15": 0.98, "snr_at_half": 6.5}
GOOD |= {"false_per_100": 4.0, "position_error": 0.8}
GOOD |= {"worst_snr_at_half": 7.0, "worst_false_per_100": 3.0, "worst_recall_above_15": 0.99}
EXPOSED = [
    {"rootname": f"izzz000{n}q", "role": role, "path": f"data/raw/izzz000{n}q_flt.fits", "md5": f"{n}" * 32}
    | {"expstart": f"5800{n}.5", "filter": "F153M", "programme": "11111"}
    for n, role in enumerate(("train", "val", "test"))
]


@dataclass
class Project:
    root: Path
    candidate: Path = field(init=False)
    reports: Path = field(init=False)
    subframes: Path = field(init=False)

    def __post_init__(self):
        self.candidate = self.root / "models/candidate"
        self.reports = self.root / "reports/evaluate"
        self.subframes = self.root / "data/subframes"

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *arguments]
        return subprocess.run(
            command, cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "state", "--allow-empty")
        return self.git("rev-parse", "HEAD")

    def train(self, weights: str = "one") -> None:
        """Write a candidate like the stage ``train``, from the current inputs."""
        self.candidate.mkdir(parents=True, exist_ok=True)
        (self.candidate / "model.onnx").write_text(f"onnx {weights}")
        (self.candidate / "model.safetensors").write_text(f"safetensors {weights}")
        taken = take_fingerprint(self.root, "train")
        manifest = {
            "name": "blobwatch",
            "architecture": {"name": "compact", "stride": 8},
            "threshold": 0.5,
            "fingerprint": {"sha256": taken.sha256, "parts": taken.parts},
            "data": taken.parts["data"],
            "exposures": EXPOSED,
            "files": {name: file_hash(self.candidate / name) for name in ("model.onnx", "model.safetensors")},
            "metrics": {"val_auc": 0.97},
        }
        write_json(self.candidate / "manifest.json", manifest)
        history = self.root / "reports/train/history.csv"
        history.parent.mkdir(parents=True, exist_ok=True)
        with history.open("w", newline="") as stream:
            csv.writer(stream).writerows([["epoch", "train_loss", "val_auc"], [0, 0.6, 0.8], [1, 0.3, 0.97]])

    def evaluate(self, **changed: float) -> None:
        """Write the reports like the stage ``evaluate``, and update ``dvc.lock``."""
        values = GOOD | changed
        worst = {name for name in GOOD if name.startswith("worst_")}
        sections = {"subframes": {"auc"}, "blobs": GOOD.keys() - worst - {"auc"}, "robustness": worst}
        metrics = {
            section: {
                name: {"value": values[name], "low": values[name] - 0.1, "high": values[name] + 0.1}
                for name in names
            }
            for section, names in sections.items()
        }
        metrics["baselines"] = {
            "matched_filter": {"subframes": {"auc": {"value": 0.8, "low": 0.7, "high": 0.9}}}
        }
        write_json(self.reports / "metrics.json", metrics)
        (self.reports / "figures").mkdir(exist_ok=True)
        (self.reports / "figures/roc.png").write_bytes(b"png")
        (self.reports / "slices.csv").write_text("snr,auc\n5,0.9\n")
        self.lock()

    def lock(self) -> None:
        """Write ``dvc.lock`` like DVC, from the current files."""

        def hashed(paths) -> list[dict]:
            return [{"path": path, "md5": dependency_hash(self.root / path)} for path in paths]

        stages = {
            name: {"cmd": stage.command, "deps": hashed(stage.deps), "outs": hashed(stage.outs)}
            | {"params": {"params.yaml": take_fingerprint(self.root, name).parts["params"]}}
            for name, stage in read_stages(self.root).items()
        }
        (self.root / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))

    def lines(self) -> list[dict]:
        log = self.root / "models/promotions.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def reworded(self) -> str:
        """Return ``params.yaml`` with a comment added: equal values, different bytes."""
        return (self.root / "params.yaml").read_text() + "# a comment\n"

    def line_hashes(self) -> list[str]:
        return promotion_log.hashes(self.root / "models/promotions.jsonl")


def register(project: Project, weights: str | None = None) -> int:
    """Register the candidate, or one with other weights; return the version number."""
    if weights:
        project.train(weights)
        project.evaluate()
    store, model = open_store(project.root), Model.load(project.candidate)
    run_id, _ = record_evaluation(project.root, project.candidate, project.reports)
    commit = commit_of(project.root, fingerprint_of(model))
    return int(registry.register(store, model, run_id, commit, next_number(project.root)).version)


def promote(root: Path, version: int, reason: str, force: bool = False) -> dict:
    """Promote with the project's own parameters."""
    return commands.promote(root, version, reason, settings(), force)


def alias(project: Project) -> int | None:
    return registry.get_alias(open_store(project.root), "champion")


def champion(project: Project) -> str:
    return (project.root / "models/champion/model.onnx").read_text()


def fresh_clone(project: Project, to: Path, blank_database: Path) -> Project:
    """Clone the project: sources, champion and log, without data, candidate and runs."""
    project.commit()
    project.git("clone", "--quiet", str(project.root), str(to))
    shutil.copyfile(blank_database, to / "mlflow.db")
    return Project(to)


def make_project(root: Path) -> Project:
    """Write the sources of a project and commit them."""
    for folder in ("src/pkg", "data/subframes", "models"):
        (root / folder).mkdir(parents=True)
    (root / "src/pkg/network.py").write_text("width = 16\n")
    (root / "src/pkg/loss.py").write_text("weight = 1\n")
    (root / "requirements.lock").write_text("torch==2.13.0\n")
    (root / "data/subframes/a.npy").write_bytes(b"first")
    (root / "data/subframes/b.npy").write_bytes(b"second")
    write_table(root / "data/subframes" / EXPOSURES, EXPOSED)
    (root / "dvc.yaml").write_text(yaml.safe_dump(DVC))
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / ".gitignore").write_text(IGNORED)
    project = Project(root)
    project.git("init", "--quiet", "--initial-branch=main")
    project.commit()
    return project


def settings() -> Params:
    """Return the project's parameters with few resamples."""
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    few = params.evaluate.model_copy(update={"bootstrap": 100})
    return params.model_copy(update={"evaluate": few})


@pytest.fixture
def ungated(monkeypatch):
    """Disable the promotion criteria: the models of these tests are text files."""
    monkeypatch.setattr("blobwatch.lineage.promotion.commands.run_gates", lambda *arguments: [])


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory) -> Path:
    """Create an empty MLflow database once; creating takes seconds, copying is fast."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}", registry_uri=f"sqlite:///{path}")
    return path


@pytest.fixture
def project(tmp_path, monkeypatch, blank_database) -> Project:
    """Create a project with a store, a trained candidate and its evaluation."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = make_project(tmp_path / "project")
    shutil.copyfile(blank_database, made.root / "mlflow.db")
    made.train()
    made.evaluate()
    return made
