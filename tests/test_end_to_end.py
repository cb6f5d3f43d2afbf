"""The whole pipeline, small: from nothing to a model that is judged, registered and answers on a file."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT
from made import lines_of

from blobwatch.lineage.fingerprint import resolve

pytestmark = pytest.mark.slow
SMALL = {
    "threads": 1,
    "simulate": {"days": 96.0, "exposures": 24, "new_blobs_per_month": 3.0},
    "difference": {"days": 10.0, "minimum": 2},
    "subframes": {"train": {"count": 60}, "val": {"count": 20}, "test": {"count": 20}},
    "train": {"width": 1, "epochs": 1},
    "baseline": {"epochs": 1},
    "evaluate": {"bootstrap": 100, "clean_frames": 1},
}


def call(root, *command: str, status: int = 0) -> subprocess.CompletedProcess:
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "true", "COLUMNS": "200"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def blobwatch(root, *arguments: str, status: int = 0) -> subprocess.CompletedProcess:
    return call(root, sys.executable, "-m", "blobwatch.cli", *arguments, status=status)


def stage(root, name: str) -> subprocess.CompletedProcess:
    """Run a stage by the very command of ``dvc.yaml``."""
    pipeline, params = (yaml.safe_load((root / file).read_text()) for file in ("dvc.yaml", "params.yaml"))
    program, *arguments = resolve(pipeline["stages"][name]["cmd"], params).split()
    assert program == "blobwatch"
    return blobwatch(root, *arguments)


def changed(params: dict, values: dict) -> dict:
    """Return parameters with some values replaced, at any depth."""
    new = {
        key: changed(params[key], value) if isinstance(value, dict) else value
        for key, value in values.items()
    }
    return params | new


@pytest.fixture(scope="module")
def project(tmp_path_factory, blank_database):
    """The project with small numbers, its stages run."""
    root = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", "requirements.lock", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params = changed(params, SMALL)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copyfile(blank_database, root / "mlflow.db")
    call(root, "git", "init", "--quiet", "--initial-branch=main")
    call(root, sys.executable, "-m", "dvc", "init", "--quiet")
    call(root, "git", "add", "--all")
    call(
        root, "git", "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "state"
    )
    said = {
        name: stage(root, name).stderr for name in yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    }
    return root, said


def test_every_output_of_the_pipeline_is_there(project):
    root, _ = project
    for name, entry in yaml.safe_load((root / "dvc.yaml").read_text())["stages"].items():
        for kind in ("outs", "metrics", "plots"):
            for out in entry.get(kind, []):
                path = root / (next(iter(out)) if isinstance(out, dict) else out)
                assert path.exists(), (name, path)
                assert not path.is_dir() or any(path.iterdir()), (name, path)
    assert not list(root.rglob(".*.partial-*"))


def test_what_is_not_for_git_stays_out_of_it(project):
    root, _ = project
    loose = call(root, "git", "status", "--porcelain", "--untracked-files=all").stdout.split("\n")
    assert {line[3:].split("/")[0] for line in loose if line} <= {"reports"}


def test_dvc_takes_the_commands_as_they_are(project):
    root, _ = project
    listed = call(root, sys.executable, "-m", "dvc", "stage", "list", "--name-only").stdout.split()
    assert listed == ["simulate", "difference", "subframes", "train", "baseline", "evaluate", "register"]


def test_register_says_why_it_did_not_promote(project):
    root, said = project
    decision = json.loads((root / "reports/register/decision.json").read_text())
    assert decision["verdict"] == "refused"
    failed = [check["sentence"] for check in decision["checks"] if not check["passed"]]
    assert failed
    for sentence in failed:
        assert sentence in decision["reasons"]
        assert f"register: FAILED: {sentence}" in said["register"]
    assert 'not promoted; to do it all the same: blobwatch promote 1 --reason "..."' in said["register"]
    assert not (root / "models/champion").exists()
    assert not (root / "models/promotions.jsonl").exists()
    assert not json.loads((root / "reports/register/gate.json").read_text())["passed"]


def test_a_second_registration_changes_nothing(project):
    root, _ = project
    gate = root / "reports/register/gate.json"
    before = gate.read_bytes()
    stage(root, "register")
    assert gate.read_bytes() == before
    assert json.loads((root / "reports/register/decision.json").read_text())["version"] == 1


def test_the_candidate_answers_on_a_difference_image_and_on_its_exposure(project):
    root, _ = project
    product = sorted((root / "data/difference").glob("*.fits"))[-1]
    exposure = root / "data/raw/simulated" / product.name.replace("_diff", "_flt")
    files = [str(path.relative_to(root)) for path in (product, exposure)]
    done = blobwatch(
        root, "predict", *files, "--model", "models/candidate", "--json", "--history", "data/raw/simulated"
    )
    of_product, of_exposure = lines_of(done.stdout)
    assert of_product["rootname"] == of_exposure["rootname"]
    assert [of_product["image"], of_exposure["image"]] == files
    assert len(of_product["subframes"]) == 16
