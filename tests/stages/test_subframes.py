"""Stage ``subframes``: shards, whole test frames, index, labels and templates."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from synthetic import NOISE, image_with_blobs

from blobwatch.dataset.cutouts import create_template
from blobwatch.dataset.labels import LABELS, Label, read_labels, write_labels
from blobwatch.dataset.shards import read_shard, read_split
from blobwatch.dataset.subframes import FAINT
from blobwatch.errors import BlobwatchError
from blobwatch.files import folder_hash, folder_listing, read_table
from blobwatch.instrument.blobs import Blob
from blobwatch.instrument.differences import write_difference
from blobwatch.instrument.templates import read_templates, write_templates
from blobwatch.lineage.fingerprint import EXPOSURES
from blobwatch.params import Split, Subframes
from blobwatch.stages.difference import COLUMNS
from blobwatch.stages.subframes import INDEX, subframes

SETTINGS = Subframes(
    train=Split(count=12, blobs=(4, 6), snr=(5.0, 30.0), contaminated=0.5, wide=True),
    val=Split(count=8, blobs=(1, 3), snr=(5.0, 30.0), contaminated=0.5, wide=False),
    test=Split(count=8, blobs=(2, 3), snr=(5.0, 30.0), contaminated=0.5, wide=False),
    shares=(0.5, 0.25),
    labelled=0.5,
    templates=0.5,
)
NEW = Blob(x=700.0, y=200.0, half_width=6.0, depth=0.06)  # appears on day 17


@pytest.fixture(scope="module")
def season(tmp_path_factory) -> tuple[Path, Path, Path, Path]:
    """Return the folders of a season of 24 days with six difference images and a truth table."""
    folder = tmp_path_factory.mktemp("season")
    differences, exposures = folder / "difference", folder / "raw"
    differences.mkdir()
    exposures.mkdir()
    lines = [",".join(COLUMNS)]
    for day in range(24):
        name, stack = f"izzz000{day:02d}", [f"izzz000{d:02d}" for d in range(max(0, day - 3), day)]
        path = ""
        if len(stack) == 3 and day in (3, 5, 9, 16, 21, 23):
            path = f"{name}_diff.fits"
            image = image_with_blobs([NEW] if 17 <= day < 19 or day == 21 else [], seed=day)
            median = 1.0 + image_with_blobs([], seed=100 + day, noise=0.003)
            header = fits.Header({"ROOTNAME": name})
            write_difference(differences / path, header, image, median, np.full_like(image, NOISE))
        about = f"{name},{58000 + day},F153M,11111,{name}_flt.fits,{day:032d}"
        lines.append(f"{about},{path},{' '.join(stack) if path else ''},")
    (differences / INDEX).write_text("\n".join(lines) + "\n")
    (exposures / "truth.csv").write_text(
        "kind,x,y,depth,appeared_mjd,half_width,axis_ratio,exponent,edge,hole\n"
        f"new,{NEW.x},{NEW.y},{NEW.depth},58020.5,{NEW.half_width},1.08,1.25,5.0,0.0\n"
    )
    return differences, exposures, folder / "labels", folder / "templates"


@pytest.fixture(scope="module")
def made(season, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "subframes"
    subframes(*season, out, SETTINGS, seed=3, workers=1)
    return out


def test_counts_match_settings_and_index(made, season):
    rows = read_table(made / INDEX)
    for split in ("train", "val", "test"):
        assert len(read_split(made, split)) == getattr(SETTINGS, split).count
    for row in rows:
        shard = read_shard(made / row["path"])
        assert int(row["subframes"]) == len(shard)
        assert int(row["positive"]) == shard.labels.sum()
        assert int(row["blobs"]) == len(shard.blobs)
        assert set(shard.rootnames) == {row["rootname"]}
        assert Path(row["path"]) == Path(row["split"]) / f"{row['rootname']}.npz"
        source = season[0] / f"{row['rootname']}_diff.fits"
        assert row["difference_md5"] == hashlib.md5(source.read_bytes()).hexdigest()
        assert len(row["stack"].split()) == 3
    written = {p.relative_to(made).as_posix() for p in made.rglob("*.npz")}
    assert written == {row["path"] for row in rows}


def exposures_by_split(made) -> dict[str, set]:
    known: dict[str, set] = {}
    for row in read_table(made / INDEX):
        split = "test" if row["split"] == "final" else row["split"]
        known.setdefault(split, set()).update([row["rootname"], *row["stack"].split()])
    return known


def test_splits_share_no_exposure_also_within_stacks(made):
    known = exposures_by_split(made)
    assert len(known) == 3
    assert sum(map(len, known.values())) == len(set.union(*known.values()))


def test_whole_test_frames_contain_own_blobs(made):
    final, test = read_split(made, "final"), read_split(made, "test")
    assert len(final) == 16 * len(set(test.rootnames))
    assert set(final.rootnames) == set(test.rootnames)
    blob = final.blobs[0]
    assert final.rootnames[blob["subframe"]] == "izzz00021"
    assert (blob["frame_x"], blob["frame_y"], blob["injected"]) == (NEW.x, NEW.y, 0)


def test_only_train_has_wide_shapes(made):
    for split, wide in (("train", True), ("val", False), ("test", False)):
        data = read_split(made, split)
        assert 0.3 < data.labels.mean() < 0.7
        blobs = data.blobs
        injected = blobs[blobs["injected"] == 1]
        assert len(injected) >= 4
        beyond = (injected["collar"] > 0) | (injected["exponent"] > 1.84) | (injected["edge"] < 2)
        assert beyond.any() == wide
        most = np.bincount(injected["subframe"]).max()
        assert getattr(SETTINGS, split).blobs[0] <= most <= getattr(SETTINGS, split).blobs[1]


def test_project_evaluates_on_measured_shapes(params):
    assert [getattr(params.subframes, split).wide for split in ("train", "val", "test")] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("train", [2, 4, 6])
def test_few_subframes_have_both_labels(season, tmp_path, train):
    """Check that one subframe per difference image still gives both labels."""
    counts = {"train": train, "val": 2, "test": 2}
    few = {name: getattr(SETTINGS, name).model_copy(update={"count": n}) for name, n in counts.items()}
    subframes(*season, tmp_path / "out", SETTINGS.model_copy(update=few), seed=3, workers=1)
    assert read_split(tmp_path / "out", "train").labels.mean() == pytest.approx(0.5, abs=0.2)


def test_output_depends_on_seed_and_not_on_workers(made, season, tmp_path):
    subframes(*season, tmp_path / "again", SETTINGS, seed=3, workers=2)
    subframes(*season, tmp_path / "other", SETTINGS, seed=4, workers=1)
    assert folder_hash(tmp_path / "again") == folder_hash(made) != folder_hash(tmp_path / "other")


def test_empty_split_keeps_old_output(season, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept.txt").write_text("old")
    lopsided = SETTINGS.model_copy(update={"shares": (0.98, 0.01)})
    with pytest.raises(BlobwatchError, match="inside the span of val"):
        subframes(*season, tmp_path / "out", lopsided, seed=3, workers=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept.txt"]


def test_exposures_table_lists_each_exposure_once(made, season):
    rows = read_table(made / EXPOSURES)
    assert [row["rootname"] for row in rows] == sorted({row["rootname"] for row in rows})
    for split, names in exposures_by_split(made).items():
        assert {row["rootname"] for row in rows if row["role"] == split} == names
    assert "izzz00010" not in {row["rootname"] for row in rows}  # in no difference image
    expected = {"md5": "0" * 32, "expstart": "58000", "filter": "F153M", "programme": "11111"}
    expected["path"] = (season[1] / "izzz00000_flt.fits").as_posix()
    assert expected.items() <= rows[0].items()


def label(rootname, x, y, radius=9.0, what="blob") -> Label:
    return Label(rootname, x, y, radius, what, "Ann", "2016-02-03")


def labelled_season(season, tmp_path, *labels) -> Path:
    """Return the subframes of the season with labels; train has exposures 3, 5 and 9."""
    (tmp_path / "labels").mkdir()
    write_labels(tmp_path / "labels", list(labels))
    subframes(*season[:2], tmp_path / "labels", season[-1], tmp_path / "out", SETTINGS, seed=3, workers=1)
    return tmp_path / "out"


def test_labels_of_other_exposures_are_ignored(made, season, tmp_path):
    out = labelled_season(season, tmp_path, label("ich219i8q", 300.0, 400.0))
    without = {name: md5 for name, md5 in folder_listing(out).items() if name != LABELS}
    assert without == {name: md5 for name, md5 in folder_listing(made).items() if name != LABELS}
    assert read_labels(out) == []


def covering(shard, x: float, y: float) -> np.ndarray:
    """Return which subframes contain a position."""
    left, bottom = shard.subframes["x0"], shard.subframes["y0"]
    return (np.abs(left + 127.5 - x) < 128) & (np.abs(bottom + 127.5 - y) < 128)


def test_labelled_blob_is_ambiguous_before_its_exposure(season, tmp_path):
    """Use no truth table: exposure 21 shows the blob, 23 has it in its stack, 16 is ambiguous."""
    (tmp_path / "raw").mkdir()
    seen = label("izzz00021", NEW.x + 0.4, NEW.y - 0.3, 6.5)
    out = labelled_season((season[0], tmp_path / "raw", season[-1]), tmp_path, seen)
    assert read_labels(out) == [seen]
    test, val, final = (read_split(out, split) for split in ("test", "val", "final"))
    mine = covering(test, NEW.x, NEW.y)
    assert mine.any()
    assert set(test.rootnames[mine]) == {"izzz00021"}
    own = test.blobs[test.blobs["injected"] == 0]
    assert sorted(own["subframe"]) == np.flatnonzero(mine).tolist()
    assert np.allclose((own["frame_x"], own["frame_y"]), ([seen.x], [seen.y]))
    assert test.labels[mine].all()
    assert not covering(val, NEW.x, NEW.y).any()
    clear = final.blobs[final.blobs["snr"] >= FAINT]
    assert final.rootnames[clear["subframe"]].tolist() == ["izzz00021"]
    assert set(final.rootnames[final.labels == 1]) == {"izzz00021"}


def test_labelled_positions_are_cut_more_often(made, season, tmp_path):
    """Check that positions labelled ``other`` have no blob and are cut more often."""
    where = (812.0, 633.0)
    others = [label(f"izzz000{n:02d}", *where, 9.0, "other") for n in (3, 5, 9)]
    train, before = read_split(labelled_season(season, tmp_path, *others), "train"), read_split(made, "train")
    near = np.hypot(train.blobs["frame_x"] - where[0], train.blobs["frame_y"] - where[1]) < 1
    assert not near.any()
    aimed = covering(train, *where).sum()
    assert aimed >= 4
    assert aimed >= 3 * covering(before, *where).sum()


def test_label_on_simulated_blob_is_ignored(made, season, tmp_path):
    out = labelled_season(season, tmp_path, label("izzz00021", NEW.x + 3, NEW.y - 2))
    final = read_split(out, "final")
    assert len(final.blobs) == len(read_split(made, "final").blobs)


def test_invalid_label_keeps_old_output(season, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(BlobwatchError, match=r"labels\.csv, line 3: y is '1030\.0'"):
        labelled_season(season, tmp_path, label("izzz00005", 30.0, 40.0), label("izzz00005", 300.0, 1030.0))
    assert list((tmp_path / "out").iterdir()) == []


def templated(season, tmp_path, share: float) -> Path:
    """Return the subframes of the season with two templates that fit the frame's centre."""
    templates = [create_template(name, cutout(seed)) for seed, name in enumerate(("1", "2"))]
    write_templates(tmp_path / "templates", templates, season[0] / INDEX)
    settings = SETTINGS.model_copy(update={"templates": share})
    subframes(*season[:3], tmp_path / "templates", tmp_path / "out", settings, seed=3, workers=2)
    return tmp_path / "out"


