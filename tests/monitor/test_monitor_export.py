"""Export of blobs: CSV, ECSV, ds9 regions, JSON and the printed table."""

import csv
import json
import re

import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time

from blobwatch.cli.monitor import blobs as show_blobs
from blobwatch.errors import BlobwatchError
from blobwatch.monitor.export import COLOURS, MEANINGS, UNITS, WRITERS, write_export
from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.monitor.ledger.rows import COLUMNS, describe_onset, format_utc, format_value, list_blobs

NUMBERS = {"x", "y", "radius", "depth", "snr", "probability", "first_seen", "last_seen"}


@pytest.fixture(scope="module")
def url(seen) -> str:
    return f"sqlite:///{seen}"


@pytest.fixture(scope="module")
def rows(url) -> list[dict]:
    """The two blobs of the ledger, and one with unknown values."""
    with open_ledger(url).reading() as session:
        rows = list_blobs(session)
    unknown = ("last_without", "last_without_rootname", "x_error", "y_error", "depth_error", "model_version")
    return [*rows, rows[0] | dict.fromkeys(unknown) | {"id": 3, "status": "rejected", "x": -0.5, "y": 1023.4}]


@pytest.fixture
def nothing(tmp_path) -> str:
    """The address of a ledger without blobs."""
    url = f"sqlite:///{tmp_path}/empty.db"
    open_ledger(url, create=True)
    return url


def test_json_keys_and_types(url, capsys):
    show_blobs(url, True, None)
    out, err = capsys.readouterr()
    listed = json.loads(out)
    assert (len(listed), err) == (2, "")
    for row in listed:
        assert list(row) == COLUMNS
        assert {key for key in row if type(row[key]) is float} >= NUMBERS
        assert all(type(row[key]) is int for key in ("id", "detections"))
        assert all(type(row[key]) is str for key in ("status", "first_rootname"))
        assert row["status"] in ("candidate", "confirmed", "rejected")
        assert 0 <= row["probability"] <= 1
        assert row["last_without"] < row["first_seen"] <= row["last_seen"]
    assert (listed[1]["x_error"], listed[0]["x_error"] > 0) == (None, True)  # of one detection, of several
    error = np.hypot(1 / listed[0]["snr"], 0.14)  # of the noise, and of the shapes
    assert listed[0]["depth_error"] == pytest.approx(listed[0]["depth"] * error, rel=0.01)


