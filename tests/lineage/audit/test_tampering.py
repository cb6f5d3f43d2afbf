"""Tampering that the audit must detect, tested on a small real pipeline."""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml
from small_project import SmallProject

pytestmark = pytest.mark.slow
LINKS = ["promotions log", "model files", "registry", "alias", "run", "fingerprint", "commit", "dvc.lock"]
LINKS += ["evaluation", "subframes", "difference images", "raw exposures"]


def links_by_name(found: dict) -> dict[str, dict]:
    return {link["link"]: link for link in found["links"]}


def failed_notes(found: dict) -> dict[str, str]:
    """Return the notes of the links that are not ok."""
    return {name: link["note"] for name, link in links_by_name(found).items() if link["status"] != "ok"}


def assert_mismatch(found: dict, link: str, note: str) -> None:
    assert found["verdict"] == "mismatch"
    assert note in failed_notes(found)[link]


def find_exposure(lab: SmallProject, role: str = "train") -> dict:
    manifest = json.loads((lab.root / "models/champion/manifest.json").read_text())
    return next(row for row in manifest["exposures"] if row["role"] == role)


def flip_bit(lab: SmallProject, path: str) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray((lab.root / path).read_bytes())
    content[len(content) // 2] ^= 1
    (lab.root / path).write_bytes(content)


@contextmanager
def editing_lock(lab: SmallProject) -> Iterator[dict]:
    """Yield the stages of ``dvc.lock``, and write them back."""
    path = lab.root / "dvc.lock"
    lock = yaml.safe_load(path.read_text())
    yield lock["stages"]
    path.write_text(yaml.safe_dump(lock))


def test_unaltered_project_is_ok(small):
    found = small.audit()
    assert (found["version"], found["verdict"]) == (1, "ok")
    assert list(links_by_name(found)) == LINKS
    assert all(link["expected"] == link["found"] for link in found["links"])
    assert {row["role"] for row in found["exposures"]} == {"train", "val", "test"}
    assert {row["status"] for row in found["exposures"]} == {"ok"}
    keys = {"rootname", "path", "md5", "expstart", "filter", "role", "status"}
    assert all(keys <= row.keys() for row in found["exposures"])
    assert (found["labels"], found["labels_note"]) == ([], "data/subframes/labels.csv")
    assert small.audit("1") == found
    assert "labels: none; data/subframes/labels.csv\n" in small.blobwatch("audit").stdout


def test_altered_exposure(lab):
    row = find_exposure(lab)
    flip_bit(lab, row["path"])
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert list(failed_notes(found)) == ["raw exposures"]
    assert row["rootname"] in failed_notes(found)["raw exposures"]
    bad = [one["rootname"] for one in found["exposures"] if one["status"] != "ok"]
    assert bad == [row["rootname"]]


def test_altered_exposure_committed_to_dvc(lab):
    flip_bit(lab, find_exposure(lab)["path"])
    lab.dvc("commit", "--force", "simulate")
    assert_mismatch(lab.audit(), "raw exposures", "not what stage 'simulate' made")


def test_missing_exposure(lab):
    row = find_exposure(lab, "val")
    (lab.root / row["path"]).unlink()
    found = lab.audit()
    assert found["verdict"] == "incomplete"
    assert list(failed_notes(found)) == ["raw exposures"]
    name = row["path"].rpartition("/")[2]
    assert f"missing in data/raw/simulated: {name}" in failed_notes(found)["raw exposures"]
    assert [one["status"] for one in found["exposures"] if one["rootname"] == row["rootname"]] == ["missing"]


@pytest.mark.parametrize(
    ("stage", "link", "module"),
    [
        ("train", "dvc.lock", "detector/network.py"),
        ("subframes", "subframes", "dataset/injection.py"),
        ("simulate", "raw exposures", "instrument/season.py"),
    ],
)
def test_code_edited_during_run(lab, stage, link, module):
    """Imitate code that changes during a run: ``dvc commit`` writes the same lock."""
    path = lab.root / "src/blobwatch" / module
    path.write_text(path.read_text() + "\n# edited while the stage ran\n")
    lab.dvc("commit", "--force", stage)
    assert_mismatch(lab.audit(), link, "src/blobwatch")


def test_edited_lock(lab):
    with editing_lock(lab) as stages:
        stages["difference"]["params"]["params.yaml"]["difference"]["days"] = 30.0
    assert_mismatch(lab.audit(), "difference images", "that ran on another difference")


def test_edited_and_committed_lock(lab):
    with editing_lock(lab) as stages:
        stages["train"]["params"]["params.yaml"]["train"]["epochs"] = 5
    lab.commit()
    assert_mismatch(lab.audit(), "dvc.lock", "different training inputs: train")


@pytest.mark.parametrize(
    ("stage", "path", "link"),
    [
        ("difference", "data/difference", "difference images"),
        ("subframes", "data/subframes", "subframes"),
        ("evaluate", "reports/evaluate/metrics.json", "evaluation"),
    ],
)
def test_forged_output_committed_to_dvc(lab, stage, path, link):
    if path.startswith("data"):
        file = next((lab.root / path).rglob("*.fits" if stage == "difference" else "*.npz"))
        flip_bit(lab, str(file.relative_to(lab.root)))
    else:
        lab.edit(path, lambda text: re.sub(r'"value": [0-9.]+', '"value": 0.999', text, count=1))
    lab.dvc("commit", "--force", stage)
    assert_mismatch(lab.audit(), link, f"is not what stage '{stage}' made: it was committed to DVC by hand")


def test_labels_added_after_training_are_not_listed(lab):
    row = f"{find_exposure(lab)['rootname']},512.0,300.0,12.0,blob,Ada,2026-11-24\n"
    lab.edit("data/subframes/labels.csv", lambda text: text + row)
    for committed in (False, True):
        if committed:
            lab.dvc("commit", "--force", "subframes")
        found = lab.audit()
        assert list(failed_notes(found)) == ["subframes"]
        assert (found["labels"], found["labels_note"]) == ([], "data/subframes/labels.csv in DVC's cache")


@pytest.mark.parametrize(
    ("stage", "link"),
    [
        ("train", "dvc.lock"),
        ("evaluate", "evaluation"),
        ("subframes", "subframes"),
        ("difference", "difference images"),
        ("simulate", "raw exposures"),
    ],
)
def test_removed_stage_fingerprint(lab, stage, link):
    """Report that the stage's outputs cannot be checked without this file."""
    path = f"reports/{stage}/fingerprint.json"
    (lab.root / path).unlink()
    with editing_lock(lab) as stages:
        stages[stage]["outs"] = [out for out in stages[stage]["outs"] if out["path"] != path]
    lab.commit()
    found = lab.audit()
    assert found["verdict"] != "ok"
    assert path in failed_notes(found)[link]


def test_stages_removed_from_lock(lab):
    """Check that the chain must reach the raw exposures."""
    with editing_lock(lab) as stages:
        for stage in ("simulate", "difference", "subframes"):
            del stages[stage]
    shutil.rmtree(lab.root / ".git")  # removes the older locks
    lab.git("init", "--quiet", "--initial-branch=main")
    lab.commit()
    found = lab.audit()
    assert found["verdict"] != "ok"
    assert {"difference images", "raw exposures"} <= failed_notes(found).keys()


def test_forged_candidate_promoted(old_lab):
    """Change the threshold, run ``dvc commit`` and promote with --force."""
    lab = old_lab
    lab.edit(
        "models/candidate/manifest.json",
        lambda text: re.sub(r'"threshold": [0-9.]+', '"threshold": 0.25', text),
    )
    lab.dvc("commit", "--force", "train")
    lab.blobwatch("register", "models/candidate", "reports/evaluate", "reports/register")
    lab.blobwatch("promote", "3", "--reason", "trust me", "--force")
    lab.commit()
    assert_mismatch(lab.audit("3"), "dvc.lock", "models/candidate is not what stage 'train' made")


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "manifest.json"])
def test_altered_file_of_deployed_model(lab, name):
    flip_bit(lab, f"models/champion/{name}")
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert failed_notes(found)["model files"] == f"models/champion: {name} differs from the promoted version"


