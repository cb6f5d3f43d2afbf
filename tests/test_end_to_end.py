"""The whole pipeline with small settings: outputs, registration and prediction."""

import json

import pytest
import yaml
from synthetic import parse_json_lines

pytestmark = pytest.mark.slow
STATE = {"committed", "up_to_date", "fingerprint", "files", "agreement"}


def read(small, path: str):
    return json.loads((small.root / path).read_text())


def test_every_output_exists(small):
    for name, entry in yaml.safe_load((small.root / "dvc.yaml").read_text())["stages"].items():
        for kind in ("outs", "metrics", "plots"):
            for out in entry.get(kind, []):
                path = small.root / (next(iter(out)) if isinstance(out, dict) else out)
                assert path.exists(), (name, path)
                assert not path.is_dir() or any(path.iterdir()), (name, path)
    assert not list(small.root.rglob(".*.partial-*"))


def test_git_status_is_clean(small):
    loose = small.git("status", "--porcelain", "--untracked-files=all").split("\n")
    assert loose == ["?? repro.txt"]


def test_dvc_stages_are_up_to_date(small):
    listed = small.dvc("stage", "list", "--name-only").stdout.split()
    assert listed == [
        "simulate",
        "difference",
        "subframes",
        "train",
        "baseline",
        "evaluate",
        "reference",
        "register",
    ]
    small.dvc("status", "--quiet")


def test_register_prints_failed_checks(small):
    decision, said = read(small, "reports/register/decision.json"), (small.root / "repro.txt").read_text()
    assert decision["verdict"] == "refused"
    failed = [check for check in decision["checks"] if not check["passed"]]
    assert failed
    assert not STATE & {
        check["name"] for check in failed
    }  # checks of the project state pass in a running pipeline
    for check in failed:
        assert check["sentence"] in decision["reasons"]
        assert f"register: FAILED: {check['sentence']}" in said
    assert 'To promote it anyway: blobwatch promote 1 --reason "..." --force' in said
    assert not read(small, "reports/register/gate.json")["passed"]


def test_promotion_log_contains_forced_checks(small):
    decision = read(small, "reports/register/decision.json")
    (line,) = (small.root / "models/promotions.jsonl").read_text().splitlines()
    assert json.loads(line)["forced"] == decision["reasons"]
    assert json.loads(line)["reason"] == "initial version"


def test_second_registration_changes_nothing(lab):
    gate = (lab.root / "reports/register/gate.json").read_bytes()
    lab.blobwatch("register", "models/candidate", "reports/evaluate", "reports/register")
    assert (lab.root / "reports/register/gate.json").read_bytes() == gate
    decision = read(lab, "reports/register/decision.json")
    assert (decision["version"], decision["verdict"]) == (1, "unchanged")
    assert lab.git("status", "--porcelain", "--", "models", "reports") == ""


def test_candidate_predicts_difference_image_and_exposure(small):
    product = sorted((small.root / "data/difference").glob("*.fits"))[-1]
    exposure = small.root / "data/raw/simulated" / product.name.replace("_diff", "_flt")
    files = [str(path.relative_to(small.root)) for path in (product, exposure)]
    for model in ("models/candidate", "champion"):
        done = small.blobwatch(
            "predict", *files, "--model", model, "--json", "--history", "data/raw/simulated"
        )
        of_product, of_exposure = parse_json_lines(done.stdout)
        assert of_product["rootname"] == of_exposure["rootname"]
        assert [of_product["image"], of_exposure["image"]] == files
        assert len(of_product["subframes"]) == 16