def test_csv_export(rows, tmp_path):
    write_export(tmp_path / "blobs.csv", rows)
    with (tmp_path / "blobs.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert list(read[0]) == COLUMNS
    for given, row in zip(rows, read, strict=True):
        assert {key: "" if value is None else str(value) for key, value in given.items()} == row


def test_ecsv_export_has_units_descriptions_and_masks(rows, tmp_path):
    write_export(tmp_path / "blobs.ecsv", rows)
    table = Table.read(tmp_path / "blobs.ecsv")
    assert table.colnames == COLUMNS
    for name in COLUMNS:
        column = table[name]
        assert column.unit == UNITS.get(name)
        assert column.description == MEANINGS.get(name)
        masked = np.ma.getmaskarray(np.ma.asarray(column))
        assert masked.tolist() == [row[name] is None for row in rows]
        known = [
            (value, row[name]) for value, row, hidden in zip(column, rows, masked, strict=True) if not hidden
        ]
        assert all(value == given for value, given in known)
    assert table["id"].dtype.kind == table["model_version"].dtype.kind == "i"
    assert table["first_seen"].quantity.to_value("h")[0] == pytest.approx(24 * rows[0]["first_seen"])
    assert "from 0" in table.meta["comments"][0]


def test_regions_are_circles_counted_from_one(rows, tmp_path):
    write_export(tmp_path / "blobs.reg", rows)
    first, *lines = (tmp_path / "blobs.reg").read_text().splitlines()
    assert first == "# Region file format: DS9 version 4.1"
    assert [line for line in lines if not line.startswith(("#", "circle"))] == ["image"]
    circle = re.compile(r"circle\((.*),(.*),(.*)\) # color=(.*) text=\{(.*)\} tag=\{(.*)\}")
    found = [circle.fullmatch(line).groups() for line in lines if line.startswith("circle")]
    for row, (x, y, radius, colour, text, tag) in zip(rows, found, strict=True):
        place = (row["x"] + 1, row["y"] + 1, row["radius"])
        assert (float(x), float(y), float(radius)) == pytest.approx(place, abs=0.006)
        assert (colour, text, tag) == (COLOURS[row["status"]], str(row["id"]), row["status"])
    assert len(set(COLOURS.values())) == 3


@pytest.mark.parametrize("form", WRITERS)
def test_empty_ledger_is_exported_without_rows(nothing, tmp_path, capsys, form):
    show_blobs(nothing, True, tmp_path / f"blobs{form}")
    out, err = capsys.readouterr()
    assert (out, err) == ("[]\n", f"0 blobs: {tmp_path / f'blobs{form}'}\n")
    text = (tmp_path / f"blobs{form}").read_text()
    assert text == WRITERS[form]([])
    assert "circle" not in text
    if form == ".ecsv":
        table = Table.read(text, format="ascii.ecsv")
        assert (len(table), table.colnames) == (0, COLUMNS)


@pytest.mark.parametrize("name", ["blobs.txt", "blobs", "blobs.csv.gz", ".csv"])
def test_unknown_suffix_is_rejected(rows, tmp_path, name):
    with pytest.raises(BlobwatchError, match=r"unknown format. Use the suffix \.csv, \.ecsv, \.reg"):
        write_export(tmp_path / name, rows)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_export_is_reported(rows, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "blobs.reg").mkdir()
    for place, why in (
        ("file/blobs.csv", "not a directory"),
        ("no/b.csv", "not a directory"),
        ("blobs.reg", "not writable"),
    ):
        with pytest.raises(BlobwatchError, match=f"{why}.*ass another path"):
            write_export(tmp_path / place, rows)
    assert not (tmp_path / "no").exists()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("columns", [80, 200])
def test_table_fits_terminal(url, rows, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    show_blobs(url, False, None)
    out, _ = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out
    for row in rows[:2]:
        depth = format_value(100 * row["depth"], 100 * row["depth_error"], 2)
        (line,) = [line for line in out.splitlines() if row["status"] in line]
        cells = (format_value(row["x"], row["x_error"]), f"{row['snr']:.1f}", depth, f"{row['detections']} x")
        assert all(cell in line for cell in cells)
        assert all(format_utc(row[name])[:10] in out for name in ("last_without", "first_seen"))
    one_line = f"{format_utc(rows[0]['last_without'])[:10]} - {format_utc(rows[0]['first_seen'])[:10]}"
    assert (one_line in out) == (columns == 200)


def test_empty_table_message(nothing, capsys):
    show_blobs(nothing, False, None)
    assert capsys.readouterr().out == "no blob yet\n"


def test_blob_with_unknown_values_is_printed(rows, capsys):
    from blobwatch.cli.output.ledger import print_blobs

    print_blobs([rows[2]])
    assert f"- {format_utc(rows[2]['first_seen'])[:10]}" in capsys.readouterr().out
    assert (
        describe_onset(rows[2]) == f"before {format_utc(rows[2]['first_seen'])} ({rows[2]['first_rootname']})"
    )


def test_dates_agree_with_astropy():
    days = np.concatenate([58000 + np.arange(1440) / 1440, np.random.default_rng(1).uniform(5e4, 5.9e4, 500)])
    known = Time([*days, 58000.1, 58000.3, 57844.6], format="mjd", scale="utc", precision=0)
    assert [format_utc(mjd) for mjd in known.mjd] == [iso[:16] for iso in known.iso]