def test_altered_file_in_registry(lab):
    (path,) = (lab.root / "mlartifacts").rglob("model.onnx")
    flip_bit(lab, str(path.relative_to(lab.root)))
    found = lab.audit()
    assert list(failed_notes(found)) == ["registry"]
    assert_mismatch(found, "registry", "model.onnx")
    assert_mismatch(found, "registry", "was changed after registration")


def edit_store(lab: SmallProject, change) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{lab.root / 'mlflow.db'}"
    change(MlflowClient(tracking_uri=uri, registry_uri=uri))


def test_alias_moved_by_hand(old_lab):
    lab = old_lab
    edit_store(lab, lambda client: client.set_registered_model_alias("blobwatch", "champion", "2"))
    found = lab.audit("1")
    assert found["verdict"] == "mismatch"
    assert "moved by hand" in failed_notes(found)["alias"]
    link = links_by_name(found)["alias"]
    assert (link["expected"], link["found"]) == ("1", "2")
    lab.blobwatch("sync")
    assert "alias" not in failed_notes(lab.audit("1"))


def test_deleted_run(lab):
    run_id = json.loads((lab.root / "models/promotions.jsonl").read_text())["run_id"]
    edit_store(lab, lambda client: client.delete_run(run_id))
    found = lab.audit()
    assert found["verdict"] == "incomplete"
    note = f"it was deleted; restore it with `mlflow runs restore --run-id {run_id}`"
    assert failed_notes(found) == {"run": note}
    with sqlite3.connect(lab.root / "mlflow.db") as database:
        database.execute("DELETE FROM runs WHERE run_uuid = ?", (run_id,))
    database.close()
    assert "deleted permanently" in failed_notes(lab.audit())["run"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda lines: [lines[0].replace("initial version", "the best of all"), *lines[1:]],
            "line 2 does not continue",
        ),
        (lambda lines: lines[1:], "line 1 does not continue"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "line 1 does not continue"),
        (lambda lines: [*lines[:-1], lines[-1].replace("it was not", "it was")], "line 3 was changed"),
        (lambda lines: lines[:-1], "line 3 was changed, removed"),
    ],
)
def test_log_line_changed_removed_or_moved(old_lab, change, message):
    lab = old_lab
    log = lab.root / "models/promotions.jsonl"
    log.write_text("".join(f"{line}\n" for line in change(log.read_text().splitlines())))
    assert_mismatch(lab.audit(), "promotions log", message)


