"""A project after a run of the pipeline with small numbers."""

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import yaml

from blobwatch.cli import main
from blobwatch.lineage.fingerprint import USER_FILES

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = {
    "threads": 1,
    "simulate": {"days": 96.0, "exposures": 24, "bad_exposures": 2, "new_blobs_per_month": 3.0},
    "difference": {"days": 10.0, "minimum": 2},
    "subframes": {"train": {"count": 60}, "val": {"count": 20}, "test": {"count": 20}},
    "train": {"width": 8, "epochs": 1},
    "baseline": {"epochs": 1},
    "evaluate": {"bootstrap": 100, "clean_frames": 1, "empty_frames": 4, "robustness_frames": 1},
}


@dataclass(frozen=True)
class SmallProject:
    """A project whose stages have run and whose version was promoted."""

    root: Path

    def call(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        """Run a command in a process; fail if its exit status is not 0."""
        with environ(environment):
            done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        return check(done, 0)

    def blobwatch(self, *arguments: str, status: int | None = 0, **environment: str):
        """Run a command in this process, since each start of Python costs seconds."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        with (
            environ(environment),
            chdir(self.root),
            redirect_stdout(out),
            redirect_stderr(err),
            warnings.catch_warnings(),
            patch.object(sys, "argv", ["blobwatch", *arguments]),
        ):
            warnings.resetwarnings()  # pytest makes them errors
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        return check(subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue()), status)

    def dvc(self, *arguments: str, **named) -> subprocess.CompletedProcess:
        return self.call(sys.executable, "-m", "dvc", *arguments, **named)

    def git(self, *arguments: str) -> str:
        return self.call("git", *arguments).stdout.strip()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "state", "--allow-empty")

    def audit(self, *arguments: str) -> dict:
        """Return the audit after a check of its exit status."""
        done = self.blobwatch("audit", "--json", *arguments, status=None)
        found = json.loads(done.stdout)
        assert done.returncode == (1 if found["verdict"] == "mismatch" else 0), done.stderr
        return found

    def edit(self, path: str, change) -> None:
        """Change the text of a file."""
        (self.root / path).write_text(change((self.root / path).read_text()))

    def params(self, **sections: dict) -> None:
        """Change numbers of ``params.yaml``."""
        content = yaml.safe_load((self.root / "params.yaml").read_text())
        (self.root / "params.yaml").write_text(yaml.safe_dump(replace_values(content, sections)))


def environ(own: dict[str, str]):
    """Return a context with the variables of the user's commands."""
    values = {"GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "true", "COLUMNS": "200"}
    values["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for role in ("AUTHOR", "COMMITTER"):
        values |= {f"GIT_{role}_NAME": "Test", f"GIT_{role}_EMAIL": "test@example.org"}
    inherited = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return patch.dict(os.environ, inherited | values | own, clear=True)


def check(done: subprocess.CompletedProcess, status: int | None) -> subprocess.CompletedProcess:
    if status is not None:
        assert done.returncode == status, f"{done.args}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def replace_values(params: dict, values: dict) -> dict:
    """Return parameters with some values replaced, at any depth."""
    new = {
        key: replace_values(params[key], value) if isinstance(value, dict) else value
        for key, value in values.items()
    }
    return params | new


def build_project(root: Path, blank_database: Path) -> SmallProject:
    """Create the project, run its stages with DVC, and promote its version."""
    root.mkdir()
    for name in ("dvc.yaml", "requirements.lock", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", root)
    for given in USER_FILES:
        shutil.copytree(ROOT / given, root / given)
    shutil.copyfile(blank_database, root / "mlflow.db")
    small = SmallProject(root)
    small.params(**NUMBERS)
    small.git("init", "--quiet", "--initial-branch=main")
    small.dvc("init", "--quiet")
    small.commit()
    (root / "repro.txt").write_text(small.dvc("repro").stderr)
    small.git("add", "dvc.lock", "reports")
    small.git("commit", "--quiet", "--message", "outputs of the stages")
    small.blobwatch("promote", "1", "--reason", "initial version", "--force")
    small.git("add", "models")
    small.git("commit", "--quiet", "--message", "the first champion")
    return small


def add_second_version(small: SmallProject) -> SmallProject:
    """Train a second version at another rate on pinned exposures, promote it, and roll back."""
    archive = small.root / "data/raw/archive"
    shutil.copytree(small.root / "data/raw/simulated", archive, ignore=shutil.ignore_patterns("truth.csv"))
    small.params(train={"learning_rate": 0.004}, data={"exposures": "data/raw/archive"})
    small.dvc("add", "data/raw/archive")
    small.commit()
    small.dvc("repro", "register")
    small.git("add", "dvc.lock", "reports")
    small.git("commit", "--quiet", "--message", "outputs of the stages")
    small.blobwatch("promote", "2", "--reason", "another", "--force")
    small.blobwatch("rollback", "--reason", "it was not better")
    small.git("add", "models")
    small.git("commit", "--quiet", "--message", "the first champion again")
    return small


def copy_or_link(source: str, target: str) -> None:
    """Copy a file; link it if it is in DVC's cache, whose objects never change."""
    (os.link if "/.dvc/cache/" in source else shutil.copy2)(source, target)


def copy_project(small: SmallProject, root: Path) -> SmallProject:
    """Copy a project and update the paths in its MLflow store."""
    shutil.copytree(small.root, root, symlinks=True, copy_function=copy_or_link)
    places = [
        ("experiments", "artifact_location"),
        ("runs", "artifact_uri"),
        ("logged_models", "artifact_location"),
        ("model_versions", "source"),
        ("model_versions", "storage_location"),
    ]
    with sqlite3.connect(root / "mlflow.db") as database:
        for table, column in places:
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(small.root), str(root))
            )
    database.close()
    return SmallProject(root)
