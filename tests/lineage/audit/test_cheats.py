"""Every way to cheat that an audit must find, each tried on a real pipeline, small."""

import json
import re
import shutil
import sqlite3

import pytest
import yaml
from small_project import SmallProject

pytestmark = pytest.mark.slow
LINKS = ["promotions log", "model files", "registry", "alias", "run", "fingerprint", "commit", "dvc.lock"]
LINKS += ["evaluation", "subframes", "difference images", "raw exposures"]


def links(found: dict) -> dict[str, dict]:
    return {link["link"]: link for link in found["links"]}


def broken(found: dict) -> dict[str, str]:
    """The links that are not ok, with their notes."""
    return {name: link["note"] for name, link in links(found).items() if link["status"] != "ok"}


def exposure(lab: SmallProject, role: str = "train") -> dict:
    manifest = json.loads((lab.root / "models/champion/manifest.json").read_text())
    return next(row for row in manifest["exposures"] if row["role"] == role)


def alter(lab: SmallProject, path: str) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray((lab.root / path).read_bytes())
    content[len(content) // 2] ^= 1
    (lab.root / path).write_bytes(content)


def test_an_honest_project_is_ok_down_to_each_exposure(small):
    found = small.audit()
    assert (found["version"], found["verdict"]) == (1, "ok")
    assert list(links(found)) == LINKS
    assert all(link["expected"] == link["found"] for link in found["links"])
    assert {row["role"] for row in found["exposures"]} == {"train", "val", "test"}
    assert {row["status"] for row in found["exposures"]} == {"ok"}
    keys = {"rootname", "path", "md5", "expstart", "filter", "role", "status"}
    assert all(keys <= row.keys() for row in found["exposures"])
    assert (found["labels"], found["labels_note"]) == ([], "data/subframes/labels.csv")
    assert small.audit("1") == found
    assert "labels: none; data/subframes/labels.csv\n" in small.blobwatch("audit").stdout


def test_an_altered_exposure(lab):
    row = exposure(lab)
    alter(lab, row["path"])
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert list(broken(found)) == ["raw exposures"]
    assert row["rootname"] in broken(found)["raw exposures"]
    bad = [one["rootname"] for one in found["exposures"] if one["status"] != "ok"]
    assert bad == [row["rootname"]]


def test_an_altered_exposure_that_dvc_was_told_of(lab):
    """The bytes that trained the champion are in the cache: the champion is what it was."""
    alter(lab, exposure(lab)["path"])
    lab.dvc("commit", "--force", "simulate")
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert "not what stage 'simulate' made" in broken(found)["raw exposures"]


def test_a_missing_exposure(lab):
    row = exposure(lab, "val")
    (lab.root / row["path"]).unlink()
    found = lab.audit()
    assert found["verdict"] == "incomplete"
    assert list(broken(found)) == ["raw exposures"]
    assert (
        f"missing in data/raw/simulated: {row['path'].rpartition('/')[2]}" in broken(found)["raw exposures"]
    )
    assert [one["status"] for one in found["exposures"] if one["rootname"] == row["rootname"]] == ["missing"]


@pytest.mark.parametrize(
    ("stage", "link", "named"),
    [
        ("train", "dvc.lock", "network.py"),
        ("subframes", "subframes", "dataset"),
        ("simulate", "raw exposures", "season"),
    ],
)
def test_code_edited_during_a_run_and_locked_to_an_output_that_it_did_not_make(lab, stage, link, named):
    """DVC hashes the code after the run: what it then writes is what ``dvc commit`` writes."""
    path = next(
        lab.root.glob(f"src/blobwatch/**/{named}.py" if "." not in named else f"src/**/{named}"), None
    )
    path = path or lab.root / "src/blobwatch/dataset/injection.py"
    path.write_text(path.read_text() + "\n# edited while the stage ran\n")
    lab.dvc("commit", "--force", stage)
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert link in broken(found)
    assert "src/blobwatch" in broken(found)[link]


def test_a_lock_edited_by_hand(lab):
    lock = yaml.safe_load((lab.root / "dvc.lock").read_text())
    lock["stages"]["difference"]["params"]["params.yaml"]["difference"]["days"] = 30.0
    (lab.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert "that ran on another difference" in broken(found)["difference images"]


def test_a_lock_edited_and_committed(lab):
    lock = yaml.safe_load((lab.root / "dvc.lock").read_text())
    lock["stages"]["train"]["params"]["params.yaml"]["train"]["epochs"] = 5
    (lab.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    lab.commit()
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert "different training inputs: train" in broken(found)["dvc.lock"]


@pytest.mark.parametrize(
    ("stage", "path", "link"),
    [
        ("difference", "data/difference", "difference images"),
        ("subframes", "data/subframes", "subframes"),
        ("evaluate", "reports/evaluate/metrics.json", "evaluation"),
    ],
)
def test_an_output_forged_and_committed_to_dvc(lab, stage, path, link):
    if path.startswith("data"):
        file = next((lab.root / path).rglob("*.fits" if stage == "difference" else "*.npz"))
        alter(lab, str(file.relative_to(lab.root)))
    else:
        lab.edit(path, lambda text: re.sub(r'"value": [0-9.]+', '"value": 0.999', text, count=1))
    lab.dvc("commit", "--force", stage)
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert f"is not what stage '{stage}' made: it was committed to DVC by hand" in broken(found)[link]


def test_labels_slipped_in_afterwards_did_not_train_it(lab):
    row = f"{exposure(lab)['rootname']},512.0,300.0,12.0,blob,Ada,2026-11-24\n"
    lab.edit("data/subframes/labels.csv", lambda text: text + row)
    for told in (False, True):
        if told:
            lab.dvc("commit", "--force", "subframes")
        found = lab.audit()
        assert list(broken(found)) == ["subframes"]
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
def test_what_a_stage_left_and_someone_removed(lab, stage, link):
    """Without it nobody knows what the stage made, so the link is not ok."""
    path = f"reports/{stage}/fingerprint.json"
    (lab.root / path).unlink()
    lock = yaml.safe_load((lab.root / "dvc.lock").read_text())
    outs = lock["stages"][stage]["outs"]
    lock["stages"][stage]["outs"] = [out for out in outs if out["path"] != path]
    (lab.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    lab.commit()
    found = lab.audit()
    assert found["verdict"] != "ok"
    assert path in broken(found)[link]


def test_a_stage_cut_out_of_the_lock(lab):
    """The chain must not end earlier than at the raw exposures."""
    lock = yaml.safe_load((lab.root / "dvc.lock").read_text())
    for stage in ("simulate", "difference", "subframes"):
        del lock["stages"][stage]
    (lab.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    shutil.rmtree(lab.root / ".git")  # and with it the locks of the history
    lab.git("init", "--quiet", "--initial-branch=main")
    lab.commit()
    found = lab.audit()
    assert found["verdict"] != "ok"
    assert {"difference images", "raw exposures"} <= broken(found).keys()


def test_a_candidate_forged_and_promoted(old_lab):
    """Another threshold, a manifest that agrees with itself, ``dvc commit``, and promoted past the gates."""
    lab = old_lab
    lab.edit(
        "models/candidate/manifest.json",
        lambda text: re.sub(r'"threshold": [0-9.]+', '"threshold": 0.25', text),
    )
    lab.dvc("commit", "--force", "train")
    lab.blobwatch("register", "models/candidate", "reports/evaluate", "reports/register")
    lab.blobwatch("promote", "3", "--reason", "trust me", "--force")
    lab.commit()
    found = lab.audit("3")
    assert found["verdict"] == "mismatch"
    assert "models/candidate is not what stage 'train' made" in broken(found)["dvc.lock"]


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "manifest.json"])
def test_a_swapped_file_of_the_deployed_model(lab, name):
    alter(lab, f"models/champion/{name}")
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert broken(found)["model files"] == f"models/champion: {name} differs from the promoted version"


def test_a_swapped_file_in_the_registry(lab):
    (path,) = (lab.root / "mlartifacts").rglob("models/*/model.onnx")
    alter(lab, str(path.relative_to(lab.root)))
    found = lab.audit()
    assert list(broken(found)) == ["registry"]
    assert "model.onnx" in broken(found)["registry"]
    assert "was changed after registration" in broken(found)["registry"]
    assert found["verdict"] == "mismatch"


def in_store(lab: SmallProject, change) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{lab.root / 'mlflow.db'}"
    change(MlflowClient(tracking_uri=uri, registry_uri=uri))


def test_an_alias_moved_by_hand(old_lab):
    lab = old_lab
    in_store(lab, lambda client: client.set_registered_model_alias("blobwatch", "champion", "2"))
    found = lab.audit("1")
    assert found["verdict"] == "mismatch"
    assert "moved by hand" in broken(found)["alias"]
    assert (links(found)["alias"]["expected"], links(found)["alias"]["found"]) == ("1", "2")
    lab.blobwatch("sync")
    assert "alias" not in broken(lab.audit("1"))


def test_a_deleted_run(lab):
    run_id = json.loads((lab.root / "models/promotions.jsonl").read_text())["run_id"]
    in_store(lab, lambda client: client.delete_run(run_id))
    found = lab.audit()
    assert found["verdict"] == "incomplete"
    assert broken(found) == {
        "run": f"it was deleted; restore it with `mlflow runs restore --run-id {run_id}`"
    }
    with sqlite3.connect(lab.root / "mlflow.db") as database:
        database.execute("DELETE FROM runs WHERE run_uuid = ?", (run_id,))
    database.close()
    assert "deleted permanently" in broken(lab.audit())["run"]


@pytest.mark.parametrize(
    ("change", "said"),
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
def test_a_line_of_the_log_changed_removed_or_put_elsewhere(old_lab, change, said):
    lab = old_lab
    log = lab.root / "models/promotions.jsonl"
    log.write_text("".join(f"{line}\n" for line in change(log.read_text().splitlines())))
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert said in broken(found)["promotions log"]


def test_the_last_line_changed_before_it_was_committed(lab):
    """Nothing follows it and git does not know it: what is deployed names it."""
    log = lab.root / "models/promotions.jsonl"
    lab.git("rm", "--quiet", "--cached", "models/promotions.jsonl")
    lab.git("commit", "--quiet", "--amend", "--message", "a history without the log")
    log.write_text(log.read_text().replace("initial version", "the best of all"))
    found = lab.audit()
    assert "was not deployed by the last line (1)" in broken(found)["promotions log"]


def test_two_versions_and_a_rollback_are_ok_each_with_its_own_data(seasoned):
    """What lies here made the second; the first one's files are in DVC's cache and in git."""
    for version in ("champion", "1", "2"):
        assert broken(seasoned.audit(version)) == {}


def test_a_fresh_clone_audits_as_far_as_it_can_and_wholly_after_pull_and_sync(lab, tmp_path):
    lab.dvc("remote", "add", "--default", "shared", str(tmp_path / "remote"))
    lab.commit()
    lab.dvc("push")
    lab.git("clone", "--quiet", str(lab.root), str(tmp_path / "clone"))
    clone = SmallProject(tmp_path / "clone")
    found = clone.audit()
    assert found["verdict"] == "incomplete"
    missing = {"registry", "alias", "run", "subframes", "difference images", "raw exposures"}
    assert set(broken(found)) == missing
    assert {row["status"] for row in found["exposures"]} == {"missing"}
    assert found["labels"] == []
    assert found["labels_note"].startswith("data/labels/labels.csv of commit ")
    assert [row["md5"] for row in found["exposures"]] == [row["md5"] for row in lab.audit()["exposures"]]
    clone.dvc("pull")
    clone.blobwatch("sync")
    assert clone.audit()["verdict"] == "ok"
    shutil.rmtree(clone.root / "data/raw")  # the cache has it
    assert clone.audit()["verdict"] == "ok"


def test_which_versions_an_exposure_touched(lab):
    row = exposure(lab, "test")
    found = json.loads(lab.blobwatch("audit", "--exposure", row["rootname"].upper(), "--json").stdout)
    about = {"version": 1, "state": "champion", "deployed": True, "role": "test", "md5": row["md5"]}
    assert (found["deployed"], found["versions"], found["unknown"]) == (True, [about], [])
    nowhere = json.loads(lab.blobwatch("audit", "--exposure", "izzz9999q", "--json").stdout)
    assert (nowhere["deployed"], nowhere["versions"], nowhere["unknown"]) == (False, [], [])
    assert ": used by the deployed version" in lab.blobwatch("audit", "--exposure", row["rootname"]).stdout


def test_of_a_version_whose_manifest_is_lost_nobody_knows_which_exposures_it_had(lab):
    for path in (lab.root / "models/champion", lab.root / "models/candidate", lab.root / "mlartifacts"):
        shutil.rmtree(path)
    shutil.rmtree(lab.root / ".dvc/cache")
    shutil.rmtree(lab.root / ".git")
    for question in (("models",), ("audit",), ("audit", "--exposure", "izzz0000q")):
        assert "is under no git with a commit" in lab.blobwatch(*question, status=None).stderr
    lab.git("init", "--quiet", "--initial-branch=main")
    lab.commit()
    found = json.loads(lab.blobwatch("audit", "--exposure", "izzz0000q", "--json").stdout)
    assert (found["deployed"], found["versions"], found["unknown"]) == (None, [], [1])
    said = lab.blobwatch("audit", "--exposure", "izzz0000q").stdout
    assert "unknown whether the deployed version used it" in said


def test_what_is_wrong_with_the_question_is_no_mismatch(lab):
    for name in ("9", "two", "\u00b2"):
        assert "blobwatch: " in lab.blobwatch("audit", name, status=2).stderr


def test_a_run_that_went_as_far_as_the_training_only(old_lab):
    """The champion is untouched: what lies here is a candidate that was not evaluated yet."""
    lab = old_lab
    lab.params(train={"learning_rate": 0.003})
    lab.dvc("repro", "train")
    assert broken(lab.audit("2")) == {}
    assert broken(lab.audit("1")) == {}


@pytest.mark.parametrize(
    ("change", "link"),
    [
        (lambda known: known | {"version": 99}, "model files"),
        (lambda known: known | {"run_id": "deadbeef"}, "model files"),
        (lambda known: known | {"promotion": ""}, "model files"),
        (None, "model files"),
    ],
)
def test_what_the_champions_folder_says_of_itself(lab, change, link):
    path = lab.root / "models/champion/deployed.json"
    if change:
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    else:
        path.unlink()
    found = lab.audit()
    assert found["verdict"] == ("mismatch" if change else "incomplete")
    assert "deployed.json" in broken(found)[link]


def test_a_log_that_was_removed_and_begun_anew(lab):
    """Two commits that launder it: what git had before is not forgotten."""
    log = (lab.root / "models/promotions.jsonl").read_text()
    lab.git("rm", "--quiet", "models/promotions.jsonl")
    lab.commit()
    (lab.root / "models/promotions.jsonl").write_text(log)
    lab.commit()
    found = lab.audit()
    assert found["verdict"] == "mismatch"
    assert "an earlier log was removed, and the log was restarted" in broken(found)["promotions log"]


def test_a_forged_report_does_not_pass_the_gate(old_lab):
    lab = old_lab
    lab.edit(
        "reports/evaluate/metrics.json",
        lambda text: re.sub(r'"value": [0-9.]+', '"value": 0.999', text, count=1),
    )
    lab.dvc("commit", "--force", "evaluate")
    said = lab.blobwatch("promote", "2", "--reason", "so good", status=1).stderr
    assert "is not what stage 'evaluate' made: it was committed to DVC by hand" in said


def test_a_promotion_left_unfinished_keeps_nobody_from_the_audit(lab):
    """The server is away, and a part of what was made ready lies there."""
    (lab.root / "models/.promotion/next").mkdir(parents=True)
    (lab.root / "models/.promotion/next/model.onnx").write_text("half")
    done = lab.call(
        "python", "-m", "blobwatch.cli", "audit", "--json", MLFLOW_TRACKING_URI="http://127.0.0.1:9", status=0
    )
    assert json.loads(done.stdout)["verdict"] == "incomplete"
    assert "does not answer" in done.stderr
    assert lab.audit()["verdict"] == "ok"  # with its own store it is settled
    assert not (lab.root / "models/.promotion").exists()


def test_an_audit_needs_no_mlflow_and_no_dvc(small):
    """Offline and quick: the two are not even loaded."""
    code = "import sys; from pathlib import Path; from blobwatch.lineage.audit.run import audit; "
    code += "audit(Path('.')); print({'mlflow', 'dvc', 'torch', 'sklearn'} & set(sys.modules))"
    done = small.call("python", "-c", code)
    assert done.stdout.strip() == "set()"
