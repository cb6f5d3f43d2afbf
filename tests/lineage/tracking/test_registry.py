import pytest
from lineage.project import MLFLOW_WARNING

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage.origin import fingerprint_of
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.logging import record_evaluation
from blobwatch.lineage.tracking.store import open_store

pytestmark = pytest.mark.filterwarnings(MLFLOW_WARNING)


@pytest.fixture
def store(project):
    return open_store(project.root)


def register(project, store, at_least=1):
    run_id, _ = record_evaluation(project.root, project.candidate, project.reports)
    return registry.register(store, Model.load(project.candidate), run_id, "abc", at_least)


def test_version_tags_contain_lineage(project, store):
    version, model = register(project, store), Model.load(project.candidate)
    assert int(version.version) == 1
    tags = registry.get_version(store, 1).tags
    assert tags["fingerprint"] == fingerprint_of(model).sha256
    assert tags["commit"] == "abc"
    assert tags["data.data/subframes"] == model.manifest["data"]["data/subframes"]
    assert {name: tags[f"sha256.{name}"] for name in model.files} == model.files


def test_same_model_keeps_number_and_another_gets_next(project, store):
    assert int(register(project, store).version) == 1
    assert int(register(project, store).version) == 1
    project.train("two")
    assert int(register(project, store).version) == 2
    assert len(registry.versions(store)) == 2


def test_fresh_registry_continues_numbers_of_log(project, store):
    assert int(register(project, store, at_least=5).version) == 5
    project.train("two")
    assert int(register(project, store).version) == 6
    assert [int(one.version) for one in registry.versions(store)] == [5, 6]


def test_fetch_returns_same_files(project, store, tmp_path):
    fetched = registry.fetch(store, register(project, store), tmp_path)
    assert fetched.files == Model.load(project.candidate).files


def test_altered_artifact_is_rejected(project, store, tmp_path):
    version = register(project, store)
    for path in (project.root / "mlartifacts").rglob("model.onnx"):
        path.write_text("evil")
    with pytest.raises(BlobwatchError, match=r"version 1 cannot be read.*by its sha256"):
        registry.fetch(store, version, tmp_path)


def test_swapped_artifacts_are_rejected(project, store, tmp_path):
    version = register(project, store)
    project.train("two")
    for path in (project.root / "mlartifacts").rglob("m[oa][dn]*.*"):
        path.write_bytes((project.candidate / path.name).read_bytes())
    with pytest.raises(BlobwatchError, match="differs from the registered"):
        registry.fetch(store, version, tmp_path)


def test_lost_artifacts_are_reported(project, store, tmp_path):
    version = register(project, store)
    for path in (project.root / "mlartifacts").rglob("model.onnx"):
        path.unlink()
    with pytest.raises(BlobwatchError, match="version 1 cannot be read"):
        registry.fetch(store, version, tmp_path)


def test_fetch_version_returns_loadable_folder(project, store):
    version = register(project, store)
    folder = registry.fetch_version(1, project.root)
    model = Model.load(folder)
    assert (model.version, model.run_id) == (1, version.run_id)
    (folder / "model.onnx").write_text("evil")
    with pytest.raises(BlobwatchError, match="by its sha256"):
        Model.load(registry.fetch_version(1, project.root))


def test_unknown_version_lists_known_versions(project, store):
    with pytest.raises(BlobwatchError, match=r"version 3 not found. Known versions: none"):
        registry.get_version(store, 3)
    register(project, store)
    with pytest.raises(BlobwatchError, match=r"version 3 not found. Known versions: 1"):
        registry.get_version(store, 3)


def test_aliases(project, store):
    assert registry.get_alias(store, "champion") is None
    register(project, store)
    registry.set_alias(store, "champion", 1)
    assert registry.get_alias(store, "champion") == 1
