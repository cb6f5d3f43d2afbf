import json
import subprocess
import sys

import pytest
import yaml
from lineage.project import DVC, make_project

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.fingerprint import dependency_hash, of_parts, sealed, take


@pytest.fixture
def root(tmp_path):
    return make_project(tmp_path / "project").root


def test_names_code_data_params_and_command(root):
    parts = take(root, "train").parts
    assert set(parts["code"]) == {"src/pkg", "requirements.lock"}
    assert set(parts["data"]) == {"data/subframes"}
    assert parts["data"]["data/subframes"].endswith(".dir")
    assert parts["params"] == {"seed": 7, "train": {"epochs": 3, "learning_rate": 0.003}}
    assert parts["command"].startswith("blobwatch train")


def test_comes_out_again_and_survives_json(root):
    first = take(root, "train")
    assert take(root, "train") == first
    assert of_parts(json.loads(json.dumps(first.parts))) == first


@pytest.mark.parametrize(
    ("path", "text", "named"),
    [
        ("src/pkg/loss.py", "weight = 2\n", "src/pkg"),
        ("requirements.lock", "torch==2.14.0\n", "requirements.lock"),
        ("data/subframes/a.npy", "other", "data/subframes"),
        ("params.yaml", "seed: 8\ntrain: {epochs: 3, learning_rate: 0.003}\n", "seed"),
        ("dvc.yaml", yaml.safe_dump(DVC).replace("blobwatch train", "blobwatch train --fast"), "command"),
    ],
)
def test_sealed_refuses_an_input_that_changes_meanwhile(root, path, text, named):
    with (
        pytest.raises(BlobwatchError, match=rf"^{named} changed while stage 'train' ran"),
        sealed(root, "train"),
    ):
        (root / path).write_text(text)


def test_sealed_lets_pass_what_is_no_input(root):
    with sealed(root, "train") as seal:
        (root / "params.yaml").write_text(
            "seed: 7\ntrain: {learning_rate: 0.003, epochs: 3}\nevaluate: {bootstrap: 900}\n"
        )
        (root / "README.md").write_text("words")
    assert take(root, "train") == seal


def test_sealed_does_not_hide_an_error_of_the_stage(root):
    def stage():
        (root / "requirements.lock").write_text("")
        raise RuntimeError("of the stage")

    with pytest.raises(RuntimeError, match="of the stage"), sealed(root, "train"):
        stage()


def test_caches_do_not_count(root):
    before = take(root, "train")
    (root / "src/pkg/__pycache__").mkdir()
    (root / "src/pkg/__pycache__/loss.cpython-311.pyc").write_bytes(b"code")
    assert take(root, "train") == before


def test_templates_in_dependencies_are_resolved(root):
    text = (root / "dvc.yaml").read_text().replace("- data/subframes", "- data/${place.name}")
    (root / "dvc.yaml").write_text(text)
    (root / "params.yaml").write_text((root / "params.yaml").read_text() + "place: {name: subframes}\n")
    assert set(take(root, "train").parts["data"]) == {"data/subframes"}


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda root: (root / "requirements.lock").unlink(), r"requirements\.lock does not exist"),
        (lambda root: (root / "params.yaml").write_text("seed: 1\n"), "params.yaml has no train"),
        (lambda root: (root / "dvc.yaml").write_text("stages: {}\n"), "no stage 'train'"),
        (lambda root: (root / "dvc.yaml").write_text("a: [\n"), "not valid YAML"),
        (lambda root: (root / "dvc.yaml").unlink(), "run blobwatch in the project's folder"),
    ],
)
def test_says_what_is_wrong(root, break_it, sentence):
    break_it(root)
    with pytest.raises(BlobwatchError, match=sentence):
        take(root, "train")


def test_hashes_are_those_of_dvc(root):
    (root / "src/pkg/__pycache__").mkdir()
    (root / "src/pkg/__pycache__/x.pyc").write_bytes(b"code")
    (root / "src/pkg/part").mkdir()
    (root / "src/pkg/part/z.py").write_text("")
    (root / "src/pkg/part.py").write_text("1")  # sorts otherwise as text than as path
    (root / ".dvcignore").write_text("__pycache__/\n")
    script = (
        "import sys\n"
        "from dvc.repo import Repo\n"
        "from dvc_data.hashfile.build import build\n"
        "repo = Repo.init(sys.argv[1])\n"
        "path = sys.argv[1] + '/src/pkg'\n"
        "print(build(repo.cache.local, path, repo.fs, 'md5', ignore=repo.dvcignore)[2].hash_info.value)\n"
    )
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(root)], capture_output=True, text=True, check=True
    )
    assert dependency_hash(root / "src/pkg") == said.stdout.split()[-1]
