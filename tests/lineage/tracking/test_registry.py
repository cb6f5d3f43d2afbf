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


def registered(project, store, at_least=1):
    run_id, _ = record_evaluation(project.root, project.candidate, project.reports)
    return registry.register(store, Model.load(project.candidate), run_id, "abc", at_least)


def test_a_version_carries_its_lineage(project, store):
    version, model = registered(project, store), Model.load(project.candidate)
    assert int(version.version) == 1
    tags = registry.get_version(store, 1).tags
    assert tags["fingerprint"] == fingerprint_of(model).sha256
    assert tags["commit"] == "abc"
    assert tags["data.data/subframes"] == model.manifest["data"]["data/subframes"]
    assert {name: tags[f"sha256.{name}"] for name in model.files} == model.files


def test_the_same_model_is_found_and_another_gets_the_next_number(project, store):
    assert int(registered(project, store).version) == 1
    assert int(registered(project, store).version) == 1
    project.train("two")
    assert int(registered(project, store).version) == 2
    assert len(registry.versions(store)) == 2


def test_a_fresh_registry_goes_on_where_the_log_stands(project, store):
    assert int(registered(project, store, at_least=5).version) == 5
    project.train("two")
    assert int(registered(project, store).version) == 6
    assert [int(one.version) for one in registry.versions(store)] == [5, 6]


def test_fetch_gives_the_same_bytes(project, store, tmp_path):
    fetched = registry.fetch(store, registered(project, store), tmp_path)
    assert fetched.files == Model.load(project.candidate).files


def test_an_altered_artifact_is_refused(project, store, tmp_path):
    version = registered(project, store)
    for path in (project.root / "mlartifacts").rglob("model.onnx"):
        path.write_text("evil")
    with pytest.raises(BlobwatchError, match=r"version 1 cannot be read.*sha256 differs"):
        registry.fetch(store, version, tmp_path)


def test_a_swapped_artifact_is_refused_though_its_manifest_agrees(project, store, tmp_path):
    version = registered(project, store)
    project.train("two")
    for path in (project.root / "mlartifacts").rglob("models/*/*"):
        path.write_bytes((project.candidate / path.name).read_bytes())
    with pytest.raises(BlobwatchError, match="differs from the registered"):
        registry.fetch(store, version, tmp_path)


def test_lost_artifacts_are_named(project, store, tmp_path):
    version = registered(project, store)
    for path in (project.root / "mlartifacts").rglob("models/*/*"):
        path.unlink()
    with pytest.raises(BlobwatchError, match="version 1 cannot be read"):
        registry.fetch(store, version, tmp_path)


def test_fetch_version_gives_a_folder_that_can_be_loaded(project, store):
    version = registered(project, store)
    folder = registry.fetch_version(1, project.root)
    model = Model.load(folder)
    assert (model.version, model.run_id) == (1, version.run_id)
    (folder / "model.onnx").write_text("evil")
    with pytest.raises(BlobwatchError, match="sha256 differs"):
        Model.load(registry.fetch_version(1, project.root))


def test_an_unknown_version_is_said_with_those_that_are_known(project, store):
    with pytest.raises(BlobwatchError, match=r"version 3 not found. Known versions: none"):
        registry.get_version(store, 3)
    registered(project, store)
    with pytest.raises(BlobwatchError, match=r"version 3 not found. Known versions: 1"):
        registry.get_version(store, 3)


def test_aliases(project, store):
    assert registry.get_alias(store, "champion") is None
    registered(project, store)
    registry.set_alias(store, "champion", 1)
    assert registry.get_alias(store, "champion") == 1