def test_last_log_line_changed_before_commit(lab):
    """Detect the change by the hash in the champion's folder."""
    log = lab.root / "models/promotions.jsonl"
    lab.git("rm", "--quiet", "--cached", "models/promotions.jsonl")
    lab.git("commit", "--quiet", "--amend", "--message", "a history without the log")
    log.write_text(log.read_text().replace("initial version", "the best of all"))
    found = lab.audit()
    assert "was not deployed by the last line (1)" in failed_notes(found)["promotions log"]


def test_two_versions_and_rollback_are_ok(seasoned):
    """Find the files of version 1 in DVC's cache and git; the working tree has version 2."""
    for version in ("champion", "1", "2"):
        assert failed_notes(seasoned.audit(version)) == {}


def test_fresh_clone_is_incomplete_until_pull_and_sync(lab, tmp_path):
    lab.dvc("remote", "add", "--default", "shared", str(tmp_path / "remote"))
    lab.commit()
    lab.dvc("push")
    lab.git("clone", "--quiet", str(lab.root), str(tmp_path / "clone"))
    clone = SmallProject(tmp_path / "clone")
    found = clone.audit()
    assert found["verdict"] == "incomplete"
    missing = {"registry", "alias", "run", "subframes", "difference images", "raw exposures"}
    assert set(failed_notes(found)) == missing
    assert {row["status"] for row in found["exposures"]} == {"missing"}
    assert found["labels"] == []
    assert found["labels_note"].startswith("data/labels/labels.csv of commit ")
    assert [row["md5"] for row in found["exposures"]] == [row["md5"] for row in lab.audit()["exposures"]]
    clone.dvc("pull")
    clone.blobwatch("sync")
    assert clone.audit()["verdict"] == "ok"
    shutil.rmtree(clone.root / "data/raw")  # also in the cache
    assert clone.audit()["verdict"] == "ok"


def test_versions_of_exposure(lab):
    row = find_exposure(lab, "test")
    found = json.loads(lab.blobwatch("audit", "--exposure", row["rootname"].upper(), "--json").stdout)
    about = {"version": 1, "state": "champion", "deployed": True, "role": "test", "md5": row["md5"]}
    assert (found["deployed"], found["versions"], found["unknown"]) == (True, [about], [])
    unused = json.loads(lab.blobwatch("audit", "--exposure", "izzz9999q", "--json").stdout)
    assert (unused["deployed"], unused["versions"], unused["unknown"]) == (False, [], [])
    assert ": used by the deployed version" in lab.blobwatch("audit", "--exposure", row["rootname"]).stdout


