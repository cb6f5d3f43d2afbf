"""The one door to the archive's public copy in the cloud (S3), which asks nobody who he is."""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import boto3
from botocore import UNSIGNED, exceptions
from botocore.config import Config

from blobwatch.archive.download import CHUNK, Broken, Outdated, Piece
from blobwatch.archive.query import Product
from blobwatch.errors import BlobwatchError

# Astroquery's own way there asks MAST for each path, at an address that cannot be set, asks twice for the
# head of each object, goes on after no break and compares no hash.
BUCKET = "stpubdata"


def key(product: Product) -> str:
    """Return the place of a file in the bucket."""
    return f"hst/public/{product.rootname[:4]}/{product.rootname}/{product.name}"


def uri(product: Product) -> str:
    """Return the address of a file in the cloud."""
    return f"s3://{BUCKET}/{key(product)}"


def open_client():
    """Return a connection that serves many files; ``AWS_ENDPOINT_URL`` may name another server."""
    once = {"total_max_attempts": 1, "mode": "standard"}  # whoever asks tries again, from where it broke off
    return boto3.client(
        "s3",
        region_name="us-east-1",  # where the bucket is; without one boto3 looks for a configuration
        config=Config(signature_version=UNSIGNED, connect_timeout=15, read_timeout=60, retries=once),
    )


def ask(client, product: Product, offset: int, validator: str) -> Piece:
    """Ask the cloud for the bytes of a file from ``offset`` on.

    Raises
    ------
    Broken
        If it cannot be reached or is in trouble. `Outdated`, if the file is not the one of before.
    BlobwatchError
        If it does not have the file.
    """
    where = {"Bucket": BUCKET, "Key": key(product)}
    if offset:
        where |= {"Range": f"bytes={offset}-"} | ({"IfMatch": validator} if validator else {})
    with troubles(product):
        answer = client.get_object(**where)
    start, total = 0, answer.get("ContentLength")
    told = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.get("ContentRange", ""))
    if told:
        start, total = int(told[1]), int(told[2])
    tag = answer.get("ETag", "")
    return Piece(start, total, tag, chunks_of(answer["Body"], product), md5_in(answer))


def md5_in(answer: dict) -> str:
    """Return the md5 that an ETag is: of a file that went up in one part, under the bucket's own key."""
    tag = answer.get("ETag", "").strip('"').lower()
    plain = answer.get("ServerSideEncryption", "AES256") == "AES256"
    return tag if plain and re.fullmatch("[0-9a-f]{32}", tag) else ""


def chunks_of(body, product: Product) -> Generator[bytes]:
    """Yield the bytes as they come."""
    with troubles(product), body:
        yield from body.iter_chunks(CHUNK)


@contextmanager
def troubles(product: Product) -> Iterator[None]:
    """Say in the program's own words what may go wrong on the way."""
    try:
        yield
    except exceptions.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status in (412, 416):
            raise Outdated("its file is another one than that of which a part is here") from None
        if status in (403, 404):  # without credentials a bucket may say 403 of what it does not have
            raise BlobwatchError(f"{uri(product)} is not in the cloud; fetch it without --cloud") from None
        if status < 500 and status not in (408, 429):
            raise BlobwatchError(f"the cloud refuses {uri(product)} ({error})") from None
        raise Broken(f"the cloud answered with status {status}") from None
    except exceptions.EndpointConnectionError:
        raise Broken("the cloud cannot be reached") from None
    except (exceptions.HTTPClientError, exceptions.IncompleteReadError):
        raise Broken("the connection broke off") from None
    except exceptions.BotoCoreError as error:
        raise BlobwatchError(f"the cloud cannot be asked ({error}); check the AWS_ settings") from None
