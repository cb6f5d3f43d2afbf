import pytest
from lineage.project import make_project

from blobwatch.lineage import git


@pytest.fixture
def made(tmp_path):
    return make_project(tmp_path / "project")


def test_main_checkout_of_worktree(made, tmp_path):
    made.git("worktree", "add", "--quiet", str(tmp_path / "side"), "-b", "side")
    assert git.main_checkout(made.root) == made.root
    assert git.main_checkout(tmp_path / "side") == made.root
    assert git.branch(tmp_path / "side") == "side"
    assert git.is_side_checkout(tmp_path / "side")
    assert not git.is_side_checkout(made.root)


def test_main_checkout_of_queued_experiment(made, tmp_path):
    made.git("worktree", "add", "--quiet", str(tmp_path / "side"), "-b", "side")
    folder = tmp_path / "side/.dvc/tmp/exps/tmpabc"
    made.git("clone", "--quiet", str(made.root), str(folder))
    assert git.main_checkout(folder) == made.root
    assert git.experiment_home(folder) == tmp_path / "side"
    assert git.experiment_home(made.root) is None


def test_main_checkout_of_project_in_subfolder(made):
    (made.root / "part").mkdir()
    assert git.main_checkout(made.root / "part") == made.root / "part"


def test_folder_without_repository(tmp_path):
    assert git.main_checkout(tmp_path) == tmp_path
    assert git.commit(tmp_path) == ""
    assert git.uncommitted(tmp_path) == list(git.INPUTS)


def test_uncommitted_lists_inputs_only(made):
    (made.root / "README.md").write_text("words")
    assert git.uncommitted(made.root) == []
    (made.root / "src/pkg/new.py").write_text("")
    (made.root / "params.yaml").write_text("seed: 1\n")
    (made.root / ".gitignore").write_text("/data/subframes\n")
    (made.root / "data/labels").mkdir()
    (made.root / "data/labels/labels.csv").write_text("what people saw\n")
    changed = ["data/labels/labels.csv", "params.yaml", "src/pkg/new.py"]
    assert git.uncommitted(made.root) == changed
    made.commit()
    assert git.uncommitted(made.root) == []
