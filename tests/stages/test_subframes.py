"""Stage ``subframes``: shards, whole test frames, and an index that names their origin."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from made import NOISE, image_with

from blobwatch.dataset.shards import read_shard, read_split
from blobwatch.errors import BlobwatchError
from blobwatch.files import folder_hash, read_table
from blobwatch.instrument.blobs import Blob
from blobwatch.instrument.differences import write_difference
from blobwatch.lineage.fingerprint import EXPOSURES
from blobwatch.params import Split, Subframes
from blobwatch.stages.difference import COLUMNS
from blobwatch.stages.subframes import INDEX, share_out, subframes

SETTINGS = Subframes(
    train=Split(count=12, blobs=(4, 6), contaminated=0.5, wide=True),
    val=Split(count=8, blobs=(1, 3), contaminated=0.5, wide=False),
    test=Split(count=8, blobs=(2, 3), contaminated=0.5, wide=False),
    shares=(0.5, 0.25),
    snr=(5.0, 30.0),
)
NEW = Blob(x=700.0, y=200.0, half_width=6.0, depth=0.06)  # appears on day 17


@pytest.fixture(scope="module")
def season(tmp_path_factory) -> tuple[Path, Path]:
    """Twenty-four days with a difference image each, against the three days before; a table of the truth."""
    folder = tmp_path_factory.mktemp("season")
    differences, exposures = folder / "difference", folder / "raw"
    differences.mkdir()
    exposures.mkdir()
    lines = [",".join(COLUMNS)]
    for day in range(24):
        name, stack = f"i{day:02d}", [f"i{d:02d}" for d in range(max(0, day - 3), day)]
        path = ""
        if len(stack) == 3 and day in (3, 5, 9, 16, 21, 23):
            path = f"{name}_diff.fits"
            image = image_with([NEW] if 17 <= day < 19 or day == 21 else [], seed=day)
            median = 1.0 + image_with([], seed=100 + day, noise=0.003)
            header = fits.Header({"ROOTNAME": name})
            write_difference(differences / path, header, image, median, np.full_like(image, NOISE))
        about = f"{name},{58000 + day},F153M,11111,{name}_flt.fits,{day:032d}"
        lines.append(f"{about},{path},{' '.join(stack) if path else ''},")
    (differences / INDEX).write_text("\n".join(lines) + "\n")
    (exposures / "truth.csv").write_text(
        "kind,x,y,depth,appeared_mjd,half_width,axis_ratio,exponent,edge,hole\n"
        f"new,{NEW.x},{NEW.y},{NEW.depth},58020.5,{NEW.half_width},1.08,1.25,5.0,0.0\n"
    )
    return differences, exposures


@pytest.fixture(scope="module")
def made(season, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "subframes"
    subframes(*season, out, SETTINGS, seed=3, workers=1)
    return out


def rows_of(folder: Path) -> list[dict]:
    with (folder / INDEX).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_counts_are_those_of_params_and_shards_those_of_the_index(made):
    rows = rows_of(made)
    for split in ("train", "val", "test"):
        assert len(read_split(made, split)) == getattr(SETTINGS, split).count
    for row in rows:
        shard = read_shard(made / row["path"])
        assert int(row["subframes"]) == len(shard)
        assert int(row["positive"]) == shard.labels.sum()
        assert int(row["blobs"]) == len(shard.blobs)
        assert set(shard.rootnames) == {row["rootname"]}
        assert Path(row["path"]) == Path(row["split"]) / f"{row['rootname']}.npz"
    written = {p.relative_to(made).as_posix() for p in made.rglob("*.npz")}
    assert written == {row["path"] for row in rows}


def test_the_index_names_the_origin(made, season):
    for row in rows_of(made):
        source = season[0] / f"{row['rootname']}_diff.fits"
        assert row["difference_md5"] == hashlib.md5(source.read_bytes()).hexdigest()
        assert len(row["stack"].split()) == 3


def test_no_exposure_is_in_two_splits_not_even_inside_a_stack(made):
    known: dict[str, set] = {}
    for row in rows_of(made):
        split = "test" if row["split"] == "final" else row["split"]
        known.setdefault(split, set()).update([row["rootname"], *row["stack"].split()])
    assert len(known) == 3
    for one in known:
        for other in known:
            assert one == other or not known[one] & known[other]


def test_whole_test_frames_hold_the_seasons_own_blobs(made):
    final, test = read_split(made, "final"), read_split(made, "test")
    assert len(final) == 16 * len(set(test.rootnames))
    assert set(final.rootnames) == set(test.rootnames)
    blob = final.blobs[0]
    assert final.rootnames[blob["subframe"]] == "i21"
    assert (blob["frame_x"], blob["frame_y"], blob["injected"]) == (NEW.x, NEW.y, 0)


def test_both_labels_are_in_every_split(made):
    for split in ("train", "val", "test"):
        assert 0.3 < read_split(made, split).labels.mean() < 0.7


def test_only_train_has_wide_shapes_and_each_split_as_many_blobs_as_asked(made):
    for split, wide in (("train", True), ("val", False), ("test", False)):
        blobs = read_split(made, split).blobs
        injected = blobs[blobs["injected"] == 1]
        assert len(injected) >= 4
        beyond = (injected["collar"] > 0) | (injected["exponent"] > 1.84) | (injected["edge"] < 2)
        assert beyond.any() == wide
        most = np.bincount(injected["subframe"]).max()
        assert getattr(SETTINGS, split).blobs[0] <= most <= getattr(SETTINGS, split).blobs[1]


def test_the_project_measures_on_the_instruments_own_shapes(params):
    assert params.subframes.train.wide
    assert not params.subframes.val.wide
    assert not params.subframes.test.wide


@pytest.mark.parametrize("train", [2, 4, 6])
def test_few_subframes_hold_both_labels_too(season, tmp_path, train):
    """One subframe of each difference image: they must not all be of one label."""
    counts = {"train": train, "val": 2, "test": 2}
    few = {name: getattr(SETTINGS, name).model_copy(update={"count": n}) for name, n in counts.items()}
    few = SETTINGS.model_copy(update=few)
    subframes(*season, tmp_path / "out", few, seed=3, workers=1)
    assert read_split(tmp_path / "out", "train").labels.mean() == pytest.approx(0.5, abs=0.2)


def test_the_number_of_processes_changes_no_byte(made, season, tmp_path):
    subframes(*season, tmp_path / "again", SETTINGS, seed=3, workers=2)
    assert folder_hash(tmp_path / "again") == folder_hash(made)


def test_another_seed_gives_other_subframes(made, season, tmp_path):
    subframes(*season, tmp_path / "other", SETTINGS, seed=4, workers=1)
    assert folder_hash(tmp_path / "other") != folder_hash(made)


def test_shares_are_as_even_as_can_be():
    assert share_out(10, 4) == [3, 3, 2, 2]
    assert share_out(2, 3) == [1, 1, 0]


def test_a_split_without_exposures_leaves_what_was_there(season, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept.txt").write_text("old")
    lopsided = SETTINGS.model_copy(update={"shares": (0.98, 0.01)})
    with pytest.raises(BlobwatchError, match="inside the span of val"):
        subframes(*season, tmp_path / "out", lopsided, seed=3, workers=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept.txt"]


def test_every_exposure_behind_a_split_is_named_once_with_its_hash_and_its_role(made, season):
    rows = read_table(made / EXPOSURES)
    assert [row["rootname"] for row in rows] == sorted({row["rootname"] for row in rows})
    behind = {split: set() for split in ("train", "val", "test")}
    for row in rows_of(made):
        if row["split"] in behind:
            behind[row["split"]] |= {row["rootname"], *row["stack"].split()}
    for split, names in behind.items():
        assert {row["rootname"] for row in rows if row["role"] == split} == names
    assert "i10" not in {row["rootname"] for row in rows}  # in no difference image
    first = rows[0]
    assert first["path"] == (season[1] / "i00_flt.fits").as_posix()
    assert (first["md5"], first["expstart"]) == ("0" * 32, "58000")
    assert (first["filter"], first["programme"]) == ("F153M", "11111")
