"""The model that a command line names."""

from blobwatch.cli.models import find_model_or_version
from blobwatch.lineage.tracking import registry


def test_number_is_a_registered_version_unless_it_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "fetch_version", lambda number: tmp_path / "fetched" / str(number))
    assert find_model_or_version("7") == tmp_path / "fetched" / "7"
    (tmp_path / "7").mkdir()
    assert find_model_or_version("7").resolve() == tmp_path / "7"
