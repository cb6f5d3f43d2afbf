"""Search criteria from the options of the command line."""

from datetime import date

import pytest

from blobwatch.archive.query import date_of, parse_query
from blobwatch.errors import BlobwatchError


def test_default_target_applies_without_programmes_and_rootnames():
    assert parse_query().target == "DARK-EARTH-CALIB"
    assert parse_query(start="2016-01-01").target == "DARK-EARTH-CALIB"
    assert parse_query(proposals=["14389"]).target == ""
    assert parse_query(rootnames=["ich219i8q"]).target == ""
    assert parse_query(target="ngc-3603", proposals=["14389"]).target == "NGC-3603"


def test_range_includes_the_last_day():
    assert parse_query(start="2016-01-01", end="2016-01-31").mjd_range == (57388, 57419)
    assert [date_of(when) for when in (57388.0, 57418.999)] == ["2016-01-01", "2016-01-31"]
    assert parse_query(start="2016-01-01", end="2016-01-01").mjd_range == (57388, 57389)


def test_names_are_normalized():
    query = parse_query(proposals=["014389"], rootnames=[" ICH219I8Q"], product="RAW", filter="f153m")
    assert (query.proposals, query.rootnames) == (("14389",), ("ich219i8q",))
    assert (query.product, query.filter) == ("raw", "F153M")


def test_query_as_text():
    query = parse_query(filter="F153M", start="2016-01-01", end="2016-06-30")
    assert str(query) == "flt files of DARK-EARTH-CALIB in F153M from 2016-01-01 to 2016-06-30"
    assert query.start == date(2016, 1, 1)
    assert not query.is_unlimited
    assert parse_query(filter="F153M").is_unlimited


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "2016-13-01"}, "--start 2016-13-01: not a date. Pass a date such as 2016-01-31"),
        ({"end": "June"}, "--end June: not a date. Pass a date such as 2016-01-31"),
        ({"start": "2016-02-01", "end": "2016-01-31"}, "--start 2016-02-01 is after --end 2016-01-31"),
        ({"product": "drz"}, "--product drz: unknown product. Pass one of flt, ima, raw"),
        ({"proposals": ["GO-14389"]}, "--proposal GO-14389: not a programme number"),
        ({"rootnames": ["icxx01010"]}, "--rootname icxx01010: not the rootname of a WFC3 exposure"),
        ({"rootnames": ["../../etc"]}, "not the rootname of a WFC3 exposure"),
    ],
)
def test_invalid_option_is_an_error(options, message):
    with pytest.raises(BlobwatchError) as error:
        parse_query(**options)
    assert message in str(error.value)
