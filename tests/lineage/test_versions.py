"""Commands models, compare, gc and verify, and the recording of all training runs."""

import json
import os
from hashlib import md5

import pytest
from small_project import SmallProject

pytestmark = pytest.mark.slow


def runs(lab: SmallProject) -> dict[str, str]:
    """Return the learning rate of each finished run by its fingerprint."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{lab.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("blobwatch").experiment_id
    found = client.search_runs([experiment], "tags.kind = 'network'")
    assert {run.info.status for run in found} == {"FINISHED"}
    tags = [run.data.tags["blobwatch.fingerprint"] for run in found]
    assert len(set(tags)) == len(tags)
    return {run.data.tags["blobwatch.fingerprint"]: run.data.params["train.learning_rate"] for run in found}


def test_models_lists_each_version_with_its_state_metrics_and_data(seasoned):
    first, second = json.loads(seasoned.blobwatch("models", "--json").stdout)
    assert [(one["version"], one["state"]) for one in (first, second)] == [(1, "champion"), (2, "challenger")]
    assert first["reason"] == "it was not better"
    assert second["reason"] == "another"
    assert second["forced"]
    assert first["data"] == json.loads(manifest(seasoned))["data"]
    assert first["data"].keys() == second["data"].keys()
    auc = first["metrics"]["auc"]
    assert auc["low"] <= auc["value"] <= auc["high"]
    output = seasoned.blobwatch("models").stdout
    assert "champion" in output
    assert "challenger (forced)" in output


def manifest(lab: SmallProject) -> str:
    return (lab.root / "models/champion/manifest.json").read_text()


def test_compare_lists_differences_on_the_same_subframes(seasoned):
    found = json.loads(seasoned.blobwatch("compare", "1", "2", "--json").stdout)
    assert found["versions"] == [1, 2]
    assert found["params"] == {"train.learning_rate": [0.006, 0.004]}
    assert (list(found["data"]), found["code"]) == (["data/subframes"], [])  # their paths differ
    assert found["exposures"] == {"only_first": [], "only_second": [], "altered": []}
    assert found["test"]["subframes"] == 20
    rows = {(row["slice"], row["part"]): row for row in found["results"]}
    assert {"all", "snr", "half-width", "region", "contaminant"} == {name for name, _ in rows}
    for row in rows.values():
        assert row["difference"]["value"] == pytest.approx(row["b"]["value"] - row["a"]["value"], abs=1e-9)
    metrics = json.loads((seasoned.root / "reports/evaluate/metrics.json").read_text())
    measured = metrics["subframes"]["auc"]["value"]
    assert rows["all", "subframe AUC"]["b"]["value"] == pytest.approx(measured, abs=1e-6)
    same = json.loads(seasoned.blobwatch("compare", "champion", "1", "--json").stdout)
    assert all(row["difference"] == {"value": 0, "low": 0, "high": 0} for row in same["results"])
    assert "train.learning_rate" in seasoned.blobwatch("compare", "1", "2").stdout


def test_gc_removes_only_unneeded_objects(old_lab):
    lab = old_lab
    cache = lab.root / ".dvc/cache/files/md5"
    (lab.root / "loose").mkdir()
    (lab.root / "loose/big.bin").write_bytes(os.urandom(5000))
    lab.dvc("add", "loose")
    (lab.root / "loose.dvc").unlink()
    before = {path for path in cache.rglob("*") if path.is_file()}
    found = json.loads(lab.blobwatch("gc", "--json").stdout)
    assert not found["deleted"]
    assert {path for path in cache.rglob("*") if path.is_file()} == before
    assert len(found["objects"]) == 2  # the folder's listing, and the file in it
    found = json.loads(lab.blobwatch("gc", "--delete", "--json").stdout)
    gone = before - {path for path in cache.rglob("*") if path.is_file()}
    assert {path.parent.name + path.name for path in gone} == set(found["objects"])
    assert [lab.audit(version)["verdict"] for version in ("1", "2")] == ["ok", "ok"]
    assert json.loads(lab.blobwatch("gc", "--json").stdout)["objects"] == []
    assert "no unused objects" in lab.blobwatch("gc").stdout


def test_gc_keeps_promoted_version_that_dvc_gc_removes(old_lab):
    """Plain ``dvc gc`` removes the deployed version, since the workspace contains another."""
    lab = old_lab
    weights = md5((lab.root / "models/champion/model.safetensors").read_bytes()).hexdigest()
    cached = lab.root / ".dvc/cache/files/md5" / weights[:2] / weights[2:]
    assert weights not in (lab.root / "dvc.lock").read_text()
    lab.blobwatch("gc", "--delete")
    assert cached.is_file()
    lab.dvc("gc", "--workspace", "--force")
    assert not cached.exists()


def test_gc_keeps_objects_of_dvc_files(old_lab):
    lab = old_lab
    (lab.root / "notes").mkdir()
    (lab.root / "notes/big.bin").write_bytes(os.urandom(5000))
    lab.dvc("add", "notes/big.bin")
    assert json.loads(lab.blobwatch("gc", "--json").stdout)["objects"] == []
    lab.commit()
    (lab.root / "notes/big.bin.dvc").unlink()  # still in the commit
    assert json.loads(lab.blobwatch("gc", "--json").stdout)["objects"] == []


def test_gc_refuses_to_delete_if_a_listing_is_missing(old_lab):
    lab = old_lab
    name = json.loads(manifest(lab))["data"]["data/subframes"]
    listing = lab.root / ".dvc/cache/files/md5" / name[:2] / name[2:]
    listing.unlink()
    found = json.loads(lab.blobwatch("gc", "--json").stdout)
    assert found["unknown"]["version 1"] == [name]
    assert found["objects"]
    output = lab.blobwatch("gc", "--delete", status=1).stderr
    assert "the listings of some folders of" in output
    assert json.loads(lab.blobwatch("gc", "--json").stdout)["objects"] == found["objects"]
    lab.blobwatch("gc", "--delete", "--lost")
    assert json.loads(lab.blobwatch("gc", "--json").stdout)["objects"] == []


def test_gc_refuses_during_a_stage_and_on_a_shared_cache(old_lab):
    lab = old_lab
    (lab.root / ".dvc/tmp").mkdir(exist_ok=True)
    note = {"write": {str(lab.root / "data/difference"): {"pid": os.getpid(), "cmd": "dvc repro"}}}
    (lab.root / ".dvc/tmp/rwlock").write_text(json.dumps(note))
    assert "a stage of the pipeline is running" in lab.blobwatch("gc", status=1).stderr
    (lab.root / ".dvc/tmp/rwlock").unlink()
    lab.dvc("cache", "dir", "--local", str(lab.root.parent / "shared"))
    assert "may serve other projects" in lab.blobwatch("gc", "--delete", status=1).stderr


def test_verify_reproduces_version_without_changing_workspace(seasoned):
    status = seasoned.git("status", "--porcelain")
    lock = (seasoned.root / "dvc.lock").read_bytes()
    files = {path: path.stat().st_mtime_ns for path in (seasoned.root / "data").rglob("*")}
    before = runs(seasoned)
    found = json.loads(seasoned.blobwatch("verify", "2", "--json").stdout)
    assert (found["version"], found["verdict"], found["first"]) == (2, "equal", None)
    assert found["stages"] == dict.fromkeys(("difference", "subframes", "train"), "equal")
    assert found["environment"] == []
    assert seasoned.git("status", "--porcelain") == status
    assert (seasoned.root / "dvc.lock").read_bytes() == lock
    assert {path: path.stat().st_mtime_ns for path in (seasoned.root / "data").rglob("*")} == files
    assert runs(seasoned) == before


def test_changing_a_parameter_and_back_records_two_runs(lab):
    first = runs(lab)
    for rate in (0.004, 0.006):
        lab.params(train={"learning_rate": rate})
        lab.dvc("repro", "train")
    assert sorted(runs(lab).values()) == ["0.004", "0.006"]
    assert runs(lab).items() >= first.items()
    lab.blobwatch("sync")
    assert len(runs(lab)) == 2


def test_parallel_queued_experiments_record_all_runs(small, tmp_path):
    """Two workers start on a clone without an MLflow store; the data are pulled."""
    small.git("clone", "--quiet", str(small.root), str(tmp_path / "clone"))
    clone = SmallProject(tmp_path / "clone")
    clone.dvc("remote", "add", "--default", "first", str(small.root / ".dvc/cache"))
    clone.commit()
    clone.dvc("pull")
    for rate in ("0.003", "0.007"):
        clone.dvc("exp", "run", "--queue", "--set-param", f"train.learning_rate={rate}", "train")
    clone.dvc("queue", "start", "--jobs", "2")
    clone.dvc("queue", "logs", "--follow", first_task(clone, 0))
    clone.dvc("queue", "logs", "--follow", first_task(clone, 1))
    output = clone.dvc("queue", "status").stdout
    assert output.count("Success") == 2, output
    assert sorted(runs(clone).values()) == ["0.003", "0.007"]


def first_task(lab: SmallProject, number: int) -> str:
    """Return the name of a queued experiment."""
    lines = [line for line in lab.dvc("queue", "status").stdout.splitlines() if line[:1].isalnum()]
    return lines[1 + number].split()[0]


def test_exposures_pinned_by_dvc_are_audited(old_lab):
    """The chain of exposures that no stage made starts at their ``.dvc`` file."""
    lab = old_lab
    found = lab.audit("2")
    assert (found["version"], found["verdict"]) == (2, "ok")
    assert {row["path"].rpartition("/")[0] for row in found["exposures"]} == {"data/raw/archive"}
    other = lab.root / found["exposures"][-1]["path"]
    original = other.read_bytes()
    other.write_bytes(original[:-2880])
    lab.dvc("add", "data/raw/archive")  # `dvc repro` does the same
    output = lab.blobwatch("promote", "2", "--reason", "again", status=1).stderr
    assert "its inputs are not committed: data/raw/archive.dvc" in output
    other.write_bytes(original)
    lab.dvc("add", "data/raw/archive")
    exposure = lab.root / found["exposures"][0]["path"]
    exposure.write_bytes(exposure.read_bytes()[:-2880])
    found = lab.audit("2")
    assert found["verdict"] == "mismatch"
    assert [row["status"] for row in found["exposures"]].count("mismatch") == 1
    lab.dvc("add", "data/raw/archive")  # the version's training data are still in the cache
    assert lab.audit("2")["verdict"] == "ok"
    lab.dvc("gc", "--workspace", "--force")
    assert lab.audit("2")["verdict"] == "incomplete"
