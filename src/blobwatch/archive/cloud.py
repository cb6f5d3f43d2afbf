"""Access to the public cloud copy of the archive (S3, anonymous)."""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import boto3
from botocore import UNSIGNED, exceptions
from botocore.config import Config

from blobwatch.archive.download import CHUNK, RangeResponse, StaleDataError, TransientError
from blobwatch.archive.query import Product
from blobwatch.errors import BlobwatchError

# The cloud access of astroquery requests each path from a fixed MAST address and the head of each object
# twice; it neither resumes a download nor compares a hash.
BUCKET = "stpubdata"


def object_key(product: Product) -> str:
    """Return the key of a file in the bucket."""
    return f"hst/public/{product.rootname[:4]}/{product.rootname}/{product.name}"


def s3_uri(product: Product) -> str:
    """Return the URI of a file in the cloud."""
    return f"s3://{BUCKET}/{object_key(product)}"


def open_client():
    """Return an S3 client; the variable ``AWS_ENDPOINT_URL`` selects another server."""
    once = {"total_max_attempts": 1, "mode": "standard"}  # the download itself retries, and resumes
    return boto3.client(
        "s3",
        region_name="us-east-1",  # of the bucket; without it boto3 requires a configuration
        config=Config(signature_version=UNSIGNED, connect_timeout=15, read_timeout=60, retries=once),
    )


def request_object(client, product: Product, offset: int, validator: str) -> RangeResponse:
    """Request a file of the cloud from a byte offset on.

    Raises
    ------
    TransientError
        If the server is unreachable or fails. `StaleDataError` if the file has changed.
    BlobwatchError
        If the file is absent.
    """
    options = {"Bucket": BUCKET, "Key": object_key(product)}
    if offset:
        options |= {"Range": f"bytes={offset}-"} | ({"IfMatch": validator} if validator else {})
    with translate_errors(product):
        response = client.get_object(**options)
    start, total = 0, response.get("ContentLength")
    part = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.get("ContentRange", ""))
    if part:
        start, total = int(part[1]), int(part[2])
    chunks = read_body(response["Body"], product)
    return RangeResponse(start, total, response.get("ETag", ""), chunks, object_md5(response))


def object_md5(response: dict) -> str:
    """Return the MD5 of an object, or an empty string.

    The ETag is not an MD5 after a multipart upload or with an own key.
    """
    tag = response.get("ETag", "").strip('"').lower()
    plain = response.get("ServerSideEncryption", "AES256") == "AES256"
    return tag if plain and re.fullmatch("[0-9a-f]{32}", tag) else ""


def read_body(body, product: Product) -> Generator[bytes]:
    """Yield the chunks of a response body."""
    with translate_errors(product), body:
        yield from body.iter_chunks(CHUNK)


@contextmanager
def translate_errors(product: Product) -> Iterator[None]:
    """Raise errors of boto3 as `TransientError` or `BlobwatchError`."""
    try:
        yield
    except exceptions.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status in (412, 416):
            raise StaleDataError("the file in the cloud has changed since the download started") from None
        if status < 500 and status not in (408, 429):  # an anonymous request for an absent object: 403
            raise BlobwatchError(
                f"{s3_uri(product)}: not in the cloud (status {status}). Fetch it without --cloud"
            ) from None
        raise TransientError(f"the cloud answered with status {status}") from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError) as error:
        raise TransientError(f"no complete answer from the cloud ({type(error).__name__})") from None
    except exceptions.BotoCoreError as error:
        raise BlobwatchError(f"boto3 failed ({error}). Check the variables that begin with AWS_") from None
