"""``blobwatch import-blobs``: a predecessor's file in, templates out, or a sentence."""

import sys

import numpy as np
import pytest

from blobwatch.cli import main
from blobwatch.files import file_hash
from blobwatch.instrument.blobs import Blob, shape
from blobwatch.instrument.templates import FILE, read_templates


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the program in an empty folder; return exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["blobwatch", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


def save_cutouts(path, seed: int = 0) -> None:
    """Write a ``blob_dict.npy`` of three cutouts, one of which holds only noise."""
    rng = np.random.default_rng(seed)
    cutouts = {}
    for name, half_width in (("1", 4.0), ("2", 6.5)):
        stamp, _, _ = shape(Blob(50.0, 50.0, half_width, 1.0))
        cutouts[name] = np.clip(2.5 * stamp + rng.standard_normal(stamp.shape), -3, 3)
    cutouts["27"] = rng.standard_normal((15, 15))
    np.save(path, cutouts)


def test_templates_are_made_and_what_is_left_out_is_said(run, tmp_path):
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


class Touch:
    """What a pickle would run."""

    def __reduce__(self):
        return (open, ("canary", "w"))


def test_a_hostile_file_is_one_sentence_and_leaves_what_was_there(run, tmp_path):
    save_cutouts(tmp_path / "blob_dict.npy")
    run("import-blobs", "blob_dict.npy")
    before = (tmp_path / "data" / "templates" / FILE).read_bytes()
    np.save("hostile.npy", {"1": np.ones((9, 9)), "2": Touch()})
    status, out, err = run("import-blobs", "hostile.npy")
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("blobwatch: hostile.npy: not a plain dict of cutouts: it contains the name io.open")
    assert not (tmp_path / "canary").exists()
    assert (tmp_path / "data" / "templates" / FILE).read_bytes() == before


@pytest.mark.parametrize("cutout", [np.ones((9, 11)), np.zeros((15, 15)), np.full((9, 9), np.nan)])
def test_cutouts_that_are_none(run, cutout):
    np.save("blob_dict.npy", {"1": cutout})
    status, _, err = run("import-blobs", "blob_dict.npy")
    assert status == 1
    assert len(err.splitlines()) == 1
    assert "cutout" in err
