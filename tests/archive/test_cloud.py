"""Downloads from the cloud copy, with boto3 and a local server instead of S3."""

import hashlib
from contextlib import closing

import pytest

from blobwatch.archive import cloud
from blobwatch.archive.download import StaleDataError, TransientError
from blobwatch.archive.query import Product
from blobwatch.errors import BlobwatchError

FIRST = Product("icxx01aaq", "flt", None, 57400.25, "F153M", "14389", True)
NAME = "icxx01aaq_flt.fits"


@pytest.fixture
def request_range(archive, monkeypatch, tmp_path):
    """Yield a function that requests the first exposure, without AWS settings of this machine."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with closing(cloud.open_client()) as client:
        yield lambda offset=0, validator="", product=FIRST: cloud.request_object(
            client, product, offset, validator
        )


def test_requests_start_at_an_offset_and_are_anonymous(archive, request_range):
    content = archive.files[0].content
    complete = request_range()
    assert b"".join(complete.chunks) == content
    assert (complete.start, complete.total) == (0, len(content))
    assert complete.md5 == hashlib.md5(content).hexdigest()
    rest = request_range(1000, complete.validator)
    assert (rest.start, rest.total) == (1000, len(content))
    assert b"".join(rest.chunks) == content[1000:]
    assert not any("Authorization" in one.headers for one in archive.requests)


def test_etag_of_a_multipart_upload_is_not_an_md5(archive, request_range):
    archive.multipart = True
    response = request_range()
    assert response.md5 == ""
    assert response.validator.endswith('-2"')
    assert len(b"".join(response.chunks)) == len(archive.files[0].content)


def test_etag_of_an_encrypted_object_is_not_an_md5():
    tag = {"ETag": '"' + "a" * 32 + '"'}
    assert cloud.object_md5(tag) == "a" * 32
    assert cloud.object_md5(tag | {"ServerSideEncryption": "aws:kms"}) == ""


@pytest.mark.parametrize(("offset", "validator"), [(1000, '"another"'), (10**7, "")])
def test_changed_file_makes_the_received_bytes_stale(archive, request_range, offset, validator):
    with pytest.raises(StaleDataError):
        request_range(offset, validator)


def test_absent_file_is_an_error(request_range):
    absent = Product("izzz99zzq", "flt", None, 57400.25, "F153M", "14389", True)
    with pytest.raises(
        BlobwatchError, match=r"izzz99zzq_flt.fits: not in the cloud \(status 404\)\. Fetch it without"
    ):
        request_range(product=absent)


@pytest.mark.parametrize(
    ("failure", "message"), [("503", "status 503"), ("500", "status 500"), ("hang up", "no complete answer")]
)
def test_boto_does_not_retry(archive, request_range, failure, message):
    archive.plan[NAME] = [failure]
    with pytest.raises(TransientError, match=message):
        request_range()
    assert len(archive.requests) == 1


def test_unreachable_server_is_a_transient_error(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with (
        closing(cloud.open_client()) as client,
        pytest.raises(TransientError, match="no complete answer"),
    ):
        cloud.request_object(client, FIRST, 0, "")
