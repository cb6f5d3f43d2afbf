import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lineage.project import DVC, EXPOSED, make_project

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.files import write_table
from blobwatch.lineage.fingerprint import (
    EXPOSURES,
    Fingerprint,
    check_unchanged,
    dependency_hash,
    is_data,
    read_receipt,
    receipt_path,
    record_receipt,
    take_fingerprint,
)
from blobwatch.lineage.origin import fingerprint_of
from blobwatch.lineage.pipeline import LockedStage


@pytest.fixture
def root(tmp_path):
    return make_project(tmp_path / "project").root


def model_of(root: Path, taken: Fingerprint) -> Model:
    """Return a model whose manifest records this fingerprint."""
    manifest = {
        "fingerprint": {"sha256": taken.sha256, "parts": taken.parts},
        "data": taken.parts["data"],
        "exposures": EXPOSED,
    }
    return Model(root, json.loads(json.dumps(manifest)), files={})


def test_fingerprint_has_code_data_params_and_command(root):
    parts = take_fingerprint(root, "train").parts
    assert set(parts["code"]) == {"src/pkg", "requirements.lock"}
    assert set(parts["data"]) == {"data/subframes"}
    assert parts["data"]["data/subframes"].endswith(".dir")
    assert parts["params"] == {"seed": 7, "train": {"epochs": 3, "learning_rate": 0.003}}
    assert parts["command"].startswith("blobwatch train")


def test_fingerprint_is_reproducible_and_survives_json(root):
    first = take_fingerprint(root, "train")
    assert take_fingerprint(root, "train") == first
    again = Fingerprint(json.loads(json.dumps(first.parts)))
    assert (again, again.sha256) == (first, first.sha256)


@pytest.mark.parametrize(
    ("path", "text", "reported"),
    [
        ("src/pkg/loss.py", "weight = 2\n", "src/pkg"),
        ("requirements.lock", "torch==2.14.0\n", "requirements.lock"),
        ("data/subframes/a.npy", "other", "data/subframes"),
        ("params.yaml", "seed: 8\ntrain: {epochs: 3, learning_rate: 0.003}\n", "seed"),
        ("dvc.yaml", yaml.safe_dump(DVC).replace("blobwatch train", "blobwatch train --fast"), "command"),
    ],
)
def test_changed_input_is_reported(root, path, text, reported):
    before = take_fingerprint(root, "train")
    (root / path).write_text(text)
    with pytest.raises(BlobwatchError, match=rf"^{reported} changed while stage 'train' ran"):
        check_unchanged(root, "train", before)


def test_other_files_may_change(root):
    before = take_fingerprint(root, "train")
    (root / "params.yaml").write_text(
        "seed: 7\ntrain: {learning_rate: 0.003, epochs: 3}\nevaluate: {bootstrap: 900}\n"
    )
    (root / "README.md").write_text("words")
    check_unchanged(root, "train", before)
    assert take_fingerprint(root, "train").sha256 == before.sha256


def test_manifest_contains_fingerprint(root):
    taken = take_fingerprint(root, "train")
    found = fingerprint_of(model_of(root, taken))
    assert (found, found.sha256) == (taken, taken.sha256)


@pytest.mark.parametrize("lost", ["fingerprint", "data"])
def test_manifest_without_fingerprint_is_rejected(root, lost):
    model = model_of(root, take_fingerprint(root, "train"))
    del model.manifest[lost]
    with pytest.raises(BlobwatchError, match=r"manifest\.json does not name .* `dvc repro`"):
        fingerprint_of(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["fingerprint"]["parts"]["params"].update(seed=8),
        lambda manifest: manifest["fingerprint"].update(sha256="0" * 64),
        lambda manifest: manifest["data"].update({"data/subframes": "0" * 32 + ".dir"}),
        lambda manifest: manifest["exposures"].pop(),
        lambda manifest: manifest.update(exposures=[EXPOSED[0] | {"md5": "f" * 32}, *EXPOSED[1:]]),
    ],
)
def test_inconsistent_manifest_is_rejected(root, change):
    model = model_of(root, take_fingerprint(root, "train"))
    change(model.manifest)
    with pytest.raises(BlobwatchError, match=r"manifest\.json contradicts itself"):
        fingerprint_of(model)


def test_caches_are_excluded(root):
    before = take_fingerprint(root, "train")
    (root / "src/pkg/__pycache__").mkdir()
    (root / "src/pkg/__pycache__/loss.cpython-311.pyc").write_bytes(b"code")
    assert take_fingerprint(root, "train") == before


def test_templates_in_dependencies_are_resolved(root):
    text = (root / "dvc.yaml").read_text().replace("- data/subframes", "- data/${place.name}")
    (root / "dvc.yaml").write_text(text)
    (root / "params.yaml").write_text((root / "params.yaml").read_text() + "place: {name: subframes}\n")
    assert set(take_fingerprint(root, "train").parts["data"]) == {"data/subframes"}


