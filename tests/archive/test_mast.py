"""Queries and downloads from MAST, with astroquery, requests and a local server."""

import hashlib
from datetime import date

import pytest
from archive.mast_server import ArchiveFile

from blobwatch.archive import mast
from blobwatch.archive.download import StaleDataError, TransientError
from blobwatch.archive.query import Product, Query
from blobwatch.errors import BlobwatchError

EARTH = Query(target="DARK-EARTH-CALIB")
FIRST = Product("icxx01aaq", "flt", None, 57400.25, "F153M", "14389", True)
NAME = "icxx01aaq_flt.fits"


def list_rootnames(**criteria) -> list[str]:
    return [one.rootname for one in mast.list_products(Query(**criteria))]


# Queries


def test_members_of_an_association_are_listed_once_in_order_of_time(archive):
    archive.files.reverse()
    found = mast.list_products(EARTH)
    assert [one.rootname for one in found] == ["icxx01aaq", "icxx01abq", "icxx02acq"]
    size = len(archive.files[2].content)
    assert found[0] == Product("icxx01aaq", "flt", size, 57400.27, "F153M", "14389", True)
    assert found[0].uri == "mast:HST/product/icxx01aaq_flt.fits"


def test_criteria_are_sent_to_mast(archive):
    mast.list_products(Query("DARK-EARTH-CALIB", "F153M", date(2016, 1, 1), date(2016, 1, 31), ("14389",)))
    sent = {one["paramName"]: one for one in archive.queries[0]["params"]["filters"]}
    assert sent["obs_collection"]["values"] == ["HST"]
    assert sent["instrument_name"]["values"] == ["WFC3/IR"]
    assert sent["target_name"]["values"] == ["DARK-EARTH-CALIB"]
    assert sent["filters"] == {"paramName": "filters", "separator": ";", "values": ["F153M"]}
    assert sent["proposal_id"]["values"] == ["14389"]
    assert sent["t_min"]["values"] == [{"min": 57388, "max": 57419}]


def test_criteria_limit_the_result(archive):
    archive.files += [
        ArchiveFile("icyy01aaq", 57410.0, filter="F140W", programme=14999),
        ArchiveFile("icyy02aaq", 57419.0, target="NGC-3603", programme=14999),
        ArchiveFile("icyy03aaq", 57410.0, product="raw", target="OTHER"),
    ]
    assert list_rootnames(target="DARK-EARTH-CALIB", filter="F140W") == ["icyy01aaq"]
    assert list_rootnames(proposals=("14999",)) == ["icyy01aaq", "icyy02aaq"]
    # The last exposure starts at the midnight after the last day.
    assert list_rootnames(start=date(2016, 1, 23), end=date(2016, 1, 31)) == ["icyy01aaq"]
    assert list_rootnames(start=date(2016, 2, 1)) == ["icyy02aaq"]
    assert list_rootnames(target="NO-SUCH") == []
    assert list_rootnames(product="raw") == ["icyy03aaq"]


def test_rootname_of_an_association_member_is_found(archive):
    rootnames = ("icxx01abq", "icxx02acq", "izzz99zzq")
    assert list_rootnames(rootnames=rootnames) == ["icxx01abq", "icxx02acq"]


def test_products_are_requested_in_batches(archive, monkeypatch):
    monkeypatch.setattr(mast, "BATCH", 1)
    assert len(mast.list_products(EARTH)) == 3
    assert [one["service"] for one in archive.queries].count("Mast.Caom.Products") == 2


@pytest.mark.parametrize(
    ("rights", "released", "public"),
    [
        ("PUBLIC", 90000.0, True),
        ("EXCLUSIVE_ACCESS", 57500.0, False),
        ("RESTRICTED", 57500.0, False),
        (None, 57500.0, True),
        (None, 90000.0, False),
    ],
)
def test_rights_or_release_date_make_a_file_public(archive, rights, released, public):
    archive.files[:] = [ArchiveFile("icxx02acq", 57403.25, rights=rights, released=released)]
    assert [one.public for one in mast.list_products(EARTH)] == [public]