def cutout(seed: int) -> np.ndarray:
    """Return a cutout of a blob of 15 pixels, in sigma."""
    stamp, _, _ = Blob(100.0, 100.0, half_width=6.0, depth=1.0).unit_shape()
    middle = stamp.shape[0] // 2
    inner = stamp[middle - 7 : middle + 8, middle - 7 : middle + 8]
    return 3.0 * inner + np.random.default_rng(seed).normal(0.0, 0.5, inner.shape)


def test_templates_are_used_in_train_only(made, season, tmp_path):
    out = templated(season, tmp_path, 1.0)
    widths = [np.float32(one.half_width) for one in read_templates(tmp_path / "templates")]
    blobs = read_split(out, "train").blobs
    assert 0.1 < np.isin(blobs["half_width"], widths).mean() < 0.9  # they do not fit everywhere
    ours, before = folder_listing(out), folder_listing(made)
    trained = {path for path in ours if path.startswith("train/")}
    assert len(trained) == 3
    assert all(ours[path] != before[path] for path in trained)
    others = ours.keys() - trained - {INDEX}
    assert {path: ours[path] for path in others} == {path: before[path] for path in others}
    (tmp_path / "again").mkdir()
    assert folder_hash(templated(season, tmp_path / "again", 1.0)) == folder_hash(out)


def test_unused_templates_change_nothing(made, season, tmp_path):
    assert folder_hash(templated(season, tmp_path, 0.0)) == folder_hash(made)
    season[3].mkdir()
    (season[3] / "README.md").write_text("what comes here")
    subframes(*season, tmp_path / "bare", SETTINGS, seed=3, workers=1)
    assert folder_hash(tmp_path / "bare") == folder_hash(made)