@pytest.mark.parametrize(
    ("break_project", "message"),
    [
        (lambda root: (root / "requirements.lock").unlink(), r"requirements\.lock does not exist"),
        (lambda root: (root / "params.yaml").write_text("seed: 1\n"), "params.yaml has no train"),
        (lambda root: (root / "dvc.yaml").write_text("stages: {}\n"), "no stage 'train'"),
        (lambda root: (root / "dvc.yaml").write_text("a: [\n"), "not valid YAML"),
        (lambda root: (root / "dvc.yaml").unlink(), r"dvc\.yaml does not exist"),
    ],
)
def test_invalid_project_is_reported(root, break_project, message):
    break_project(root)
    with pytest.raises(BlobwatchError, match=message):
        take_fingerprint(root, "train")


def test_hashes_equal_those_of_dvc(root):
    (root / "src/pkg/__pycache__").mkdir()
    (root / "src/pkg/__pycache__/x.pyc").write_bytes(b"code")
    (root / "src/pkg/part").mkdir()
    (root / "src/pkg/part/z.py").write_text("")
    (root / "src/pkg/part.py").write_text("1")  # sorts differently as text and as path
    (root / ".dvcignore").write_text("__pycache__/\n")
    script = (
        "import sys\n"
        "from dvc.repo import Repo\n"
        "from dvc_data.hashfile.build import build\n"
        "repo = Repo.init(sys.argv[1])\n"
        "path = sys.argv[1] + '/src/pkg'\n"
        "print(build(repo.cache.local, path, repo.fs, 'md5', ignore=repo.dvcignore)[2].hash_info.value)\n"
    )
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(root)], capture_output=True, text=True, check=True
    )
    assert dependency_hash(root / "src/pkg") == output.stdout.split()[-1]


def test_fingerprint_includes_exposures_of_subframes(root):
    before = take_fingerprint(root, "train")
    assert before.parts["exposures"] == {row["rootname"]: row["md5"] for row in EXPOSED}
    write_table(root / "data/subframes" / EXPOSURES, EXPOSED[:2])
    assert before.differences(take_fingerprint(root, "train")) == ["data/subframes", EXPOSED[2]["rootname"]]


PLACES = [Path(place) for place in ("data/subframes", "models/candidate", "reports/train")]


def write_outputs(root: Path) -> None:
    for path in ("models/candidate/model.onnx", "reports/train/history.csv"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("made")


def test_stage_writes_receipt_of_inputs_and_outputs(root):
    with record_receipt(root, "train", *PLACES):
        write_outputs(root)
    fingerprint, made = read_receipt((root / receipt_path("train")).read_bytes())
    assert fingerprint == take_fingerprint(root, "train")
    assert made == {
        path: dependency_hash(root / path) for path in ("models/candidate", "reports/train/history.csv")
    }


def test_stage_with_changed_input_fails_without_receipt(root):
    def stage():
        with record_receipt(root, "train", *PLACES):
            write_outputs(root)
            (root / "src/pkg/loss.py").write_text("weight = 2\n")

    with pytest.raises(BlobwatchError, match=r"^src/pkg changed while stage 'train' ran"):
        stage()
    assert not (root / receipt_path("train")).exists()


def test_run_with_other_paths_writes_no_receipt(root, tmp_path):
    with record_receipt(root, "train", tmp_path, *PLACES[1:]):
        write_outputs(root)
    with record_receipt(tmp_path, "train", *PLACES):  # not a project
        pass
    assert not (root / receipt_path("train")).exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"seed": 7', '"seed": 8'),
        lambda text: text[:40],
        lambda text: "[]",
        lambda text: "",
    ],
)
def test_altered_receipt_is_ignored(root, change):
    with record_receipt(root, "train", *PLACES):
        write_outputs(root)
    assert read_receipt(change((root / receipt_path("train")).read_text()).encode()) is None


def test_differences_from_lock_are_listed(root):
    taken = take_fingerprint(root, "train")
    parts = json.loads(json.dumps(taken.parts))
    locked = LockedStage(parts["command"], parts["code"] | parts["data"], parts["params"], {})
    assert taken.differences_from_lock(locked) == []
    other = LockedStage(
        parts["command"] + " --fast", locked.deps | {"src/pkg": "0"}, locked.params | {"seed": 8}, {}
    )
    assert taken.differences_from_lock(other) == ["src/pkg", "seed", "command"]


def test_user_provided_files_count_as_code():
    assert not is_data("data/labels")
    assert not is_data("data/templates")
    assert is_data("data/raw/archive")
    assert not is_data("src/blobwatch/dataset")