def test_versions_of_exposure_are_unknown_without_manifest(lab):
    for path in (lab.root / "models/champion", lab.root / "models/candidate", lab.root / "mlartifacts"):
        shutil.rmtree(path)
    shutil.rmtree(lab.root / ".dvc/cache")
    shutil.rmtree(lab.root / ".git")
    for command in (("models",), ("audit",), ("audit", "--exposure", "izzz0000q")):
        assert "no git commit found" in lab.blobwatch(*command, status=None).stderr
    lab.git("init", "--quiet", "--initial-branch=main")
    lab.commit()
    found = json.loads(lab.blobwatch("audit", "--exposure", "izzz0000q", "--json").stdout)
    assert (found["deployed"], found["versions"], found["unknown"]) == (None, [], [1])
    printed = lab.blobwatch("audit", "--exposure", "izzz0000q").stdout
    assert "unknown whether the deployed version used it" in printed


def test_invalid_version_has_exit_code_2(lab):
    for name in ("9", "two", "\u00b2"):
        assert "blobwatch: " in lab.blobwatch("audit", name, status=2).stderr


def test_run_without_evaluation(old_lab):
    """Audit an unchanged champion next to a candidate that has not been evaluated."""
    lab = old_lab
    lab.params(train={"learning_rate": 0.003})
    lab.dvc("repro", "train")
    assert failed_notes(lab.audit("2")) == {}
    assert failed_notes(lab.audit("1")) == {}


@pytest.mark.parametrize(
    ("change", "link"),
    [
        (lambda content: content | {"version": 99}, "model files"),
        (lambda content: content | {"run_id": "deadbeef"}, "model files"),
        (lambda content: content | {"promotion": ""}, "model files"),
        (None, "model files"),
    ],
)
def test_altered_or_missing_deployed_json(lab, change, link):
    path = lab.root / "models/champion/deployed.json"
    if change:
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    else:
        path.unlink()
    found = lab.audit()
    assert found["verdict"] == ("mismatch" if change else "incomplete")
    assert "deployed.json" in failed_notes(found)[link]


def test_log_removed_and_restarted(lab):
    """Detect the earlier log in the git history."""
    log = (lab.root / "models/promotions.jsonl").read_text()
    lab.git("rm", "--quiet", "models/promotions.jsonl")
    lab.commit()
    (lab.root / "models/promotions.jsonl").write_text(log)
    lab.commit()
    assert_mismatch(lab.audit(), "promotions log", "an earlier log was removed, and the log was restarted")


def test_forged_report_fails_gate(old_lab):
    lab = old_lab
    lab.edit(
        "reports/evaluate/metrics.json",
        lambda text: re.sub(r'"value": [0-9.]+', '"value": 0.999', text, count=1),
    )
    lab.dvc("commit", "--force", "evaluate")
    error = lab.blobwatch("promote", "2", "--reason", "so good", status=1).stderr
    assert "is not what stage 'evaluate' made: it was committed to DVC by hand" in error


def test_unfinished_promotion_does_not_block_audit(lab):
    """Audit with an unreachable server and a partly prepared promotion."""
    (lab.root / "models/.promotion/next").mkdir(parents=True)
    (lab.root / "models/.promotion/next/model.onnx").write_text("half")
    done = lab.blobwatch("audit", "--json", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert json.loads(done.stdout)["verdict"] == "incomplete"
    assert "does not answer" in done.stderr
    assert lab.audit()["verdict"] == "ok"  # the local store allows recovery
    assert not (lab.root / "models/.promotion").exists()


def test_audit_does_not_import_mlflow_or_dvc(small):
    """Check that the heavy libraries are not imported."""
    code = "import sys; from pathlib import Path; from blobwatch.lineage.audit.run import audit; "
    code += "audit(Path('.')); print({'mlflow', 'dvc', 'torch', 'sklearn'} & set(sys.modules))"
    done = small.call("python", "-c", code)
    assert done.stdout.strip() == "set()"
