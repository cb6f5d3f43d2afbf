"""The table of labels: valid rows are read, invalid rows raise errors."""

import numpy as np
import pytest
from synthetic import NOISE, image_with_blobs

from blobwatch.dataset.ground_truth import Appearance
from blobwatch.dataset.labels import (
    COLUMNS,
    LABELS,
    Label,
    apply_labels,
    estimate_blob,
    read_labels,
    write_labels,
)
from blobwatch.dataset.splits import Source
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.blobs import Blob, half_width_at, radius_at

GOOD = "ich219i8q,411.8,89.1,10.2,blob,Ann,2016-02-03T10:00:00"


def table(folder, *rows: str, columns: str = ",".join(COLUMNS)):
    (folder / LABELS).write_text("\n".join([columns, *rows]) + "\n")
    return folder


def test_round_trip_of_labels(tmp_path):
    labels = read_labels(table(tmp_path, GOOD, " ich219i8q , 5,6, 3 ,other, Ben ,2016-02-03"))
    assert labels[0] == Label("ich219i8q", 411.8, 89.1, 10.2, "blob", "Ann", "2016-02-03T10:00:00")
    assert labels[1] == Label("ich219i8q", 5.0, 6.0, 3.0, "other", "Ben", "2016-02-03")
    write_labels(tmp_path, labels)
    assert read_labels(tmp_path) == labels


def test_missing_and_empty_tables(tmp_path):
    assert read_labels(tmp_path) == []
    assert read_labels(table(tmp_path)) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (GOOD.replace("411.8", "left"), "x is 'left'; Input should be a valid number"),
        (GOOD.replace("411.8", "nan"), "x is 'nan'; Input should be"),
        (GOOD.replace("89.1", "1023.6"), "y is '1023.6'; Input should be less than 1023.5"),
        (GOOD.replace("89.1", "-0.6"), "y is '-0.6'; Input should be greater than or equal to -0.5"),
        (GOOD.replace("10.2", "0"), "radius is '0'; Input should be greater than 0"),
        (GOOD.replace("10.2", "61"), "radius is '61'; Input should be less than or equal to 60"),
        (GOOD.replace("10.2", "inf"), "radius is 'inf'"),
        (GOOD.replace("ich219i8q", "../etc/pw"), "rootname is '../etc/pw'; String should match pattern"),
        (GOOD.replace("blob", "maybe"), "label is 'maybe'; Input should be 'blob' or 'other'"),
        (GOOD.replace("Ann", " "), "who is ''; String should have at least 1 character"),
        (GOOD.replace("2016-02-03T10:00:00", "3 Feb"), "when is '3 Feb'; .*[Ii]soformat"),
        (GOOD + ",more", "columns rootname, .*, None. Use rootname, x"),
        ("ich219i8q,411.8", "y is None"),
        (GOOD, "is labelled 'blob' by Ann on 2016-02-03T10:00:00. Keep one"),
        (GOOD.replace("411.8", "405").replace("blob", "other"), "is labelled 'blob' by Ann"),
    ],
)
def test_invalid_row_raises_error_with_line(tmp_path, row, said):
    with pytest.raises(BlobwatchError, match=rf"labels\.csv, line 3: .*{said}"):
        read_labels(table(tmp_path, GOOD, row))


def test_unexpected_columns_and_binary_file(tmp_path):
    with pytest.raises(
        BlobwatchError, match=r"line 2: columns x, y\. Use rootname, x, y, radius, label, who"
    ):
        read_labels(table(tmp_path, "1,2", columns="x,y"))
    (tmp_path / LABELS).write_bytes(b"\xff\xfe\x00" * 9)
    with pytest.raises(BlobwatchError, match="not a text file\\. Write it as CSV in UTF-8"):
        read_labels(tmp_path)


def test_same_position_in_other_exposure_is_allowed(tmp_path):
    assert len(read_labels(table(tmp_path, GOOD, GOOD.replace("ich219i8q", "ich219i9q")))) == 2


def sources(tmp_path) -> list[Source]:
    return [Source(f"iaaa0{n}01q", 58000.0 + n, tmp_path / f"{n}", (), ()) for n in (3, 1, 2)]


def given(rootname: str, x: float, y: float, label: str = "blob") -> Label:
    return Label(rootname, x, y, 9.0, label, "Ann", "2016-02-03")


def test_blob_labelled_twice_appears_once_at_first_exposure(tmp_path):
    labels = [given("iaaa0301q", 303.0, 402.0), given("iaaa0201q", 300.0, 400.0)]
    labels += [given("iaaa0201q", 800.0, 40.0, "other"), given("ich219i8q", 1.0, 2.0)]
    found = apply_labels(labels, sources(tmp_path), [], lambda path: image_with_blobs([]))
    assert [(one.mjd, one.blob.x) for one in found.appearances] == [(58002.0, 300.0)]
    assert {name: places.tolist() for name, places in found.others.items()} == {"iaaa0201q": [[800.0, 40.0]]}
    assert found.used == labels[:3]


def test_label_on_simulated_blob_is_ignored(tmp_path):
    truth = [Appearance(58001.5, Blob(305.0, 400.0, 6.0, 0.03))]
    labels = [given("iaaa0201q", 300.0, 400.0), given("iaaa0201q", 320.0, 400.0)]
    found = apply_labels(labels, sources(tmp_path), truth, lambda path: image_with_blobs([]))
    assert [one.blob.x for one in found.appearances] == [320.0]


def test_labelled_blob_has_measured_depth():
    blob = Blob(x=411.8, y=89.1, half_width=float(half_width_at(411.8, 89.1)), depth=4 * NOISE)
    label = Label("iaaa0201q", 411.8, 89.1, float(radius_at(411.8, 89.1)), "blob", "Ann", "2016-02-03")
    found = estimate_blob(label, image_with_blobs([blob]))
    assert found.depth == pytest.approx(blob.depth, rel=0.1)
    assert found.half_width == pytest.approx(blob.half_width)
    assert 0 < estimate_blob(label, image_with_blobs([])).depth < 0.3 * blob.depth
    assert np.hypot(found.x - 411.8, found.y - 89.1) == 0
