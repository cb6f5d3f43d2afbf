"""Access to MAST: lists of files by astroquery, and their bytes."""

import re
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import requests
from astroquery import mast
from astroquery.exceptions import InvalidQueryError, NoResultsWarning, RemoteServiceError
from requests.adapters import HTTPAdapter

from blobwatch.archive.download import CHUNK, RangeResponse, StaleDataError, TransientError
from blobwatch.archive.query import ROOTNAME, Product, Query, mjd_of
from blobwatch.errors import BlobwatchError

# Seconds to connect, and of silence until a connection counts as dead: a query of years takes a minute.
TIMEOUT = (15, 120)
BATCH = 100  # observations per request for their files; larger requests reach limits of MAST
INCOMPLETE = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.JSONDecodeError,  # a page, for instance about maintenance
)
UNUSABLE = (
    requests.RequestException,
    RemoteServiceError,
    InvalidQueryError,
    TimeoutError,  # astroquery polls until the result is ready
    *(KeyError, TypeError, AttributeError),  # an unknown format
)
DOWNLOAD = "/api/v0.1/Download/file"  # as for downloads of astroquery


class TimeoutAdapter(HTTPAdapter):
    """Sends requests with a timeout; astroquery sets none."""

    def send(self, request, *arguments, **options):
        """Send a request, with `TIMEOUT` by default."""
        options["timeout"] = options.get("timeout") or TIMEOUT
        return super().send(request, *arguments, **options)


def list_products(query: Query) -> list[Product]:
    """Return the files that match a query, each once, in order of time.

    Raises
    ------
    TransientError
        If MAST is unreachable or does not answer.
    BlobwatchError
        If MAST refuses the query.
    """
    archive = mast.ObservationsClass()
    for scheme in ("https://", "http://"):
        archive._session.mount(scheme, TimeoutAdapter())
    with translate_errors(), archive._session, warnings.catch_warnings():
        warnings.simplefilter("ignore", NoResultsWarning)
        observations: dict = {}  # row of MAST by obsid
        found: dict[str, Product] = {}
        for criteria in build_criteria(query):
            observations |= {str(row["obsid"]): row for row in archive.query_criteria(**criteria)}
        obsids = sorted(observations)
        for first in range(0, len(obsids), BATCH):
            for row in archive.get_product_list(obsids[first : first + BATCH]):
                product = parse_product(row, observations, query)
                if product is not None:
                    found[product.name] = product
    return sorted(found.values(), key=lambda one: (one.expstart, one.rootname))


def build_criteria(query: Query) -> list[dict]:
    """Return the arguments of the astroquery calls for a query."""
    optional = {
        "target_name": query.target,
        "filters": query.filter,
        "proposal_id": list(query.proposals),
        "t_min": list(query.mjd_range) if query.start or query.end else None,
    }
    criteria: dict = {"obs_collection": "HST", "instrument_name": "WFC3/IR"}
    criteria |= {name: value for name, value in optional.items() if value}
    if not query.rootnames:
        return [criteria]
    # MAST lists associations instead of their members, so rootnames of members are found by the six
    # characters of their visit. Astroquery accepts one wildcard per call.
    return [criteria | {"obs_id": f"{visit}*"} for visit in sorted({root[:6] for root in query.rootnames})]


def parse_product(row, observations: dict, query: Query) -> Product | None:
    """Return a row of the list of files as a product, None without a match."""
    # Mosaics and high-level products have other names; a product of an association ends in a digit.
    pattern = rf"mast:HST/product/({ROOTNAME.pattern})_{query.product}\.fits"
    match = re.fullmatch(pattern, read_cell(row, "dataURI"), re.IGNORECASE)
    if match is None or (query.rootnames and match[1].lower() not in query.rootnames):
        return None
    rootname = match[1].lower()
    parent = find_parent(row, rootname, observations)
    first, end = query.mjd_range
    if parent is None or not first <= float(read_cell(parent, "t_min") or "nan") < end:
        return None
    size = read_cell(row, "size")
    return Product(
        rootname=rootname,
        product=query.product,
        size=int(size) if size.isdecimal() and int(size) > 0 else None,
        expstart=float(parent["t_min"]),
        filter=read_cell(row, "filters") or read_cell(parent, "filters"),
        programme=read_cell(parent, "proposal_id"),
        public=is_public(row, parent),
    )


