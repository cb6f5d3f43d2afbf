"""Monitoring of a folder with real files: order, damaged, late and moved files."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from astropy.io import fits
from monitor.example_exposures import COUNT, NAMES, linked, monitor_of
from sqlalchemy import select, text
from synthetic import parse_json_lines

from blobwatch.cli.output.monitor import MonitorOptions, run_monitor
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.exposure_files import find_exposures
from blobwatch.instrument.file_search import FileProblem
from blobwatch.monitor.incoming import Note
from blobwatch.monitor.ledger.database import Ledger, open_ledger
from blobwatch.monitor.ledger.exposures import known_files
from blobwatch.monitor.ledger.tables import Exposure


@dataclass(frozen=True)
class Place:
    """A folder, a ledger and a model."""

    folder: Path
    ledger: Ledger
    sky: Path
    model: Path

    def put(self, *numbers: int) -> Path:
        return linked(self.sky, self.folder, *numbers)

    def watch(self, folder: Path | None = None):
        return monitor_of(folder or self.folder, self.ledger, self.model)

    def run(self, capsys) -> tuple[bool, list[dict], str]:
        """Run the command once; return its success, JSON lines and messages."""
        well = run_monitor(
            self.folder, str(self.ledger.engine.url), [], str(self.model), MonitorOptions(as_json=True)
        )
        said = capsys.readouterr()
        return well, parse_json_lines(said.out), said.err

    def outcomes(self) -> dict[str, str]:
        with self.ledger.reading() as session:
            return {row.rootname: row.outcome for row in known_files(session)}

    def stack_of(self, name: str) -> str:
        with self.ledger.reading() as session:
            return session.scalar(select(Exposure.stack).filter_by(rootname=name))


@pytest.fixture
def place(tmp_path, sky, box_model) -> Place:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", create=True)
    return Place(linked(sky, tmp_path / "folder"), ledger, sky, box_model)


@pytest.fixture
def known(watched, tmp_path) -> Place:
    """The ledger of all exposures, and an empty folder."""
    folder = linked(watched.folder, tmp_path / "folder")
    return Place(folder, open_ledger(watched.url), watched.folder, watched.model)


def altered(source: Path, path: Path, **cards: object) -> Path:
    """Write a copy of an exposure with another primary header."""
    with fits.open(source, disable_image_compression=True) as hdus:
        for key, value in cards.items():
            if value is None:
                del hdus[0].header[key]
            else:
                hdus[0].header[key] = value
        hdus.writeto(path)
    return path


def forget(ledger: Ledger, *statements: str) -> None:
    """Delete all blobs and file paths, and run some statements."""
    with ledger.writing() as session:
        tables = (f"DELETE FROM {name}" for name in ("detections", "light", "blobs"))
        for statement in (*tables, *statements, "UPDATE exposures SET path = '/nowhere/' || rootname"):
            session.execute(text(statement))


def names(came: list) -> list[str]:
    """Return the file name of each problem, the rootname of each result, and notes as they are."""
    shown = {FileProblem: lambda one: one.path.name, Note: lambda one: one.text}
    return [shown.get(type(one), lambda one: one.exposure.rootname)(one) for one in came]


def age(*paths: Path) -> None:
    """Set old modification times, so that files do not count as incomplete."""
    for path in paths:
        os.utime(path, (1e9, 1e9))


def damaged_text(folder: Path, text: str = "no FITS") -> Path:
    path = folder / "text.fits"
    path.write_text(text)
    age(path)
    return path


def test_exposures_are_analyzed_in_time_order_and_problems_reported(place, capsys):
    """Exposure 2 is damaged at first and replaced later, when exposure 5 arrives."""
    for number in (0, 1, 3, 4):
        (place.folder / f"{9 - number}.fits").hardlink_to(place.sky / f"{NAMES[number]}_flt.fits")
    whole = place.sky / f"{NAMES[2]}_flt.fits"
    damaged = place.folder / whole.name
    damaged.write_bytes(whole.read_bytes()[:400_000])
    altered(whole, place.folder / "a_dark.fits", ROOTNAME="idark", IMAGETYP="DARK")
    altered(whole, place.folder / "a_short.fits", ROOTNAME="ishort", EXPTIME=0.0)
    altered(whole, place.folder / "undated.fits", ROOTNAME="iundated", EXPSTART=None)
    altered(whole, place.folder / "absurd.fits", ROOTNAME="iabsurd", EXPSTART=1e99)
    altered(whole, place.folder / "nameless.fits", ROOTNAME="")
    altered(whole, place.folder / "long.fits", ROOTNAME="i" * 65)
    damaged_text(place.folder)
    age(damaged)
    (place.folder / ".hidden.partial.fits").write_text("half a file")
    well, lines, said = place.run(capsys)
    assert not well
    errors = {Path(line["image"]).name: line["error"] for line in lines if "error" in line}
    assert set(errors) == {
        *("absurd.fits", "long.fits", "nameless.fits", "text.fits", "undated.fits"),
        damaged.name,
    }
    assert "is not a date" in errors["absurd.fits"]
    assert "has no EXPSTART" in errors["undated.fits"]
    assert "truncated" in errors[damaged.name]
    assert all(error in said for error in errors.values())
    entered = [(line["rootname"], line["outcome"]) for line in lines if "rootname" in line]
    assert sorted(entered[2:4]) == [("idark", "unfit"), ("ishort", "unfit")]
    assert [one for one in entered if one[1] != "unfit"] == [
        *((NAMES[number], "no stack") for number in (0, 1, 3)),
        (NAMES[4], "judged"),
    ]
    assert f"{NAMES[4]}: candidate 1 at (41" in said
    reasons = {line["rootname"]: line["reason"] for line in lines if "rootname" in line}
    assert "dark" in reasons["idark"]
    assert reasons[NAMES[3]].startswith("2 accepted exposures in the 30 days before it")
    assert place.stack_of(NAMES[4]).split() == [NAMES[0], NAMES[1], NAMES[3]]

    shutil.copy(whole, damaged)
    place.put(5)
    well, lines, said = place.run(capsys)
    assert not well  # the others are still no use
    entered = [line for line in lines if "rootname" in line]
    assert [line["rootname"] for line in entered] == [NAMES[2], NAMES[3], NAMES[4], NAMES[5]]
    assert [line["again"] for line in entered] == ["", *[f"earlier exposure {NAMES[2]}"] * 2, ""]
    keys = ["rootname", "expstart", "outcome", "reason", "blobs", "new", "confirmed", "again", "withdrawn"]
    assert list(entered[-1]) == keys
    assert (entered[-1]["blobs"], entered[-1]["new"], entered[-1]["confirmed"]) == ([1], [], [1])
    assert f"{NAMES[5]}: blob 1 at (41" in said
    assert place.stack_of(NAMES[3]).split() == NAMES[:3]


def test_problem_is_reported_once_until_file_is_replaced(place):
    damaged_text(place.folder)
    place.put(0)
    watch = place.watch()
    assert names(list(watch.run())) == ["text.fits", NAMES[0]]
    assert list(watch.run()) == []
    damaged_text(place.folder, "no FITS again")
    assert names(list(watch.run())) == ["text.fits"]
    shutil.copy(place.sky / f"{NAMES[1]}_flt.fits", place.folder / "text.fits")
    assert names(list(watch.run())) == [NAMES[1]]


def test_damaged_pixels_are_reported_once(place):
    place.put(0, 2)
    whole = bytearray((place.sky / f"{NAMES[1]}_flt.fits").read_bytes())
    whole[100_000:300_000] = bytes(200_000)
    (place.folder / "damaged.fits").write_bytes(whole)
    watch = place.watch()
    assert sorted(names(list(watch.run()))) == ["damaged.fits", NAMES[0], NAMES[2]]
    assert list(watch.run()) == []


def test_file_removed_or_changed_during_run_is_reported(place):
    for number in range(4):
        shutil.copy(place.sky / f"{NAMES[number]}_flt.fits", place.folder)
    paths = find_exposures(place.folder)
    watch = place.watch()
    going = watch.run()
    next(going)
    paths[1].unlink()
    os.utime(paths[2], ns=(1, 1))
    gone, changed, last = list(going)
    assert "disappeared" in gone.reason
    assert "still being written" in changed.text
    assert last.exposure.rootname == NAMES[3]
    assert names(list(watch.run())) == [NAMES[2], NAMES[3]]


def test_moved_files_are_not_analyzed_again(known):
    known.put(*range(COUNT))
    assert list(known.watch().run()) == []


def test_moved_files_are_used_in_stacks(known):
    """The paths in the ledger are outdated."""
    forget(known.ledger, "DELETE FROM exposures WHERE expstart > 58003")
    known.put(*range(5))
    (came,) = known.watch().run()
    assert (came.exposure.outcome, len(came.new)) == ("judged", 1)


def test_exposure_without_readable_stack_is_not_repeated(known):
    forget(
        known.ledger,
        "DELETE FROM exposures WHERE expstart > 58004",
        "UPDATE exposures SET outcome = 'no stack' WHERE expstart = 58004",
    )
    known.put(4)
    watch = known.watch()
    before = known.outcomes()
    assert list(watch.run()) == []
    assert known.outcomes() == before


def test_stack_uses_exposures_of_concurrent_monitor(place, tmp_path):
    place.put(0, 1, 3)
    other = linked(place.sky, tmp_path / "other", 2)
    going = place.watch().run()
    assert names([next(going), next(going)]) == NAMES[:2]
    assert names(list(place.watch(other).run())) == [NAMES[2]]
    assert names(list(going)) == [NAMES[3]]
    assert place.stack_of(NAMES[3]).split() == NAMES[:3]


def test_each_filter_has_its_own_stacks(known):
    for number in range(4):
        source = known.sky / f"{NAMES[number]}_flt.fits"
        about = {"ROOTNAME": f"ibbb{number:02d}01q", "FILTER": "F160W", "EXPSTART": 58009.5 + number / 10}
        altered(source, known.folder / f"ibbb{number}.fits", **about)
    before = len(known.outcomes())
    came = list(known.watch().run())
    assert [one.exposure.outcome for one in came] == ["no stack"] * 3 + ["judged"]
    assert known.stack_of("ibbb0301q").split() == ["ibbb0001q", "ibbb0101q", "ibbb0201q"]
    assert len(known.outcomes()) == before + 4


def test_blob_in_first_exposure_is_not_new(place):
    place.put(7, 8, 9, 10)
    assert [one.found for one in place.watch().run()] == [[]] * 4


def test_empty_folder_is_an_error_unless_watching(place):
    with pytest.raises(BlobwatchError, match="no FITS file"):
        list(place.watch().run())
    assert list(place.watch().run(watching=True)) == []


def test_watch_skips_incomplete_file(place):
    place.put(0)
    whole = next(place.sky.glob(f"{NAMES[1]}*")).read_bytes()
    growing, watch = place.folder / f"{NAMES[1]}_flt.fits", place.watch()
    for size in (1000, 400_000):
        growing.write_bytes(whole[:size])
        assert [one for one in watch.run(watching=True) if isinstance(one, FileProblem)] == []
    growing.write_bytes(whole)
    assert names(watch.run(watching=True)) == [NAMES[1]]


def test_single_run_reports_incomplete_file(place, capsys):
    place.put(0)
    whole = next(place.sky.glob(f"{NAMES[1]}*")).read_bytes()
    (place.folder / f"{NAMES[1]}_flt.fits").write_bytes(whole[:400_000])
    well, lines, said = place.run(capsys)
    assert well
    assert "still being written" in lines[0]["warning"]
    assert "still being written" in said
    assert list(place.outcomes()) == [NAMES[0]]


def test_watch_reports_damaged_file_once(place):
    damaged_text(place.folder)
    watch = place.watch()
    assert [names(watch.run(watching=True)) for _ in range(3)] == [["text.fits"], [], []]


def test_nested_folders_and_dangling_links(place):
    (place.folder / "2017" / "09").mkdir(parents=True)
    name = f"{NAMES[0]}_flt.fits"
    (place.folder / "2017" / "09" / name).symlink_to(place.sky / name)
    (place.folder / "gone.fits").symlink_to(place.folder / "nowhere.fits")
    assert names(place.watch().run()) == ["gone.fits", NAMES[0]]


def test_missing_folder_is_reported_before_ledger_is_created(tmp_path, box_model):
    url = f"sqlite:///{tmp_path}/ledger.db"
    with pytest.raises(BlobwatchError, match="not a directory"):
        run_monitor(tmp_path / "absent", url, [], str(box_model), MonitorOptions(every=1.0))
    assert list(tmp_path.iterdir()) == []


def test_stdout_is_empty_without_json(known, capsys):
    known.put(0)
    run_monitor(known.folder, str(known.ledger.engine.url), [], str(known.model))
    assert capsys.readouterr().out == ""
