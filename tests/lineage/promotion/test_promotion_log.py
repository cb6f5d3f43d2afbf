import hashlib
import json

import pytest

from blobwatch.errors import BlobwatchError
from blobwatch.lineage.promotion import promotion_log


def record(version: int) -> dict:
    return dict.fromkeys(promotion_log.KEYS - {"previous"}, "x") | {"version": version}


def append(path, one: dict) -> dict:
    written, line = promotion_log.compose(path, one)
    promotion_log.append(path, line)
    return written


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "models/promotions.jsonl"
    for version in (1, 2, 3):
        append(path, record(version))
    return path


def test_read_returns_appended_records(log):
    assert [one["version"] for one in promotion_log.read(log)] == [1, 2, 3]


def test_each_line_contains_hash_of_previous_line(log):
    lines = log.read_text().splitlines()
    previous = [json.loads(line)["previous"] for line in lines]
    assert previous == ["", *(hashlib.sha256(line.encode()).hexdigest() for line in lines[:2])]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: [lines[0].replace("x", "y"), *lines[1:]], "line 2 does not continue"),
        (lambda lines: lines[1:], "line 1 does not continue"),
        (lambda lines: [lines[0], lines[2]], "line 2 does not continue"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], "line 2 does not continue"),
        (lambda lines: [*lines[:2], lines[2][:20]], "line 3 is not a JSON"),
        (lambda lines: [*lines[:2], "{}"], "line 3 lacks"),
        (lambda lines: [*lines[:2], "[]"], "line 3 is not a JSON record"),
    ],
)
def test_broken_chain_is_reported_and_not_extended(log, change, sentence):
    log.write_text("\n".join(change(log.read_text().splitlines())) + "\n")
    broken = log.read_text()
    with pytest.raises(BlobwatchError, match=sentence):
        promotion_log.read(log)
    with pytest.raises(BlobwatchError, match=sentence):
        append(log, record(4))
    assert log.read_text() == broken


def test_record_with_wrong_keys_is_rejected(log):
    with pytest.raises(BlobwatchError, match="Different keys: mood, reason"):
        append(log, {key: 1 for key in promotion_log.KEYS - {"reason"}} | {"mood": "good"})
    assert len(promotion_log.read(log)) == 3


def test_failed_gates_are_stored(log):
    append(log, record(4) | {"forced": ["it is worse"]})
    assert promotion_log.read(log)[-1]["forced"] == ["it is worse"]


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda lines: lines, None),
        (lambda lines: [*lines, "more"], None),
        (lambda lines: [lines[0], lines[1].replace("x", "y"), lines[2]], 2),
        (lambda lines: lines[:2], 3),
        (lambda lines: [lines[1], lines[0], lines[2]], 1),
        (lambda lines: [], 1),
    ],
)
def test_first_change_finds_first_different_line(log, change, first):
    lines = promotion_log.lines(log)
    assert promotion_log.first_change(lines, change(lines)) == first


def history(*steps: int | str) -> list[dict]:
    """Return the records of promotions (a version) and rollbacks ("back")."""
    records = []
    for step in steps:
        if step == "back":
            before = promotion_log.deployed_before(records)
            records.append(before | {"action": "rollback"})
        else:
            records.append(record(step) | {"action": "promote"})
    return records


@pytest.mark.parametrize(
    ("steps", "before"),
    [
        ((1, 2), 1),
        ((1, 2, 3, "back"), 1),
        ((1, 2, 3, "back", "back"), None),
        ((1, 2, "back", 3), 1),
        ((1, 2, 1), 2),
        ((1,), None),
        ((), None),
    ],
)
def test_deployed_before_returns_previous_champion(steps, before):
    found = promotion_log.deployed_before(history(*steps))
    assert (found and found["version"]) == before
