"""Comparable exposures, rejection and stacks of a history."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import write_exposure

from blobwatch.errors import BlobwatchError
from blobwatch.history import History
from blobwatch.instrument.calibration import Calibration
from blobwatch.instrument.exposure_files import ExposureFile, list_exposures
from blobwatch.overrules import ACCEPT, CLEAR, REJECT, Overrule, append_overrules, read_overrules
from blobwatch.settings import DifferenceSettings

OLD = Calibration("COMPLETE", pflt="u4m1335mi_pfl.fits")
NEW = Calibration("COMPLETE", pflt="4ac1921ii_pfl.fits")


def make_listed(
    name: str, day: float, filter_: str = "F153M", calibration=OLD, product="flt"
) -> ExposureFile:
    return ExposureFile(f"{name}.fits", name, day, filter_, calibration=calibration, product=product)


@pytest.fixture(scope="module")
def week(tmp_path_factory) -> list[ExposureFile]:
    """Return seven exposures on seven days; the fifth has a steep glow."""
    folder = tmp_path_factory.mktemp("week")
    light = np.linspace(0.1, 1.9, 1024)[None, :] * np.ones((1024, 1))
    for number in range(7):
        write_exposure(folder, number, light=light if number == 4 else 1.0)
    return list_exposures(folder)


def test_earlier_exposures_share_filter_flats_and_window():
    one = make_listed("e", 100.0)
    others = [
        make_listed("a", 69.9),
        make_listed("b", 70.0),
        make_listed("c", 99.9),
        make_listed("d", 100.0),
        make_listed("f", 140.0),
    ]
    others += [
        make_listed("g", 90.0, "F160W"),
        make_listed("h", 91.0, calibration=NEW),
        make_listed("i", 92.0, product="raw"),
    ]
    history = History([one, *others])
    assert [other.rootname for other in history.earlier(one)] == ["b", "c"]


def test_stack_needs_exposures_with_the_same_flats():
    series = [make_listed(f"a{n}", 100.0 + n) for n in range(5)]
    series += [make_listed(f"b{n}", 105.0 + n, calibration=NEW) for n in range(2)]
    message = (
        "b1: 0 accepted .* a stack needs 3; .*the flats changed from u4m1335mi_pfl.fits to 4ac1921ii_pfl.fits"
    )
    with pytest.raises(BlobwatchError, match=message):
        History(series).members(series[-1])


def test_rejected_exposure_is_stacked_only_if_accepted_by_a_person(week):
    names = [one.rootname for one in week]
    history = History(week)
    assert [bool(history.rejection(one)) for one in week] == [number == 4 for number in range(7)]
    assert [one.rootname for one in history.members(week[6])] == names[:4] + names[5:6]
    accepted = Overrule(names[4], ACCEPT, "Ada", "2026-11-27", "the glow does not matter")
    rejected = Overrule(names[0], REJECT, "Ada", "2026-11-27", "no")
    overruled = History(week, overrules={one.rootname: one for one in (accepted, rejected)})
    assert [one.rootname for one in overruled.members(week[6])] == names[1:6]
    assert overruled.rejection(week[0]) == "overruled by Ada: no"


def test_verdict_is_independent_of_later_exposures_and_call_order(week):
    forward, backward = History(week[:6]), History(week)
    expected = [forward.quality(one) for one in week[:6]]
    assert [backward.quality(one) for one in reversed(week[:6])][::-1] == expected
    known = History()
    for one, quality in zip(week, [*expected, None], strict=True):
        known.add(one, quality)  # as from a ledger; no file of the past is read again
    assert known.rejection(week[6]) == backward.rejection(week[6])
    np.testing.assert_array_equal(known.stack(week[6]), backward.stack(week[6]))


def test_replaced_exposure_is_measured_again(week, tmp_path):
    history = History(week, DifferenceSettings(minimum=2))
    assert history.rejection(week[4])
    path = write_exposure(tmp_path, 4)
    better = replace(week[4], path=path)
    history.add(better)
    assert history.rejection(better) == ""


def test_unreadable_file_is_not_stacked(week, tmp_path):
    gone = replace(week[2], path=tmp_path / "gone_flt.fits")
    history = History([*week[:2], gone, *week[3:]])
    assert gone.rootname not in [one.rootname for one in history.members(week[6])]
    assert "No such file" in history.rejection(gone)


def test_last_decision_is_in_force(tmp_path):
    rows = [
        Overrule("ia01", REJECT, "Ada", "2026-11-27T10:00:00+00:00", "no, it's bad"),
        Overrule("ia02", ACCEPT, "Bob", "2026-11-27T11:00:00+00:00", "fine"),
        Overrule("ia01", CLEAR, "Ada", "2026-11-27T12:00:00+00:00", "a mistake"),
    ]
    append_overrules(tmp_path, rows[:2])
    append_overrules(tmp_path, rows)  # what is there already is not repeated
    assert read_overrules(tmp_path) == {"ia02": rows[1]}
    text = (tmp_path / "overrules.csv").read_text()
    assert len(text.splitlines()) == 4
    (tmp_path / "overrules.csv").write_text(text.replace("Bob", ""))
    with pytest.raises(BlobwatchError, match=r"overrules\.csv, line 3: needs rootname, verdict"):
        read_overrules(tmp_path)
    assert read_overrules(tmp_path / "absent") == {}


def test_including_is_temporary(week, tmp_path):
    history = History(week[:4])
    before = [one.rootname for one in history.earlier(week[6])]
    other = replace(week[1], path=write_exposure(tmp_path, 1))
    with history.including(week[5]), history.including(other):
        assert history.exposures[other.rootname] == other
        assert week[5].rootname in [one.rootname for one in history.earlier(week[6])]
    assert [one.rootname for one in history.earlier(week[6])] == before
    assert history.exposures[week[1].rootname] == week[1]


def test_added_exposure_resets_later_measures(week):
    history = History([*week[:2], week[3], week[5]])
    assert np.isnan(history.quality(week[3]).excess)  # two are before it
    history.add(week[2])
    assert np.isfinite(history.quality(week[3]).excess)
    assert history.quality(week[3]) == History(week).quality(week[3])
