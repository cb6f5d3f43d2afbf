"""Commands ``monitor`` and ``blobs`` on real files."""

import json

import pytest
from monitor.example_exposures import APPEARED, COUNT, LOUD, NAMES, PASSED, blobwatch
from synthetic import parse_json_lines, write_exposure


@pytest.fixture(scope="module")
def listed(seen) -> list[dict]:
    return json.loads(blobwatch("blobs", "--ledger", f"sqlite:///{seen}", "--json").stdout)


def test_blob_is_confirmed_dated_and_placed(listed):
    loud = listed[0]
    assert loud["status"] == "confirmed"
    assert (loud["last_without_rootname"], loud["first_rootname"]) == (NAMES[APPEARED - 1], NAMES[APPEARED])
    assert abs(loud["x"] - LOUD.x) < 1
    assert abs(loud["y"] - LOUD.y) < 1
    assert loud["detections"] >= 2


def test_blob_in_stack_is_not_detected_again(listed):
    assert len(listed) == 2
    assert listed[0]["detections"] < COUNT - APPEARED  # the stack took it up
    assert listed[0]["last_rootname"] == NAMES[-1]


def test_single_detection_stays_candidate(listed):
    passing = listed[1]
    assert (passing["status"], passing["detections"]) == ("candidate", 1)
    assert passing["first_rootname"] == passing["last_rootname"] == NAMES[PASSED]


def test_second_run_changes_nothing(watched):
    before = blobwatch("blobs", "--ledger", watched.url, "--json").stdout
    done = blobwatch("monitor", watched.folder, "--ledger", watched.url, "--model", watched.model, "--json")
    assert done.stdout == ""
    assert blobwatch("blobs", "--ledger", watched.url, "--json").stdout == before


def test_only_new_exposure_is_analyzed(watched, tmp_path):
    """Its stack uses files of the folder in the ledger."""
    write_exposure(tmp_path, COUNT, [LOUD])
    done = blobwatch("monitor", tmp_path, "--ledger", watched.url, "--model", watched.model, "--json")
    (line,) = parse_json_lines(done.stdout)
    assert (line["outcome"], line["blobs"]) == ("judged", [])
