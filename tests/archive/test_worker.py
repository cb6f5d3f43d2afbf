"""One thread in each worker, and the same answers."""

import numpy as np
from synthetic import image_with_blobs

from blobwatch.archive.worker import OneThread
from blobwatch.instrument.blobs import Blob
from blobwatch.predict import Predictor


def test_one_thread_gives_the_same_answers_bit_for_bit(box_model):
    image = image_with_blobs([Blob(x=411.8, y=89.1, half_width=4.0, depth=0.04)])
    model = OneThread.load(box_model)
    options = model.session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert not options.enable_cpu_mem_arena  # the other options are those of `Model`
    found, usual = Predictor(model)(image), Predictor.load(box_model)(image)
    assert np.array_equal(found.probabilities, usual.probabilities)
    assert found.blobs == usual.blobs != []


def test_a_scan_sends_such_a_model(box_model, tmp_path, monkeypatch):
    from blobwatch.archive.scan import scan

    (tmp_path / "d.fits").write_text("no FITS")
    sent = []

    def judged(judge, todo, *rest):
        sent.append(judge.model)
        raise KeyboardInterrupt

    monkeypatch.setattr("blobwatch.archive.scan.judged", judged)
    try:
        scan(tmp_path, tmp_path / "r.parquet", str(box_model))
    except KeyboardInterrupt:
        assert isinstance(sent[0], OneThread)
        assert "session" not in vars(sent[0])  # which could not travel
    assert sent
