"""The ledger is a function of the files: late and reprocessed exposures, in any order, with kills between."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from monitor.example_exposures import LOUD, PASSING, canonical, relative
from synthetic import write_exposure

from blobwatch import history
from blobwatch.images.flatten import blob_image
from blobwatch.instrument.blobs import Blob
from blobwatch.instrument.exposures import read_exposure
from blobwatch.monitor import analysis
from blobwatch.monitor.ledger.database import Ledger, open_ledger
from blobwatch.monitor.monitor import Monitor
from blobwatch.monitor.notices import queue_notices
from blobwatch.monitor.overrules import overrule_exposure
from blobwatch.predict import Prediction, Predictor
from blobwatch.settings import DifferenceSettings, MonitorSettings, Settings

COUNT, APPEARED = 9, 3
RETURNING = Blob(x=200.0, y=800.0, half_width=4.0, depth=0.06)  # in exposures 4 and 6
PASSING_AT = (4, 8)  # so far apart that a candidate expires between them
# A short window keeps the number of exposures that depend on each other, and so the test, small.
SETTINGS = Settings(
    replace(DifferenceSettings(), days=3.0, minimum=2), MonitorSettings(expiry=2.0, incomplete=0.0)
)
NEW = {"FLATCORR": "COMPLETE", "PFLTFILE": "iref$new_pfl.fits", "CAL_VER": "3.5", "DATE": "2021-01-01"}
OLD = {"FLATCORR": "COMPLETE", "CAL_VER": "3.1", "DATE": "2015-01-01"}
# Older versions show other blobs, lack one, and have other flats.
OLDER = {
    1: ([RETURNING], {"PFLTFILE": "iref$old_pfl.fits"}),
    4: ([PASSING], {"PFLTFILE": "iref$new_pfl.fits"}),
    7: ([RETURNING, LOUD], {"PFLTFILE": "iref$new_pfl.fits"}),
}
OVERRULED = "iaaa0501q"


class Killed(BaseException):
    """The process ends."""


@dataclass(frozen=True)
class Files:
    """Files that arrive, and the ledger of all of them in order."""

    folder: Path
    names: list[str]  # "new/iaaa0001q_flt.fits"
    predictor: Predictor
    expected: dict[str, list]

    def arrive(self, folder: Path, *names: str) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).hardlink_to(self.folder / name)

    def monitor(self, folder: Path, ledger: Ledger) -> Monitor:
        return Monitor(folder, ledger, self.predictor, settings=SETTINGS)


def write_files(folder: Path) -> list[str]:
    """Write the exposures in their newest version, and some in an older one; all changed at one moment."""
    for kind in ("new", "old"):
        (folder / kind).mkdir(parents=True)
    paths = []
    for number in range(COUNT):
        blobs = [LOUD] if number >= APPEARED else []
        blobs += [PASSING] if number in PASSING_AT else []
        blobs += [RETURNING] if number in (4, 6) else []
        paths.append(write_exposure(folder / "new", number, blobs, **NEW))
    paths += [write_exposure(folder / "old", n, blobs, **OLD, **more) for n, (blobs, more) in OLDER.items()]
    for path in paths:
        os.utime(path, (1e9, 1e9))
    return [f"{path.parent.name}/{path.name}" for path in paths]


def reject(ledger: Ledger, folder: Path) -> None:
    overrule_exposure(ledger, folder / "overrules", OVERRULED, "reject", "Earth's limb", "Ada")


@pytest.fixture(scope="module", autouse=True)
def remembered() -> Iterator[None]:
    """Cache pure functions of the pixels over all orders, to save time."""
    exposures, images = {}, {}

    def read(path: Path) -> object:
        key = path.stat().st_ino  # all arrivals are links to the same files
        if key not in exposures:
            exposures[key] = read_exposure(path)
        return replace(exposures[key], path=path)

    def image(pixels: np.ndarray, *others) -> np.ndarray:
        if id(pixels) not in images:
            images[id(pixels)] = blob_image(pixels, *others), pixels
        return images[id(pixels)][0]

    with (
        mock.patch.object(analysis, "read_exposure", read),
        mock.patch.object(history, "read_exposure", read),
        mock.patch.object(history, "blob_image", image),
    ):
        yield


QUEUE = "blobwatch.monitor.monitor.queue_notices"


class RememberingPredictor(Predictor):
    """A predictor that caches its results by image."""

    def __call__(self, image: np.ndarray, **about: str) -> Prediction:
        known = self.__dict__.setdefault("known", {})
        key = hashlib.md5(image.tobytes()).hexdigest()
        if key not in known:
            known[key] = super().__call__(image, **about)
        return known[key]


@pytest.fixture(scope="module")
def files(tmp_path_factory, box_model) -> Files:
    folder = tmp_path_factory.mktemp("files")
    names, predictor = write_files(folder), RememberingPredictor.load(str(box_model))
    files = Files(folder, names, predictor, {})
    ledger, data = new_ledger(folder), tmp_path_factory.mktemp("all")
    reject(ledger, folder)
    files.arrive(data, *names)
    list(files.monitor(data, ledger).run())
    shutil.rmtree(data)
    return replace(files, expected=relative(canonical(ledger), data))


def new_ledger(folder: Path) -> Ledger:
    return open_ledger(f"sqlite:///{folder}/ledger.db", create=True)


def passes(monitor: Monitor, rng: np.random.Generator) -> Iterator[bool]:
    """Run a monitor and kill it in a transaction, after some exposures, or never; yield if killed."""
    left = int(rng.integers(0, 3))

    def fail_later(*arguments) -> None:
        nonlocal left
        queue_notices(*arguments)
        left -= 1
        if left < 0:
            raise Killed

    how = rng.integers(3)
    try:
        with mock.patch(QUEUE, fail_later if how == 0 else queue_notices):
            for number, _ in enumerate(monitor.run(watching=True)):
                if how == 1 and number == left:
                    raise Killed
    except Killed:
        yield True
    else:
        yield False


def test_expected_ledger_covers_all_outcomes(files):
    statuses = [dates for _, dates, *_ in files.expected["blobs"]]
    assert sum("confirmed" in one for one in statuses) == 2
    assert sum("candidate" in one for one in statuses) == 2  # one place, twice: the first expired
    outcomes = [row[10] for row in files.expected["exposures"]]
    assert sorted(set(outcomes)) == ["judged", "no stack", "unfit"]
    assert outcomes[5] == "unfit"


@pytest.mark.parametrize("seed", range(10))
def test_ledger_is_independent_of_order_and_kills(files, tmp_path, seed):
    rng = np.random.default_rng(seed)
    order = [files.names[one] for one in rng.permutation(len(files.names))]
    data, ledger = tmp_path / "data", new_ledger(tmp_path)
    data.mkdir()
    overruled = int(rng.integers(len(order)))
    monitor, begin = files.monitor(data, ledger), 0
    while begin < len(order):
        end = begin + int(rng.integers(1, 5))
        files.arrive(data, *order[begin:end])
        if begin <= overruled < end:
            reject(ledger, tmp_path)
        if any(passes(monitor, rng)):
            monitor = files.monitor(data, ledger)
        begin = end
    list(monitor.run())
    found = relative(canonical(ledger), data)
    assert found["exposures"] == files.expected["exposures"]
    assert found["blobs"] == files.expected["blobs"]
    assert list(monitor.run()) == []
