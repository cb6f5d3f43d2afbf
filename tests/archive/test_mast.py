"""The door to MAST, by the real astroquery and requests, against a local server."""

import hashlib
from datetime import date

import pytest
from archive.mastserver import Held

from blobwatch.archive import mast
from blobwatch.archive.download import Broken, Outdated
from blobwatch.archive.query import Product, Wanted
from blobwatch.errors import BlobwatchError

EARTH = Wanted(target="DARK-EARTH-CALIB")
FIRST = Product("icxx01aaq", "flt", None, 57400.25, "F153M", "14389", True)


def names(wanted: Wanted) -> list[str]:
    return [one.rootname for one in mast.find(wanted)]


def test_members_of_an_association_are_found_each_once_in_the_order_of_time(archive):
    archive.holds.reverse()
    found = mast.find(EARTH)
    assert [one.rootname for one in found] == ["icxx01aaq", "icxx01abq", "icxx02acq"]
    assert found[0] == Product(
        "icxx01aaq", "flt", len(archive.holds[2].content), 57400.27, "F153M", "14389", True
    )
    assert found[0].uri == "mast:HST/product/icxx01aaq_flt.fits"


def test_the_question_is_the_one_for_dark_earth_calibration(archive):
    mast.find(Wanted("DARK-EARTH-CALIB", "F153M", date(2016, 1, 1), date(2016, 1, 31), ("14389",)))
    asked = {one["paramName"]: one for one in archive.questions[0]["params"]["filters"]}
    assert asked["obs_collection"]["values"] == ["HST"]
    assert asked["instrument_name"]["values"] == ["WFC3/IR"]
    assert asked["target_name"]["values"] == ["DARK-EARTH-CALIB"]
    assert asked["filters"] == {"paramName": "filters", "separator": ";", "values": ["F153M"]}
    assert asked["proposal_id"]["values"] == ["14389"]
    assert asked["t_min"]["values"] == [{"min": 57388, "max": 57419}]


def test_filter_programme_target_and_days_narrow_it_down(archive):
    archive.holds += [
        Held("icyy01aaq", 57410.0, filter="F140W", programme=14999),
        Held("icyy02aaq", 57419.0, target="NGC-3603", programme=14999),
    ]
    assert names(Wanted("DARK-EARTH-CALIB", "F140W")) == ["icyy01aaq"]
    assert names(Wanted(proposals=("14999",))) == ["icyy01aaq", "icyy02aaq"]
    assert names(Wanted(start=date(2016, 1, 23), end=date(2016, 1, 31))) == [
        "icyy01aaq"
    ]  # not midnight after
    assert names(Wanted(start=date(2016, 2, 1))) == ["icyy02aaq"]
    assert names(Wanted("NO-SUCH")) == []


def test_a_rootname_finds_the_member_that_no_observation_names(archive):
    assert names(Wanted(rootnames=("icxx01abq", "icxx02acq", "izzz99zzq"))) == ["icxx01abq", "icxx02acq"]


def test_only_the_wanted_product(archive):
    archive.holds.append(Held("icyy01aaq", 57410.0, product="raw"))
    assert names(Wanted("DARK-EARTH-CALIB", product="raw")) == ["icyy01aaq"]


def test_products_are_asked_for_in_batches(archive, monkeypatch):
    monkeypatch.setattr(mast, "BATCH", 1)
    assert len(mast.find(EARTH)) == 3
    assert [one["service"] for one in archive.questions].count("Mast.Caom.Products") == 2


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
def test_who_may_have_it(archive, rights, released, public):
    archive.holds[:] = [Held("icxx02acq", 57403.25, rights=rights, released=released)]
    assert [one.public for one in mast.find(EARTH)] == [public]


