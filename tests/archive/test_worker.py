"""The work of a scan worker on chunks of files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import image_with_blobs, write_exposure

from blobwatch.archive import worker
from blobwatch.archive.headers import read_headers, sort_by_time
from blobwatch.archive.worker import Chunk, ScanConfig, predict_chunk, predict_row, update_history
from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.history import History
from blobwatch.instrument.blobs import Blob
from blobwatch.instrument.exposure_files import find_exposures
from blobwatch.predict import Predictor
from blobwatch.settings import DifferenceSettings

LOUD = Blob(x=411.8, y=89.1, half_width=4.0, depth=0.04)


def load_config(model: Path) -> ScanConfig:
    return ScanConfig(Model.load(model), DifferenceSettings())


def test_predictions_with_one_thread_are_identical(box_model):
    image = image_with_blobs([LOUD])
    model = Model.load(box_model, threads=1)
    assert model.session.get_session_options().intra_op_num_threads == 1
    found, usual = Predictor(model)(image), Predictor.load(box_model)(image)
    assert np.array_equal(found.probabilities, usual.probabilities)
    assert found.blobs == usual.blobs != []


def test_changed_exposure_clears_the_image_cache(tmp_path, box_model):
    """Workers of a cluster outlive a scan."""
    for number in range(4):
        write_exposure(tmp_path, number, [LOUD] if number == 3 else [])
    config = load_config(box_model)

    def count_blobs() -> int:
        files = sort_by_time(read_headers(find_exposures(tmp_path)))
        return predict_row(config, files[3], "", update_history(config, tuple(files[:3])))["count"]

    assert count_blobs() == 1
    for number in range(3):
        write_exposure(tmp_path, number, [LOUD])  # now the stack contains the blob
    assert count_blobs() == 0


def test_damaged_exposure_does_not_affect_the_others(tmp_path, box_model):
    paths = [write_exposure(tmp_path, number, [LOUD] if number > 4 else []) for number in range(7)]
    content = paths[1].read_bytes()
    middle = len(content) // 4
    paths[1].write_bytes(content[:middle] + bytes(3000) + content[middle + 3000 :])  # headers are intact
    files = sort_by_time(read_headers(paths))
    rows = predict_chunk(Chunk(load_config(box_model), tuple((file, "") for file in files), tuple(files)))
    assert "damaged" in rows[1]["error"]
    assert "a stack needs 3; 1 more are rejected or unreadable (iaaa0101q)" in rows[3]["error"]
    intact = [one.listed for one in files if one.path != paths[1]]
    for number in (4, 5, 6):
        single = Predictor.load(box_model).predict_file(paths[number], history=History(intact)).as_json()
        assert rows[number]["blobs"] == single["blobs"]
    assert [row["count"] for row in rows[4:]] == [0, 1, 1]


def test_threads_of_a_worker_run_one_after_the_other(box_model, monkeypatch):
    """Otherwise a warning is assigned to the file of another thread."""
    locked = []
    monkeypatch.setattr(worker, "predict_row", lambda *_: locked.append(worker.LOCK.locked()) or {})
    predict_chunk(Chunk(load_config(box_model), ((None, ""), (None, "")), ()))
    assert locked == [True, True]


def test_worker_of_another_release_is_rejected(box_model):
    config = replace(load_config(box_model), release="0.0.1")
    with pytest.raises(BlobwatchError, match=r"this is 0\.0\.1\. Install the same release"):
        predict_chunk(Chunk(config, (), ()))