def find_parent(row, rootname: str, observations: dict):
    """Return the observation of a file, None if the query did not return it."""
    for column in ("obsID", "parent_obsid"):
        if read_cell(row, column) in observations:
            return observations[read_cell(row, column)]
    visit = (one for one in observations.values() if read_cell(one, "obs_id").lower()[:6] == rootname[:6])
    return next(visit, None)


def read_cell(row, column: str) -> str:
    """Return a cell of a row as text.

    A missing cell or column gives an empty string.
    """
    text = str(row[column]).strip() if column in row.colnames else ""
    return "" if text in ("--", "None", "nan") else text  # astropy writes a masked value as --


def is_public(row, parent) -> bool:
    """Return whether a file is public.

    Use the first known: rights of the file, rights of its observation, release date.
    """
    for one in (row, parent):
        rights = read_cell(one, "dataRights").upper()
        if rights:
            return rights == "PUBLIC"
    released = read_cell(parent, "t_obs_release")
    return not released or float(released) < mjd_of(datetime.now(UTC).date()) + 1


def server_url() -> str:
    """Return the address of MAST, as set in the configuration of astroquery."""
    return mast.conf.server


def open_session() -> requests.Session:
    """Return a session for downloads."""
    session = requests.Session()
    # A compressed response has other sizes and offsets than the file.
    session.headers["Accept-Encoding"] = "identity"
    return session


def request_exposure(
    session: requests.Session, product: Product, offset: int, validator: str
) -> RangeResponse:
    """Request an exposure from a byte offset on; see `request_file`."""
    url = server_url().rstrip("/") + DOWNLOAD
    return request_file(session, url, offset, validator, {"uri": product.uri})


def request_file(
    session: requests.Session, url: str, offset: int, validator: str, params: dict | None = None
) -> RangeResponse:
    """Request a file from a byte offset on.

    Parameters
    ----------
    session : Session
    url : str
    offset : int
    validator : str
        ETag or modification time of the bytes received before; may be empty.
    params : dict, optional
        Of the request.

    Raises
    ------
    TransientError
        If the server is unreachable or fails. `StaleDataError` if the file is shorter than ``offset``.
    BlobwatchError
        If the file is absent or not public.
    """
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    if offset and validator:
        headers["If-Range"] = validator  # a changed file is sent from its beginning
    with translate_errors():
        response = session.get(url, params=params, headers=headers, stream=True, timeout=TIMEOUT)
        try:
            if response.status_code == 416:
                raise StaleDataError("the file in the archive is shorter than the received bytes")
            response.raise_for_status()
            return parse_response(response)
        except BaseException:
            response.close()
            raise


def parse_response(response: requests.Response) -> RangeResponse:
    """Return a response of requests as a `RangeResponse`."""
    start, total = 0, response.headers.get("Content-Length")
    if response.status_code == 206:
        part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not part:
            raise TransientError("the response has no valid Content-Range")
        start, total = int(part[1]), part[2]
    tag = response.headers.get("ETag", "")
    strong = "" if tag.startswith("W/") else tag  # a weak ETag does not guarantee equal bytes
    return RangeResponse(
        start=start,
        total=int(total) if total and total.isdecimal() else None,
        validator=strong or response.headers.get("Last-Modified", ""),
        chunks=read_content(response),
    )


def read_content(response: requests.Response) -> Generator[bytes]:
    """Yield the chunks of a response."""
    with translate_errors(), response:
        yield from response.iter_content(CHUNK)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise errors of requests and astroquery as `TransientError` or `BlobwatchError`."""
    try:
        yield
    except requests.HTTPError as error:
        if error.response is None:
            raise TransientError(str(error)) from None
        status = error.response.status_code
        if status >= 500 or status in (408, 425, 429):
            raise TransientError(f"the server answered with status {status}") from None
        raise BlobwatchError(
            f"the archive refused the request: status {status} ({error.response.reason}). Check that the "
            "data are public, or contact the MAST help desk"
        ) from None
    except INCOMPLETE as error:
        raise TransientError(f"no complete answer from the server ({type(error).__name__})") from None
    except UNUSABLE as error:
        raise BlobwatchError(
            f"the request failed ({error!r}). Check the options and astroquery's [mast] configuration, "
            "request fewer days, or update astroquery"
        ) from None