@pytest.mark.parametrize("size", [None, 0])
def test_a_size_that_is_not_said(archive, size):
    archive.holds[:] = [Held("icxx02acq", 57403.25, listed_size=size)]
    assert [one.size for one in mast.find(EARTH)] == [None]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("503", "it answered with status 503"),
        ("429", "it answered with status 429"),
        ("page", "something that is not JSON"),
        ("hang up", "the connection broke off"),
        ("silent", "it is silent"),
    ],
)
def test_troubles_that_may_pass(archive, monkeypatch, how, reason):
    monkeypatch.setattr(mast, "TIMEOUT", (15, 0.5 if how == "silent" else 30))
    archive.plan["invoke"] = [how]
    with pytest.raises(Broken, match=reason):
        mast.find(EARTH)
    assert len(mast.find(EARTH)) == 3


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("400", "the archive refused with status 400"),
        ("error", "MAST refused the question: no such service"),
        ("odd", "in a form that astroquery does not know"),
    ],
)
def test_refusals(archive, how, reason):
    archive.plan["invoke"] = [how]
    with pytest.raises(BlobwatchError, match=reason):
        mast.find(EARTH)


def test_a_question_that_takes_too_long(archive, monkeypatch):
    from astroquery.mast.discovery_portal import PortalAPI

    monkeypatch.setattr(PortalAPI, "TIMEOUT", 0)
    with pytest.raises(BlobwatchError, match="MAST was not ready after 600 s; ask for fewer days"):
        mast.find(EARTH)


def test_nobody_there(archive, monkeypatch):
    from astroquery.mast.discovery_portal import PortalAPI

    nobody = "http://127.0.0.1:9"  # the port that throws away; nothing listens
    monkeypatch.setattr(PortalAPI, "MAST_REQUEST_URL", f"{nobody}/api/v0/invoke")
    with pytest.raises(Broken, match="it cannot be reached"):
        mast.find(EARTH)


@pytest.fixture
def asked():
    """Ask for bytes of the first exposure."""
    with mast.open_session() as session:
        yield lambda offset=0, validator="": mast.ask(session, FIRST, offset, validator)


def test_bytes_from_a_place_on(archive, asked):
    content = archive.holds[0].content
    whole = asked()
    assert (whole.start, whole.total) == (0, len(content))
    assert b"".join(whole.chunks) == content
    rest = asked(1000, whole.validator)
    assert (rest.start, rest.total, rest.validator) == (1000, len(content), whole.validator)
    assert b"".join(rest.chunks) == content[1000:]
    assert archive.asked[1].headers["Range"] == "bytes=1000-"
    assert archive.asked[1].headers["Accept-Encoding"] == "identity"


def test_another_file_comes_from_its_beginning(archive, asked):
    assert asked(1000, '"another"').start == 0


@pytest.mark.parametrize(
    ("tags", "validator"), [("strong", "the tag"), ("weak", "Wed, 13 Jan 2016 06:00:00 GMT"), ("none", "")]
)
def test_a_weak_tag_promises_nothing(archive, asked, tags, validator):
    archive.tags = tags
    tag = '"' + hashlib.md5(archive.holds[0].content).hexdigest() + '"'
    assert asked().validator == validator.replace("the tag", tag)


@pytest.mark.parametrize(
    ("how", "kind", "reason"),
    [
        ("503", Broken, "it answered with status 503"),
        ("hang up", Broken, "the connection broke off"),
        ("401", BlobwatchError, r"icxx01aaq_flt.fits is not public \(status 401\)"),
        ("404", BlobwatchError, "listed, and not in the archive"),
        ("400", BlobwatchError, "the archive refused with status 400"),
    ],
)
def test_answers_that_are_no_file(archive, asked, how, kind, reason):
    archive.plan[f"{FIRST.rootname}_flt.fits"] = [how]
    with pytest.raises(kind, match=reason):
        asked()


def test_beyond_the_end(archive, asked):
    with pytest.raises(Outdated):
        asked(10**7)


def test_a_line_that_breaks_in_the_middle(archive, asked):
    archive.plan[f"{FIRST.rootname}_flt.fits"] = ["drop 150000"]
    came = []
    with pytest.raises(Broken, match="the connection broke off"):
        came.extend(asked().chunks)
    assert archive.holds[0].content.startswith(b"".join(came))
    assert came
