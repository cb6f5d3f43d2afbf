"""``blobwatch import-blobs``: templates from a file of the predecessor."""

import numpy as np
import pytest

from blobwatch.files import file_hash
from blobwatch.instrument.blobs import Blob
from blobwatch.instrument.templates import FILE, read_templates


@pytest.fixture(autouse=True)
def empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save_cutouts(path, seed: int = 0) -> None:
    """Write a ``blob_dict.npy`` of three cutouts; the last one contains only noise."""
    rng = np.random.default_rng(seed)
    cutouts = {}
    for name, half_width in (("1", 4.0), ("2", 6.5)):
        stamp, _, _ = Blob(50.0, 50.0, half_width, 1.0).unit_shape()
        cutouts[name] = np.clip(2.5 * stamp + rng.standard_normal(stamp.shape), -3, 3)
    cutouts["27"] = rng.standard_normal((15, 15))
    np.save(path, cutouts)


def test_templates_are_written_and_noise_is_left_out(run, tmp_path):
    save_cutouts(tmp_path / "blob_dict.npy")
    status, out, err = run("import-blobs", "blob_dict.npy")
    assert (status, out) == (0, "")
    assert "skipped, no blob above the noise: 27" in err
    assert "2 templates in data/templates/blobs.fits, half-widths" in err
    read = read_templates(tmp_path / "data" / "templates")
    assert [one.name for one in read] == ["1", "2"]
    assert [one.half_width for one in read] == pytest.approx([4.0, 6.5], rel=0.15)
    content = (tmp_path / "data" / "templates" / FILE).read_bytes()
    assert file_hash("blob_dict.npy").encode() in content
    run("import-blobs", "blob_dict.npy", "--out", "elsewhere")
    assert (tmp_path / "elsewhere" / FILE).read_bytes() == content


class Exploit:
    """An object whose unpickling runs code."""

    def __reduce__(self):
        return (open, ("canary", "w"))


def test_hostile_pickle_is_an_error_and_changes_nothing(run, tmp_path):
    save_cutouts(tmp_path / "blob_dict.npy")
    run("import-blobs", "blob_dict.npy")
    before = (tmp_path / "data" / "templates" / FILE).read_bytes()
    np.save("hostile.npy", {"1": np.ones((9, 9)), "2": Exploit()})
    status, out, err = run("import-blobs", "hostile.npy")
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("blobwatch: hostile.npy: not a plain dict of cutouts: it contains the name io.open")
    assert not (tmp_path / "canary").exists()
    assert (tmp_path / "data" / "templates" / FILE).read_bytes() == before


@pytest.mark.parametrize("cutout", [np.ones((9, 11)), np.zeros((15, 15)), np.full((9, 9), np.nan)])
def test_invalid_cutout_is_an_error(run, cutout):
    np.save("blob_dict.npy", {"1": cutout})
    status, _, err = run("import-blobs", "blob_dict.npy")
    assert status == 1
    assert len(err.splitlines()) == 1
    assert "cutout" in err
