"""The door to the cloud copy, by the real boto3, against a local server that plays S3."""

import hashlib
from contextlib import closing

import pytest

from blobwatch.archive import cloud
from blobwatch.archive.download import Broken, Outdated
from blobwatch.archive.query import Product
from blobwatch.errors import BlobwatchError

FIRST = Product("icxx01aaq", "flt", None, 57400.25, "F153M", "14389", True)
NAME = "icxx01aaq_flt.fits"


@pytest.fixture
def ask(archive, monkeypatch, tmp_path):
    """Ask for the first exposure, without any setting of whoever runs the tests."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    client = cloud.open_client()
    yield lambda offset=0, validator="", product=FIRST: cloud.ask(client, product, offset, validator)
    client.close()


def test_where_it_lies():
    assert cloud.uri(FIRST) == f"s3://stpubdata/hst/public/icxx/icxx01aaq/{NAME}"


def test_bytes_from_a_place_on_without_credentials(archive, ask):
    content = archive.holds[0].content
    whole = ask()
    assert b"".join(whole.chunks) == content
    assert (whole.start, whole.total, whole.md5) == (0, len(content), hashlib.md5(content).hexdigest())
    rest = ask(1000, whole.validator)
    assert (rest.start, rest.total) == (1000, len(content))
    assert b"".join(rest.chunks) == content[1000:]
    assert not any("Authorization" in one.headers for one in archive.asked)


def test_the_tag_of_an_object_in_parts_is_no_md5(archive, ask):
    archive.multipart = True
    piece = ask()
    assert piece.md5 == ""
    assert piece.validator.endswith('-2"')
    assert len(b"".join(piece.chunks)) == len(archive.holds[0].content)


def test_the_tag_under_a_key_of_its_own_is_no_md5():
    tag = {"ETag": '"' + "a" * 32 + '"'}
    assert cloud.md5_in(tag) == "a" * 32
    assert cloud.md5_in(tag | {"ServerSideEncryption": "aws:kms"}) == ""


def test_another_file_by_now(archive, ask):
    with pytest.raises(Outdated):
        ask(1000, '"another"')
    with pytest.raises(Outdated):
        ask(10**7)


def test_not_there(ask):
    absent = Product("izzz99zzq", "flt", None, 57400.25, "F153M", "14389", True)
    with pytest.raises(BlobwatchError, match=r"izzz99zzq_flt.fits is not in the cloud; fetch it without"):
        ask(product=absent)


@pytest.mark.parametrize(
    ("how", "reason"), [("503", "status 503"), ("500", "status 500"), ("hang up", "broke off")]
)
def test_troubles_are_not_tried_again_by_boto(archive, ask, how, reason):
    archive.plan[NAME] = [how]
    with pytest.raises(Broken, match=reason):
        ask()
    assert len(archive.asked) == 1


def test_a_line_that_breaks_in_the_middle(archive, ask):
    archive.plan[NAME] = ["drop 150000"]
    came = []
    with pytest.raises(Broken, match="the connection broke off"):
        came.extend(ask().chunks)
    assert archive.holds[0].content.startswith(b"".join(came))
    assert came


def test_nobody_there(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with closing(cloud.open_client()) as client, pytest.raises(Broken, match="cannot be reached"):
        cloud.ask(client, FIRST, 0, "")