@pytest.mark.parametrize("size", [None, 0])
def test_size_may_be_missing(archive, size):
    archive.files[:] = [ArchiveFile("icxx02acq", 57403.25, listed_size=size)]
    assert [one.size for one in mast.list_products(EARTH)] == [None]


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        ("503", TransientError, "answered with status 503"),
        ("429", TransientError, "answered with status 429"),
        ("page", TransientError, "no complete answer .*JSONDecodeError"),
        ("hang up", TransientError, "no complete answer"),
        ("silent", TransientError, r"no complete answer from the server \(ReadTimeout\)"),
        ("400", BlobwatchError, r"refused the request: status 400"),
        ("error", BlobwatchError, "the request failed .*no such service"),
        ("odd", BlobwatchError, "the request failed .*data"),
    ],
)
def test_failed_query_is_an_error(archive, monkeypatch, failure, kind, message):
    monkeypatch.setattr(mast, "TIMEOUT", (15, 0.5 if failure == "silent" else 30))
    archive.plan["invoke"] = [failure]
    with pytest.raises(kind, match=message):
        mast.list_products(EARTH)
    assert len(mast.list_products(EARTH)) == 3


def test_slow_query_is_an_error(archive, monkeypatch):
    from astroquery.mast.discovery_portal import PortalAPI

    monkeypatch.setattr(PortalAPI, "TIMEOUT", 0)
    with pytest.raises(BlobwatchError, match=r"the request failed .*Timeout.*request fewer days"):
        mast.list_products(EARTH)


def test_unreachable_server_is_a_transient_error(archive, monkeypatch):
    from astroquery.mast.discovery_portal import PortalAPI

    monkeypatch.setattr(PortalAPI, "MAST_REQUEST_URL", "http://127.0.0.1:9/api/v0/invoke")  # discard port
    with pytest.raises(TransientError, match=r"no complete answer from the server \(ConnectionError\)"):
        mast.list_products(EARTH)


# Downloads


@pytest.fixture
def request_range():
    """Yield a function that requests the first exposure from an offset on."""
    with mast.open_session() as session:
        yield lambda offset=0, validator="": mast.request_exposure(session, FIRST, offset, validator)


def test_request_starts_at_an_offset(archive, request_range):
    content = archive.files[0].content
    complete = request_range()
    assert (complete.start, complete.total) == (0, len(content))
    assert b"".join(complete.chunks) == content
    rest = request_range(1000, complete.validator)
    assert (rest.start, rest.total, rest.validator) == (1000, len(content), complete.validator)
    assert b"".join(rest.chunks) == content[1000:]
    assert archive.requests[1].headers["Range"] == "bytes=1000-"
    assert archive.requests[1].headers["Accept-Encoding"] == "identity"


def test_changed_file_is_sent_from_its_beginning(archive, request_range):
    assert request_range(1000, '"another"').start == 0
    with pytest.raises(StaleDataError):
        request_range(10**7)


@pytest.mark.parametrize(
    ("tags", "validator"), [("strong", "the tag"), ("weak", "Wed, 13 Jan 2016 06:00:00 GMT"), ("none", "")]
)
def test_weak_etag_is_not_a_validator(archive, request_range, tags, validator):
    archive.tags = tags
    tag = '"' + hashlib.md5(archive.files[0].content).hexdigest() + '"'
    assert request_range().validator == validator.replace("the tag", tag)


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        ("503", TransientError, "answered with status 503"),
        ("hang up", TransientError, "no complete answer"),
        ("401", BlobwatchError, r"status 401 \(Unauthorized\)\. Check that the"),
        ("404", BlobwatchError, "status 404"),
        ("400", BlobwatchError, r"refused the request: status 400"),
    ],
)
def test_failed_request_is_an_error(archive, request_range, failure, kind, message):
    archive.plan[NAME] = [failure]
    with pytest.raises(kind, match=message):
        request_range()
