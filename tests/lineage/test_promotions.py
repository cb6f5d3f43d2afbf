import hashlib
import json

import pytest

from blobwatch.errors import BlobwatchError
from blobwatch.lineage import promotions


def record(version: int) -> dict:
    return dict.fromkeys(promotions.KEYS - {"previous"}, "x") | {"version": version}


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "models/promotions.jsonl"
    for version in (1, 2, 3):
        promotions.append(path, record(version))
    return path


def test_reads_what_was_appended(log):
    assert [one["version"] for one in promotions.read(log)] == [1, 2, 3]


def test_each_line_holds_the_hash_of_the_line_before(log):
    lines = log.read_text().splitlines()
    previous = [json.loads(line)["previous"] for line in lines]
    assert previous == ["", *(hashlib.sha256(line.encode()).hexdigest() for line in lines[:2])]


def test_no_log_is_no_promotion(tmp_path):
    assert promotions.read(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: [lines[0].replace("x", "y"), *lines[1:]], "line 2 does not continue"),
        (lambda lines: lines[1:], "line 1 does not continue"),
        (lambda lines: [lines[0], lines[2]], "line 2 does not continue"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], "line 2 does not continue"),
        (lambda lines: [*lines[:2], lines[2][:20]], "line 3 is no JSON"),
        (lambda lines: [*lines[:2], "{}"], "line 3 lacks"),
        (lambda lines: [*lines[:2], "[]"], "line 3 is no JSON record"),
    ],
)
def test_a_broken_chain_is_named_and_not_added_to(log, change, sentence):
    log.write_text("\n".join(change(log.read_text().splitlines())) + "\n")
    broken = log.read_text()
    with pytest.raises(BlobwatchError, match=sentence):
        promotions.read(log)
    with pytest.raises(BlobwatchError, match=sentence):
        promotions.append(log, record(4))
    assert log.read_text() == broken


def test_a_record_has_the_keys_of_the_log(log):
    with pytest.raises(BlobwatchError, match="differ: mood, reason"):
        promotions.append(log, {key: 1 for key in promotions.KEYS - {"reason"}} | {"mood": "good"})
    assert len(promotions.read(log)) == 3
