"""Eleven daily exposures in which a blob appears, and their ledger; created once per session."""

import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import select
from synthetic import write_exposure

from blobwatch.instrument.blobs import Blob
from blobwatch.monitor.ledger import tables
from blobwatch.monitor.ledger.database import Ledger
from blobwatch.monitor.ledger.onset import MEASURES
from blobwatch.monitor.ledger.queries import PICTURES
from blobwatch.monitor.ledger.tables import Exposure, LightCurvePoint, Table
from blobwatch.monitor.monitor import Monitor
from blobwatch.predict import Predictor

LOUD = Blob(x=411.8, y=89.1, half_width=4.0, depth=0.04)  # there from exposure 4 on
PASSING = Blob(x=700.3, y=650.2, half_width=4.0, depth=0.05)  # in exposure 6 alone
APPEARED, PASSED, COUNT = 4, 6, 11
OURS = {"judged_at", "tried_at", "at", "since"}  # moments at which we did something
NAMES = [f"iaaa{number:02d}01q" for number in range(COUNT)]


@dataclass(frozen=True)
class Watched:
    """A folder of exposures and its ledger."""

    folder: Path
    database: Path
    model: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.database}"


def write_sky(folder: Path, count: int = COUNT) -> Path:
    """Write the exposures, one per day."""
    folder.mkdir(parents=True)
    for number in range(count):
        blobs = [LOUD] if number >= APPEARED else []
        write_exposure(folder, number, [*blobs, PASSING] if number == PASSED else blobs)
    return folder


def blobwatch(*arguments: object, status: int | None = 0, **how) -> subprocess.CompletedProcess:
    """Run the command line program."""
    command = [sys.executable, "-m", "blobwatch.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **how)
    if status is not None:
        assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def create_once(tmp_path_factory, name: str, make) -> Path:
    """Create something once for all test processes; return its path."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if shared.name.startswith("popen-") else shared
    with FileLock(shared / f"{name}.lock"):
        if not (shared / f"{name}.done").exists():
            make(shared / name)
            (shared / f"{name}.done").touch()
    return shared / name


@pytest.fixture(scope="session")
def sky(tmp_path_factory) -> Path:
    """The folder of exposures (read-only)."""
    return create_once(tmp_path_factory, "sky", write_sky)


@pytest.fixture(scope="session")
def seen(tmp_path_factory, sky, box_model) -> Path:
    """The ledger file of that folder (read-only)."""

    def make(folder: Path) -> None:
        folder.mkdir()
        options = ("--model", box_model, "--overrules", folder / "overrules")
        blobwatch("monitor", sky, "--ledger", f"sqlite:///{folder}/ledger.db", *options)

    return create_once(tmp_path_factory, "seen", make) / "ledger.db"


@pytest.fixture
def watched(sky, seen, box_model, tmp_path) -> Watched:
    """A copy of the ledger that a test may change."""
    return Watched(sky, Path(shutil.copy(seen, tmp_path / "ledger.db")), box_model)


def contents(ledger: Ledger) -> dict[str, list[tuple]]:
    """Return all rows of a ledger without times of actions."""
    with ledger.engine.connect() as connection:
        return {
            table.name: sorted(
                tuple(connection.execute(select(*(one for one in table.c if one.name not in OURS))).all()),
                key=repr,
            )
            for table in Table.metadata.sorted_tables
        }


def monitor_of(folder: Path, ledger: Ledger, model: Path) -> Monitor:
    """Return the monitor of a folder."""
    return Monitor(folder, ledger, Predictor.load(model))


def linked(sky: Path, folder: Path, *numbers: int) -> Path:
    """Link some of the exposures into a folder; return the folder."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        name = f"{NAMES[number]}_flt.fits"
        (folder / name).hardlink_to(sky / name)
    return folder


def canonical(ledger: Ledger) -> dict[str, list]:
    """Return exposures and blobs of a ledger without ids, times of actions and history."""
    with ledger.reading() as session:
        names = dict(session.execute(select(Exposure.id, Exposure.rootname)).all())
        hidden = OURS | {"id", "model_id"}
        columns = [one for one in Exposure.__table__.c if one.name not in hidden]
        exposures = sorted(tuple(row) for row in session.execute(select(*columns)))
        blobs, curves = [], defaultdict(list)
        for one in session.scalars(select(LightCurvePoint)):
            curves[one.blob_id].append((names[one.exposure_id], one.depth, one.error))
        for blob in session.scalars(select(tables.Blob)):
            found = sorted(
                (names[one.exposure_id], *(getattr(one, name) for name in (*MEASURES, *PICTURES)))
                for one in blob.detections
            )
            before = blob.before and blob.before.rootname
            dates = (before, blob.first.rootname, blob.last.rootname, blob.halfway, blob.status)
            measures = tuple(getattr(blob, name) for name in MEASURES)
            blobs.append((measures, str(dates), found, sorted(curves[blob.id])))
    return {"exposures": exposures, "blobs": sorted(blobs)}


def relative(found: dict[str, list], folder: Path) -> dict[str, list]:
    """Return the result of `canonical` with paths relative to the folder."""
    rows = [tuple(str(one).removeprefix(f"{folder}/") for one in row) for row in found["exposures"]]
    return {**found, "exposures": rows}
