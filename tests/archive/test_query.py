"""What is asked for: dates, products, names, in sentences where they cannot be."""

from datetime import date

import pytest

from blobwatch.archive.query import day_of, wanted_from
from blobwatch.errors import BlobwatchError

NOTHING = {"target": None, "filter": None, "start": None, "end": None, "product": "flt"}
NOTHING |= {"proposals": [], "rootnames": []}


def wanted(**given):
    return wanted_from(NOTHING | given)


def test_the_target_is_the_monitor_s_unless_something_else_is_named():
    assert wanted().target == "DARK-EARTH-CALIB"
    assert wanted(start="2016-01-01").target == "DARK-EARTH-CALIB"
    assert wanted(proposals=["14389"]).target == ""
    assert wanted(rootnames=["ich219i8q"]).target == ""
    assert wanted(target="ngc-3603", proposals=["14389"]).target == "NGC-3603"


def test_the_last_day_is_in_it():
    span = wanted(start="2016-01-01", end="2016-01-31").span
    assert span == (57388, 57419)
    assert [day_of(when) for when in (57388.0, 57418.999)] == ["2016-01-01", "2016-01-31"]
    assert wanted(start="2016-01-01", end="2016-01-01").span == (57388, 57389)


def test_names_are_written_as_the_archive_does():
    one = wanted(proposals=["014389"], rootnames=[" ICH219I8Q"], product="RAW", filter="f153m")
    assert (one.proposals, one.rootnames) == (("14389",), ("ich219i8q",))
    assert (one.product, one.filter) == ("raw", "F153M")


def test_it_says_what_it_asks_for():
    one = wanted(filter="F153M", start="2016-01-01", end="2016-06-30")
    assert str(one) == "flt of DARK-EARTH-CALIB in F153M from 2016-01-01 to 2016-06-30"
    assert one.start == date(2016, 1, 1)
    assert not one.unlimited
    assert wanted(filter="F153M").unlimited


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"start": "2016-13-01"}, "--start 2016-13-01 is no day; give one as 2016-01-31"),
        ({"end": "June"}, "--end June is no day; give one as 2016-01-31"),
        ({"start": "2016-02-01", "end": "2016-01-31"}, "--start 2016-02-01 is after --end 2016-01-31"),
        ({"product": "drz"}, "--product drz is not one of flt, ima, raw"),
        ({"proposals": ["GO-14389"]}, "--proposal GO-14389 is no number of a programme"),
        ({"rootnames": ["icxx01010"]}, "--rootname icxx01010 is not the rootname of a WFC3 exposure"),
        ({"rootnames": ["../../etc"]}, "is not the rootname of a WFC3 exposure"),
    ],
)
def test_what_cannot_be_is_a_sentence(given, sentence):
    with pytest.raises(BlobwatchError) as error:
        wanted(**given)
    assert sentence in str(error.value)
