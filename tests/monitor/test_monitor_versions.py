"""Versions of an exposure: reprocessed files, changes of flats, new analysis, older ledgers."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from monitor.example_exposures import COUNT, LOUD, NAMES, PASSED, PASSING, canonical, linked, monitor_of
from monitor.example_ledger import Page
from seasons.fitsfiles import write_flat
from sqlalchemy import create_engine, inspect, select, text
from synthetic import parse_json_lines, write_exposure, write_model

from blobwatch.cli.output.monitor import MonitorOptions, run_monitor
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.blobs import Blob, transmission
from blobwatch.instrument.flats import FlatFields
from blobwatch.monitor.channels import Channel
from blobwatch.monitor.ledger import tables
from blobwatch.monitor.ledger.database import Ledger, migrations, open_ledger
from blobwatch.monitor.ledger.exposures import find_exposure
from blobwatch.monitor.ledger.rows import list_blobs
from blobwatch.monitor.ledger.tables import Notice, OldResult
from blobwatch.monitor.model_status import Deployed
from blobwatch.monitor.monitor import Monitor
from blobwatch.monitor.notices import RejectionCheck, newest_warning, queue_notice
from blobwatch.monitor.pages import Pages, Reader
from blobwatch.monitor.reviews import review_blob
from blobwatch.predict import Predictor
from blobwatch.settings import QualitySettings


@dataclass(frozen=True)
class Place:
    """A folder with all exposures, and its ledger."""

    folder: Path
    ledger: Ledger
    model: Path

    def run(self, capsys, model: Path | None = None, **options) -> tuple[list[dict], str]:
        """Run the command once; return its lines of JSON and its messages."""
        options = MonitorOptions(as_json=True, overrules=self.folder.parent / "overrules", **options)
        run_monitor(self.folder, str(self.ledger.engine.url), [], str(model or self.model), options)
        printed = capsys.readouterr()
        return parse_json_lines(printed.out), printed.err

    def replace(self, number: int, blobs: list[Blob], **cards) -> Path:
        """Replace the file of an exposure by another version."""
        path = self.folder / f"{NAMES[number]}_flt.fits"
        path.unlink(missing_ok=True)
        return write_exposure(self.folder, number, blobs, **cards)

    def blobs(self) -> dict[int, dict]:
        with self.ledger.reading() as session:
            return {row["id"]: row for row in list_blobs(session)}

    def exposure(self, number: int) -> tables.Exposure:
        with self.ledger.reading() as session:
            return find_exposure(session, NAMES[number])


@pytest.fixture
def place(watched, tmp_path) -> Place:
    folder = linked(watched.folder, tmp_path / "folder", *range(COUNT))
    place = Place(folder, open_ledger(watched.url), watched.model)
    assert list(monitor_of(folder, place.ledger, watched.model).run()) == []
    return place


def test_reprocessed_exposure_replaces_result_and_keeps_history(place, capsys):
    before = place.exposure(PASSED)
    place.replace(PASSED, [LOUD], CAL_VER="3.5.2", CAL_DATE="2021-02-03")
    lines, messages = place.run(capsys)
    assert [line["rootname"] for line in lines] == NAMES[PASSED:]
    assert lines[0]["again"] == "new content, calibrated by 3.5.2"
    assert {line["again"] for line in lines[1:]} == {f"earlier exposure {NAMES[PASSED]}"}
    assert f"{NAMES[PASSED]}: analyzed again (new content, calibrated by 3.5.2)" in messages
    assert [line["withdrawn"] for line in lines if line["withdrawn"]] == [[2]]
    assert "blob 2 is withdrawn" in messages
    assert list(place.blobs()) == [1]  # the passing one was in the older version alone
    after = place.exposure(PASSED)
    assert (after.cal_ver, after.cal_date, after.found) == ("3.5.2", "2021-02-03", 1)
    assert after.md5 != before.md5
    with place.ledger.reading() as session:
        old = session.scalars(select(OldResult).filter_by(rootname=NAMES[PASSED])).one()
    assert (old.md5, old.cal_ver, old.why) == (before.md5, "", lines[0]["again"])
    assert old.judged_at == before.judged_at
    assert '"blob": 2' in old.found
    assert place.run(capsys)[0] == []


def test_older_calibration_does_not_replace_newer(place, capsys):
    place.replace(PASSED, [LOUD], CAL_VER="3.5.2")
    place.run(capsys)
    before = canonical(place.ledger)
    place.replace(PASSED, [LOUD, PASSING], CAL_VER="3.1.6")
    lines, messages = place.run(capsys)
    (line,) = lines
    assert "has an older calibration (3.1.6) than the result in the ledger (3.5.2)" in line["warning"]
    assert line["warning"] in messages.replace("\n", " ")
    assert canonical(place.ledger) == before


def test_touched_file_is_not_analyzed_again(place, capsys):
    path = place.folder / f"{NAMES[3]}_flt.fits"
    content = path.read_bytes()
    path.unlink()  # a link to the file of all tests
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))
    assert place.run(capsys)[0] == []
    assert place.exposure(3).stamp.endswith(" 1000000000000000000")


def test_two_files_of_one_rootname_are_reported(place, capsys):
    (place.folder / "again").mkdir()
    write_exposure(place.folder / "again", PASSED, [LOUD, PASSING], CAL_VER="3.5.2")
    lines, _ = place.run(capsys)
    assert f"{NAMES[PASSED]}: 2 files" in lines[0]["warning"]
    assert lines[1]["again"] == "new content, calibrated by 3.5.2"


def test_rejudge_keeps_ids_reviews_and_notices(place, capsys, tmp_path):
    """A model that finds nothing, then the first model again."""
    channel, labels = Channel("k" * 64, "json://host", None), tmp_path / "labels"
    labels.mkdir()
    (labels / "labels.csv").write_text("rootname,x,y,radius,label,who,when\n")
    review_blob(place.ledger, labels, 2, "rejected", "a satellite", "Ada")
    with place.ledger.writing() as session:
        blob = session.get_one(tables.Blob, 1)
        queue_notice(session, [channel], "blob 1", blob.last, "confirmed", blob)
    before, state = place.blobs(), canonical(place.ledger)
    lines, messages = place.run(capsys, write_model(tmp_path / "blind", threshold=1.0), rejudge=True)
    assert (lines[-1]["rejudged"], len(lines)) == (COUNT, COUNT + 1)
    assert [(row["id"], row["detections"]) for row in lines[-1]["before"]["blobs"]] == [(1, 4), (2, 1)]
    assert [(row["id"], row["detections"]) for row in lines[-1]["after"]["blobs"]] == [(1, 0), (2, 0)]
    assert "blob 1 at (41" in messages
    assert [row["status"] for row in place.blobs().values()] == ["rejected", "rejected"]
    page = Page(Pages(place.ledger.reading, None, Deployed).blob(1, Reader()))
    assert "Withdrawn: after a new analysis, no exposure shows it" in page.words
    page = Page(Pages(place.ledger.reading, None, Deployed).exposures(1, Reader()))
    assert page.words.count("1 earlier result") == COUNT

    lines, _ = place.run(capsys, rejudge=True)
    assert place.blobs() == before
    assert canonical(place.ledger) == state
    with place.ledger.reading() as session:
        assert [one.subject for one in session.scalars(select(Notice))] == ["blob 1"]
        assert len(session.scalars(select(OldResult)).all()) == 2 * COUNT
    lines, messages = place.run(capsys, rejudge=True)
    assert lines[-1]["before"] == lines[-1]["after"]
    assert "no result differs" in messages


def test_rejudge_since_date_skips_earlier_exposures(place, capsys):
    lines, _ = place.run(capsys, rejudge=True, since=58008)
    assert [line["rootname"] for line in lines[:-1]] == NAMES[8:]
    assert lines[-1]["rejudged"] == COUNT - 8
    with pytest.raises(BlobwatchError, match="--since needs --rejudge"):
        place.run(capsys, since=58008)


def test_interrupted_rejudge_is_completed_by_next_run(place, capsys, monkeypatch):
    state, announced = canonical(place.ledger), []

    def stop(*_) -> None:
        announced.append(1)
        if len(announced) > 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr("blobwatch.monitor.monitor.queue_notices", stop)
        with pytest.raises(KeyboardInterrupt):
            place.run(capsys, rejudge=True)
    capsys.readouterr()
    lines, _ = place.run(capsys)
    assert [line["rootname"] for line in lines] == NAMES[3:]
    assert canonical(place.ledger) == state


def test_exposure_with_missing_file_keeps_result(place, capsys):
    (place.folder / f"{NAMES[5]}_flt.fits").unlink()
    lines, _ = place.run(capsys, rejudge=True, since=58005)
    assert "missing or changed" in lines[0]["error"]
    assert place.exposure(5).outcome == "judged"
    assert all("error" not in line for line in place.run(capsys)[0])


@pytest.fixture(scope="module")
def two_flats(tmp_path_factory) -> Path:
    """A season whose first flats contained three old blobs, so that these were divided out, and the flats."""
    folder = tmp_path_factory.mktemp("flats")
    (folder / "sky").mkdir()
    (folder / "flats").mkdir()
    old = [Blob(x=200.0 + 250 * n, y=400.0, half_width=4.0, depth=0.06) for n in range(3)]
    for number in range(9):
        flats = {"FLATCORR": "COMPLETE", "PFLTFILE": f"iref${'old' if number < 4 else 'new'}_pfl.fits"}
        write_exposure(folder / "sky", number, old if number >= 4 else [], **flats)
    write_flat(folder / "flats", "old_pfl.fits", transmission(old))
    write_flat(folder / "flats", "new_pfl.fits", np.ones((1024, 1024)))
    return folder


def test_change_of_flats_starts_new_stack(two_flats, tmp_path, box_model):
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", create=True)
    results = list(monitor_of(two_flats / "sky", ledger, box_model).run())
    outcomes = [one.exposure.outcome for one in results]
    assert outcomes == [*["no stack"] * 3, "judged", *["no stack"] * 3, *["judged"] * 2]
    assert "the flats changed from old_pfl.fits to new_pfl.fits" in results[4].exposure.reason
    assert [one for one in results if one.found] == []


def test_flats_files_bridge_change_of_flats(two_flats, tmp_path, box_model):
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", create=True)
    flats = FlatFields(two_flats / "flats")
    results = list(Monitor(two_flats / "sky", ledger, Predictor.load(str(box_model)), flats=flats).run())
    assert [one.exposure.outcome for one in results] == [*["no stack"] * 3, *["judged"] * 6]
    assert [one for one in results if one.found] == []
    assert {one.exposure.flats for one in results} == {"none"}
    assert results[0].exposure.pflt == "old_pfl.fits"


def test_many_rejections_make_limits_suspect(tmp_path, box_model):
    folder, ledger = tmp_path / "sky", open_ledger(f"sqlite:///{tmp_path}/ledger.db", create=True)
    folder.mkdir()
    for number in range(6):
        write_exposure(folder, number, EXPTIME=802.9 if number < 3 else 5.0)  # three without light
    channel = Channel("k" * 64, "json://host", None)
    check = RejectionCheck(ledger, [channel], QualitySettings())
    results = list(monitor_of(folder, ledger, box_model).run())
    assert [one.exposure.reason[:9] for one in results[3:]] == ["rejected:"] * 3
    warning = check.update(results)
    assert warning.startswith("3 of 6 exposures are rejected. The limits are suspect")
    assert check.update(results) == ""  # said once
    assert RejectionCheck(ledger, [channel], QualitySettings()).update(results[:3]) == warning  # another run
    with ledger.reading() as session:
        assert [one.subject for one in session.scalars(select(Notice))] == [
            f"suspect limits since {NAMES[0]}"
        ]
        assert newest_warning(session, QualitySettings()) == warning
        assert newest_warning(session, QualitySettings(suspect=0.5)) == ""


@pytest.fixture
def first_form(watched, tmp_path) -> str:
    """The address of the ledger of the sky as the first version of the program wrote it."""
    path = tmp_path / "first.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(migrations(connection), "0001")
    with engine.begin() as connection:
        connection.execute(text(f"ATTACH DATABASE '{watched.database}' AS newer"))
        for name in ("models", "exposures", "blobs", "detections", "light"):
            columns = ", ".join(one["name"] for one in inspect(connection).get_columns(name))
            connection.execute(text(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM newer.{name}"))
    engine.dispose()
    return f"sqlite:///{path}"


def test_older_ledger_is_migrated_without_new_analysis(first_form, watched, tmp_path):
    ledger = open_ledger(first_form)
    with ledger.reading() as session:
        assert {one.flats for one in session.scalars(select(tables.Exposure))} == {""}
        blobs = list_blobs(session)
    monitor = monitor_of(linked(watched.folder, tmp_path / "folder", *range(COUNT)), ledger, watched.model)
    assert list(monitor.run()) == []
    shutil.copy(write_exposure(tmp_path, COUNT, [LOUD]), tmp_path / "folder")
    (result,) = monitor.run()
    assert (result.exposure.outcome, result.found) == ("judged", [])
    assert result.exposure.stack.split() == NAMES
    with ledger.reading() as session:
        rows = session.scalars(select(tables.Exposure)).all()
        assert {one.flats for one in rows} == {"unknown"}
        assert all(one.light is not None for one in rows)
        assert [row["id"] for row in list_blobs(session)] == [row["id"] for row in blobs]
