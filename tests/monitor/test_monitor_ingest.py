"""Ingest of an exposure: matching, confirmation, dates by light curve."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from monitor.example_exposures import canonical
from sqlalchemy import select, update

from blobwatch.detections import FoundBlob
from blobwatch.instrument.exposure_files import ExposureFile
from blobwatch.monitor.analysis import ExposureAnalysis
from blobwatch.monitor.channels import Channel
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.monitor.ledger.ingest import ingest
from blobwatch.monitor.ledger.rows import light_curve_of, list_blobs
from blobwatch.monitor.ledger.tables import (
    JUDGED,
    NO_STACK,
    REJECTED,
    UNFIT,
    Blob,
    Exposure,
    LightCurvePoint,
    Model,
    Notice,
    Review,
)
from blobwatch.monitor.notices import queue_notices
from blobwatch.predict import Prediction
from blobwatch.settings import Settings

PICTURES = {"before": b"1", "after": b"2", "difference": b"3"}
CHANNEL = Channel("key", "json://host", None)
PLACE = (400.0, 300.0)
NEAR, FAR = (404.0, 300.0), (400.0, 310.5)  # of the place
WHOLE, NONE = (0.04, 0.002), (0.001, 0.002)  # light that is missing, and its error
UNKNOWN = (0.0, None)


@dataclass(frozen=True)
class MadeSky:
    """An image with the same missing light at each place."""

    rootname: str
    light: tuple[float, float | None]

    def missing(self, x: float, y: float, radius: float) -> tuple[float, float | None]:
        return self.light


@dataclass
class Season:
    """A ledger into which exposures are ingested."""

    ledger: object
    channels: tuple[Channel, ...] = (CHANNEL,)
    skies: dict[str, MadeSky] = field(default_factory=dict)

    def take(
        self,
        day: float,
        *places: tuple[float, float],
        light: tuple = NONE,
        filter: str = "F153M",
        outcome: str = JUDGED,
        snr: float = 20.0,
        name: str = "",
        flats: str = "none",
        md5: str = "0" * 32,
    ) -> IngestResult:
        name = name or f"i{day:07.2f}{filter.lower()}"
        found = [FoundBlob(x, y, 5.0, 0.9 - 0.1 * rank, snr, 0.04) for rank, (x, y) in enumerate(places)]
        listed = ExposureFile(Path("/sky") / name, name, day, filter, "14392", stamp="1 1")
        sky = None if outcome == UNFIT else MadeSky(name, light)
        frame, masked = np.zeros((1, 1)), np.zeros((1, 1), dtype=bool)
        prediction = Prediction(name, name, "exposure", {}, 0.5, np.zeros(16), found, frame, masked)
        analysis = ExposureAnalysis(listed, md5, flats, outcome, image=sky)
        if outcome == JUDGED:
            analysis = replace(analysis, prediction=prediction, cutouts=(PICTURES,) * len(found))
        self.skies[name] = sky
        with self.ledger.writing() as session:
            model = session.scalars(select(Model)).first()
            model = model or Model(sha256="1", fingerprint="2", threshold=0.5)
            session.add(model)
            session.flush()
            result = ingest(session, analysis, model, lambda row: self.skies[row.rootname], Settings())
            session.execute(update(Exposure).values(due=""))
            queue_notices(session, result, list(self.channels), {})
        return result

    def blobs(self) -> list[dict]:
        with self.ledger.reading() as session:
            return list_blobs(session)

    def dates(self) -> tuple[float | None, float, float]:
        (blob,) = self.blobs()
        with self.ledger.reading() as session:
            last = session.get(Blob, blob["id"]).last.expstart
        return blob["last_without"], blob["first_seen"], last

    def notices(self) -> list[str]:
        with self.ledger.reading() as session:
            return [one.subject for one in session.scalars(select(Notice))]

    def reject(self, number: int) -> None:
        with self.ledger.writing() as session:
            blob = session.get(Blob, number)
            session.add(
                Review(blob=blob, verdict=REJECTED, reason="star", who="Ada", at="", model=blob.model)
            )
            blob.status = REJECTED


@pytest.fixture
def season(tmp_path) -> Season:
    return Season(open_ledger(f"sqlite:///{tmp_path}/ledger.db", create=True))


def ids(blobs: list[Blob]) -> list[int]:
    return [one.id for one in blobs]


def test_second_detection_confirms_and_announces_once(season):
    season.take(1)
    first = season.take(2, PLACE, light=WHOLE)
    assert (ids(first.new), ids(first.confirmed), season.notices()) == ([1], [], [])
    second = season.take(3, NEAR, light=WHOLE)
    assert (ids(second.new), ids(second.confirmed), season.notices()) == ([], [1], ["blob 1"])
    third = season.take(4, PLACE, light=WHOLE)
    assert (ids(third.found), ids(third.confirmed), season.notices()) == ([1], [], ["blob 1"])


def test_distant_detection_is_another_blob(season):
    season.take(1, PLACE)
    assert ids(season.take(2, FAR).new) == [2]


def test_detection_after_expiry_is_another_blob(season):
    """Otherwise old transient candidates would confirm and date later blobs."""
    season.take(1)
    season.take(5, PLACE, light=WHOLE)
    for day in (6, 36):
        season.take(day)
    again = season.take(37, PLACE, light=WHOLE)
    assert (ids(again.new), ids(again.confirmed)) == ([2], [])
    season.take(38, light=WHOLE)
    assert ids(season.take(39, NEAR, light=WHOLE).confirmed) == [2]
    dates = [[one[key] for key in ("last_without", "first_seen", "last_seen")] for one in season.blobs()]
    assert dates == [[1, 5, 5], [36, 37, 39]]


@pytest.mark.parametrize(("between", "verdict"), [(WHOLE, None), (NONE, REJECTED)])
def test_visible_or_reviewed_candidate_does_not_expire(season, between, verdict):
    season.take(1)
    season.take(5, PLACE, light=WHOLE)
    season.take(20, light=between)
    if verdict:
        season.reject(1)
    assert ids(season.take(45, PLACE, light=WHOLE).found) == [1]


def test_two_detections_in_one_exposure_are_two_blobs(season):
    assert ids(season.take(1, PLACE, NEAR).found) == [1, 2]
    again = season.take(2, NEAR, PLACE)
    assert (ids(again.found), ids(again.new), ids(again.confirmed)) == ([2, 1], [], [1, 2])


def test_nearest_detection_matches_known_blob(season):
    """The more probable detection comes first, but the nearer one is the known blob."""
    season.take(1, PLACE)
    both = season.take(2, NEAR, PLACE)
    assert (ids(both.found), ids(both.new)) == ([2, 1], [2])


def test_blob_has_measures_of_best_detection(season):
    season.take(1, PLACE, snr=10)
    season.take(2, NEAR, snr=30)
    season.take(3, PLACE, snr=20)
    (blob,) = season.blobs()
    assert (blob["x"], blob["snr"], blob["detections"]) == (NEAR[0], 30, 3)


@pytest.mark.parametrize("found", [1, 2])
def test_rejected_blob_stays_rejected(season, found):
    for day in range(found):
        season.take(1 + day, PLACE)
    before = season.notices()
    season.reject(1)
    entered = season.take(9, PLACE)
    assert (ids(entered.found), ids(entered.new), ids(entered.confirmed)) == ([1], [], [])
    assert season.blobs()[0]["status"] == REJECTED
    assert season.notices() == before


# Days in the order of arrival, each with the missing light (- none, w all, ? unknown, x unfit exposure) and a
# mark (+ the blob is detected, * another filter); then the dates of the blob: last without, first, last.
LIGHT = {"-": NONE, "w": WHOLE, "?": UNKNOWN, "x": NONE}
SEASONS = {
    "a late detection is dated by the light curve": ("1- 2- 3- 4w 5w 6w+", (3, 4, 6)),
    "one exposure without the blob changes nothing": ("1- 2- 3- 4w+ 5w 6w 7- 8w+", (3, 4, 8)),
    "unknown light changes nothing": ("1- 2? 3w 4? 5w+ 6?", (1, 3, 5)),
    "without light the detection counts": ("1- 2?+", (None, 2, 2)),
    "another filter changes nothing": ("1- 2w* 3-* 4w+ 5w* 3.5w*", (1, 4, 4)),
    "an unfit exposure changes nothing": ("1- 2x 3w+", (1, 3, 3)),
    "the onset is limited by the lookback": ("1w 2- 3- 70w+", (None, 70, 70)),
    "without an earlier exposure the onset is unbounded": ("1w+", (None, 1, 1)),
    "a blob in the stack is last seen by the light curve": ("1- 2w+ 3w 4w 5-", (1, 2, 4)),
    "before a late exposure": ("1- 5w+ 6w+", (1, 5, 6)),
    "a late exposure with the blob": ("1- 5w+ 6w+ 3w", (1, 3, 6)),
    "a late exposure without the blob": ("1- 5w+ 6w+ 3-", (3, 5, 6)),
    "a late exposure with unknown light": ("1- 5w+ 6w+ 3?", (1, 5, 6)),
    "before a late exposure after the onset": ("1- 3w 5w+", (1, 3, 5)),
    "a late exposure after the onset": ("1- 3w 5w+ 4-", (4, 5, 5)),
    "a detection in a late exposure": ("1- 5w+ 3w+", (1, 3, 5)),
}


@pytest.mark.parametrize(("days", "dates"), SEASONS.values(), ids=SEASONS)
def test_dates_of_blob(season, days, dates):
    for day, light, mark in re.findall(r"([\d.]+)([-w?x])([+*]?)", days):
        places, about = [PLACE] if mark == "+" else [], {"filter": "F160W"} if mark == "*" else {}
        about |= {"outcome": UNFIT} if light == "x" else {}
        result = season.take(float(day), *places, light=LIGHT[light], **about)
    assert season.dates() == dates
    assert ids(result.confirmed) == ([1] if mark == "+" and days.count("+") == 2 else [])


def test_light_curve_has_one_filter(season):
    season.take(1)
    season.take(2, light=WHOLE, filter="F160W")
    season.take(4, PLACE, light=WHOLE)
    season.take(5, light=WHOLE, filter="F160W")
    with season.ledger.reading() as session:
        light = light_curve_of(session, session.get(Blob, 1))
    assert light["mjd"].tolist() == [1, 4]


def test_exposure_without_stack_is_replaced(season):
    season.take(1)
    season.take(3, light=WHOLE, outcome=NO_STACK)
    season.take(4, PLACE, light=WHOLE)
    season.take(3, PLACE, light=WHOLE)
    assert season.dates() == (1, 3, 4)
    with season.ledger.reading() as session:
        light = [(one.blob_id, one.exposure_id) for one in session.scalars(select(LightCurvePoint))]
    assert sorted(light) == [(1, 1), (1, 2), (1, 3)]


def test_simultaneous_exposures_do_not_date_each_other(season):
    season.take(1)
    season.take(2, PLACE, light=WHOLE, name="i3")
    season.take(2, light=WHOLE, name="i2")
    season.take(3, PLACE, light=WHOLE)
    assert season.dates() == (1, 2, 3)
    assert season.blobs()[0]["first_rootname"] == "i3"


def timeline(seed: int) -> list[dict]:
    """Return random exposures over a hundred days in two filters, with detections at two places."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(np.arange(100), 16, replace=False)).tolist()
    made = []
    for day in days:
        outcome = rng.choice([JUDGED, JUDGED, JUDGED, NO_STACK, UNFIT])
        places = [place for place in (PLACE, FAR) if rng.random() < 0.3]
        light = [WHOLE, NONE, UNKNOWN][rng.choice(3, p=[0.45, 0.45, 0.1])]
        made.append({"day": float(day), "places": places if outcome == JUDGED else [], "light": light})
        made[-1] |= {"outcome": outcome, "filter": str(rng.choice(["F153M", "F153M", "F160W"]))}
        made[-1] |= {"flats": str(rng.choice(["new", "new", "old"])), "snr": float(rng.uniform(8, 40))}
    return made


@pytest.mark.parametrize("seed", range(6))
def test_result_is_independent_of_arrival_order(tmp_path, seed):
    """Some arrive twice, at first with different content."""
    rng, exposures = np.random.default_rng(seed), timeline(seed)
    found = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        season = Season(open_ledger(f"sqlite:///{folder}/ledger.db", create=True), ())
        arrivals = list(exposures)
        if number:
            other = {"places": [(700.0, 700.0)], "light": WHOLE, "outcome": JUDGED, "md5": "1" * 32}
            wrong = [one | other for one in exposures[::4]]
            arrivals = [arrivals[one] for one in rng.permutation(len(arrivals))]
            for one in wrong:
                place = next(i for i, right in enumerate(arrivals) if right["day"] == one["day"])
                arrivals.insert(int(rng.integers(place + 1)), one)
        for one in arrivals:
            places = {key: value for key, value in one.items() if key not in ("day", "places")}
            season.take(one["day"], *one["places"], **places)
        found.append(canonical(season.ledger))
        season.ledger.engine.dispose()
    assert found[0]["blobs"]
    assert found[0] == found[1] == found[2]
