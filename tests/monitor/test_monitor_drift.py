"""Drift: comparison of the newest exposures with the training data."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.channels import Channel
from blobwatch.monitor.drift import (
    REFERENCE,
    MeanStatistic,
    Reference,
    describe_drift,
    find_drift,
    mean_statistics,
    new_drift,
    read_reference,
)
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.monitor.ledger.queries import list_notices
from blobwatch.monitor.ledger.tables import JUDGED, UNFIT, Exposure, Model
from blobwatch.monitor.notices import queue_notices, send_notices
from blobwatch.monitor.statistics import STATISTICS

USUAL = {"noise": 0.01, "contaminants": 0.001, "score": -3.0, "found": 1.0}
RANGES = {name: {"mean": v, "low": v - abs(v) / 10, "high": v + abs(v) / 10} for name, v in USUAL.items()}
MINE = Reference("a" * 64, 3, RANGES)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "ledger.db"
    open_ledger(f"sqlite:///{path}", create=True)
    return path


@pytest.fixture
def ledger(empty, tmp_path):
    (tmp_path / "ledger.db").write_bytes(empty.read_bytes())
    return open_ledger(f"sqlite:///{tmp_path}/ledger.db")


def model_in(session, sha256: str = MINE.model) -> Model:
    known = session.query(Model).filter_by(sha256=sha256).first()
    return known or Model(version=1, sha256=sha256, fingerprint="0" * 64, threshold=0.5)


def take(session, day: float, outcome: str = JUDGED, sha256: str = MINE.model, **traits: float) -> Exposure:
    """Add an exposure with usual statistics except for some."""
    name = f"iday{round(100 * day):05d}"
    exposure = Exposure(
        rootname=name, path=name, stamp="", md5="", expstart=58000.0 + day, filter="F153M", programme=""
    )
    for trait, value in (USUAL | traits).items():
        setattr(exposure, trait, value)
    exposure.outcome, exposure.judged_at, exposure.model = outcome, "", model_in(session, sha256)
    session.add(exposure)
    session.flush()
    return exposure


def watched_days(ledger, noises: list[float]) -> list[dict[str, str]]:
    """Return the new drift on each day, for a noise per day."""
    with ledger.writing() as session:
        return [new_drift(session, take(session, day, noise=value), MINE) for day, value in enumerate(noises)]


def test_drift_is_reported_once_per_excursion(ledger):
    low, high = 0.01, 0.016
    days = watched_days(ledger, [low, low, high, high, high, low, low, low, high, high])
    assert [set(day) for day in days] == [set(), set(), {"noise"}, *[set()] * 5, {"noise"}, set()]


def test_training_like_exposures_have_no_drift(ledger):
    rng = np.random.default_rng(1)
    assert not any(watched_days(ledger, list(0.01 * (1 + 0.03 * rng.normal(size=20)))))


def test_too_few_exposures_have_no_drift(ledger):
    assert watched_days(ledger, [0.05, 0.05]) == [{}, {}]
    with ledger.writing() as session:
        model = model_in(session)
        assert mean_statistics(session, model, 3) == []
        assert set(new_drift(session, take(session, 2, noise=0.05), MINE)) == {"noise"}


def test_reference_of_other_model_is_ignored(ledger):
    with ledger.writing() as session:
        newest = [take(session, day, noise=0.05) for day in range(3)][-1]
        assert set(new_drift(session, newest, MINE)) == {"noise"}
        assert new_drift(session, newest, replace(MINE, model="b" * 64)) == {}
        assert new_drift(session, newest, None) == {}
        assert find_drift(session, newest.model, None) == []


def test_exposures_of_other_models_do_not_count(ledger):
    with ledger.writing() as session:
        for day in range(5):
            take(session, day, sha256="b" * 64, noise=0.05)
        take(session, 5, outcome=UNFIT, noise=0.05)
        days = [new_drift(session, take(session, day), MINE) for day in range(6, 8)]
        assert mean_statistics(session, model_in(session), 3) == []
        days.append(new_drift(session, take(session, 8), MINE))
        assert days == [{}, {}, {}]
        (mean, *_) = mean_statistics(session, model_in(session), 3)
        assert (mean.name, mean.mean) == ("noise", pytest.approx(0.01))


def test_late_exposure_reports_no_drift(ledger):
    with ledger.writing() as session:
        for day in range(6):
            take(session, day)
        days = [new_drift(session, take(session, day, noise=0.05), MINE) for day in range(10, 13)]
        assert [set(day) for day in days] == [{"noise"}, set(), set()]
        assert new_drift(session, take(session, 9, noise=0.05), MINE) == {}
        assert new_drift(session, take(session, 13, noise=0.05), MINE) == {}


def test_each_statistic_has_its_own_range(ledger):
    with ledger.writing() as session:
        for day in range(3):
            newest = take(session, day, contaminants=0.0005, score=-1.0, found=1.1)
        told = new_drift(session, newest, MINE)
        assert list(told) == ["contaminants", "score"]
        assert told["score"].startswith(f"{STATISTICS['score']}: -1 ± ")


def test_drift_message_has_mean_error_and_range(ledger):
    with ledger.writing() as session:
        for day, noise in enumerate((0.5, 0.015, 0.016, 0.02)):
            newest = take(session, day, noise=noise)
        (one,) = find_drift(session, newest.model, MINE)
    values = np.array([0.015, 0.016, 0.02])
    assert one == MeanStatistic(
        "noise", pytest.approx(values.mean()), pytest.approx(values.std(ddof=1) / np.sqrt(3))
    )
    assert describe_drift(one, MINE) == (
        "noise per pixel: 0.0170 ± 0.0015 over the last 3 exposures, "
        "outside 0.009 to 0.011 of the training data (mean 0.01)"
    )


def test_mean_of_one_exposure_has_zero_error(ledger):
    with ledger.writing() as session:
        take(session, 0, noise=0.03)
        assert mean_statistics(session, model_in(session), 1)[0] == MeanStatistic("noise", 0.03, 0.0)


def test_drift_is_sent_as_notice(ledger):
    class Kept(Channel):
        def send(self, title, body, picture) -> str:
            self.service.append((title, body, picture))
            return ""

    channel = Kept("f" * 64, "kept://…", [])
    with ledger.writing() as session:
        for day in range(3):
            newest = take(session, day, noise=0.05)
        queue_notices(session, IngestResult(newest, [], [], []), [channel], new_drift(session, newest, MINE))
    assert send_notices(ledger, [channel]) == [("drift of noise since iday00200", "")]
    ((title, body, picture),) = channel.service
    assert (title, picture) == ("blobwatch: drift", None)
    said, since = body.splitlines()
    assert said.startswith("noise per pixel: 0.05 ± ")
    assert since == "Since iday00200. Judged by version 1 of blobwatch. Notice 1."
    with ledger.reading() as session:
        assert list_notices(session, 1) == []


def written(path, **changes):
    content = {"model": MINE.model, "together": MINE.together, "ranges": RANGES, "exposures": []} | changes
    path.write_text(json.dumps(content))
    return path


def test_reference_round_trip(tmp_path):
    assert read_reference(written(tmp_path / "reference.json")) == MINE
    assert read_reference(tmp_path / "none.json") is None


def test_reference_of_current_folder_has_priority(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / REFERENCE).parent.mkdir(parents=True)
    written(tmp_path / REFERENCE)
    assert read_reference() == MINE


@pytest.mark.parametrize(
    "text",
    [
        *["", "{", "[]", "null", "3", '{"model": "a"}', "\x00"],
        json.dumps({"model": "a", "together": 3, "ranges": {"noise": RANGES["noise"]}}),
        json.dumps({"model": "a", "together": 3, "ranges": RANGES | {"found": [0, 1]}}),
        json.dumps({"model": "a", "together": 3, "ranges": RANGES | {"found": {"mean": 1, "low": "x"}}}),
        json.dumps({"model": "a", "together": 0, "ranges": RANGES}),
        json.dumps({"model": "a", "together": "many", "ranges": RANGES}),
    ],
)
def test_damaged_reference_is_reported(tmp_path, text):
    path = tmp_path / "reference.json"
    path.write_text(text)
    with pytest.raises(BlobwatchError, match=r"reference\.json: damaged\. Restore it, or run `dvc repro ref"):
        read_reference(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BlobwatchError, match=r"reference\.json: damaged\. Restore it, or run `dvc repro ref"):
        read_reference(path)


def test_false_warning_rate_matches_confidence(params):
    """Over all pairs of runs of neighbouring training exposures."""
    path = ROOT / REFERENCE
    known, settings = read_reference(path), params.reference
    rows = json.loads(path.read_text())["exposures"]
    count, length, stated = len(rows), settings.together, 1 - settings.confidence
    assert known.together == settings.exposures == 2 * length
    runs = (np.arange(count)[:, None] + np.arange(length)) % count
    for name in STATISTICS:
        half = np.array([row[name] for row in rows])[runs].mean(axis=1)
        means = (half[:, None] + half) / 2
        digit = 1e-5 * np.abs(means).max()  # as the file is rounded
        low, high = known.ranges[name]["low"] - digit, known.ranges[name]["high"] + digit
        share = ((means < low) | (means > high)).mean()
        assert share == pytest.approx(stated, abs=4 / means.size), name  # a draw counts twice, at either end
