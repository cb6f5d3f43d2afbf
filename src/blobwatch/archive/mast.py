"""The one door to MAST: which files it holds, by astroquery, and their bytes, from any place on."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import requests
from astroquery import mast
from astroquery.exceptions import InvalidQueryError, NoResultsWarning, RemoteServiceError
from requests.adapters import HTTPAdapter

from blobwatch.archive.download import CHUNK, Broken, Outdated, Piece
from blobwatch.archive.query import ROOTNAME, Product, Wanted, mjd
from blobwatch.errors import BlobwatchError

# Seconds to be let in, and of silence until a line counts as dead: a query of years takes MAST a minute.
TIMEOUT = (15, 120)
BATCH = 100  # observations whose files are asked for at once: larger questions run into MAST's own limits
DOWNLOAD = "/api/v0.1/Download/file"  # as astroquery's own downloads


class Patient(HTTPAdapter):
    """Gives up on a server that is silent; astroquery alone would wait for ever."""

    def send(self, request, *arguments, **options):
        """Send a request, with a limit where none is given."""
        options["timeout"] = options.get("timeout") or TIMEOUT
        return super().send(request, *arguments, **options)


def find(wanted: Wanted) -> list[Product]:
    """Return the files that MAST lists for what is wanted, in the order of time, each once.

    Raises
    ------
    Broken
        If MAST cannot be reached or does not answer; asking again may help.
    BlobwatchError
        If it refuses the question.
    """
    archive = mast.ObservationsClass()
    for scheme in ("https://", "http://"):
        archive._session.mount(scheme, Patient())
    with troubles(), archive._session, warnings.catch_warnings():
        warnings.simplefilter("ignore", NoResultsWarning)
        observations = {}
        for criteria in questions(wanted):
            observations |= {str(row["obsid"]): row for row in archive.query_criteria(**criteria)}
        found = {}
        for batch in batches(sorted(observations)):
            for row in archive.get_product_list(batch):
                product = product_of(row, observations, wanted)
                if product is not None:
                    found[product.name] = product
    return sorted(found.values(), key=lambda one: (one.expstart, one.rootname))


def questions(wanted: Wanted) -> list[dict]:
    """Return the criteria of the queries that find all that is wanted."""
    criteria = {"obs_collection": "HST", "instrument_name": "WFC3/IR"}
    if wanted.target:
        criteria["target_name"] = wanted.target
    if wanted.filter:
        criteria["filters"] = wanted.filter
    if wanted.proposals:
        criteria["proposal_id"] = list(wanted.proposals)
    if wanted.start or wanted.end:
        criteria["t_min"] = list(wanted.span)
    if not wanted.rootnames:
        return [criteria]
    # An association's row stands for its members, whose rootnames MAST does not list as observations: so all
    # of a visit is asked for, whose six characters they share. Astroquery takes one wildcard per question.
    return [criteria | {"obs_id": f"{visit}*"} for visit in sorted({root[:6] for root in wanted.rootnames})]


def batches(obsids: list[str]) -> Iterator[list[str]]:
    """Yield the observations, some at a time."""
    for first in range(0, len(obsids), BATCH):
        yield obsids[first : first + BATCH]


def product_of(row, observations: dict, wanted: Wanted) -> Product | None:
    """Return a row of MAST's list of files as a product, None where it is not a wanted one."""
    # Mosaics and high-level products have other names; a product of an association has a digit at its end.
    named = re.fullmatch(
        rf"mast:HST/product/({ROOTNAME.pattern})_{wanted.product}\.fits", word(row, "dataURI"), re.IGNORECASE
    )
    if named is None or (wanted.rootnames and named[1].lower() not in wanted.rootnames):
        return None
    rootname = named[1].lower()
    parent = parent_of(row, rootname, observations)
    first, over = wanted.span
    if parent is None or not first <= float(word(parent, "t_min") or "nan") < over:
        return None
    size = word(row, "size")
    return Product(
        rootname=rootname,
        product=wanted.product,
        size=int(size) if size.isdecimal() and int(size) > 0 else None,
        expstart=float(parent["t_min"]),
        filter=word(row, "filters") or word(parent, "filters"),
        programme=word(parent, "proposal_id"),
        public=is_public(row, parent),
    )


def parent_of(row, rootname: str, observations: dict):
    """Return the observation that a file belongs to; None where it is of none that was asked for."""
    for column in ("obsID", "parent_obsid"):
        if word(row, column) in observations:
            return observations[word(row, column)]
    visit = (one for one in observations.values() if word(one, "obs_id").lower()[:6] == rootname[:6])
    return next(visit, None)


def word(row, column: str) -> str:
    """Return what a row says in a column, empty where it has no such column or says nothing."""
    said = str(row[column]).strip() if column in row.colnames else ""
    return "" if said in ("--", "None", "nan") else said  # the first is how astropy writes a masked value


def is_public(row, parent) -> bool:
    """Tell whether anybody may have a file: by its own word, else its observation's, else by the day."""
    for one in (row, parent):
        rights = word(one, "dataRights").upper()
        if rights:
            return rights == "PUBLIC"
    released = word(parent, "t_obs_release")
    return not released or float(released) < mjd(datetime.now(UTC).date()) + 1


def server() -> str:
    """Return the address of MAST, which astroquery's configuration may change."""
    return mast.conf.server


def open_session() -> requests.Session:
    """Return a connection that serves many files."""
    session = requests.Session()
    # Compressed on the way, the bytes would be neither those of the list nor those of a Range.
    session.headers["Accept-Encoding"] = "identity"
    return session


def ask(session: requests.Session, product: Product, offset: int, validator: str) -> Piece:
    """Request the bytes of an exposure from MAST, from ``offset`` on; raises what `ask_url` does."""
    return ask_url(session, server().rstrip("/") + DOWNLOAD, product.uri, offset, validator, product.uri)


def ask_url(
    session: requests.Session, url: str, name: str, offset: int, validator: str, uri: str = ""
) -> Piece:
    """Request the bytes of a file from ``offset`` on.

    Parameters
    ----------
    session : Session
    url : str
    name : str
        Of the file, for messages.
    offset : int
    validator : str
        ETag or time of the last change of what was received before; may be empty.
    uri : str
        Parameter ``uri`` of the request; may be empty.

    Raises
    ------
    Broken
        If the server cannot be reached or is in trouble. `Outdated`, if the file has no such offset.
    BlobwatchError
        If the server does not have the file, or it is not public.
    """
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    if offset and validator:
        headers["If-Range"] = validator  # a file that changed meanwhile comes from its beginning
    with troubles():
        response = session.get(
            url, params={"uri": uri} if uri else None, headers=headers, stream=True, timeout=TIMEOUT
        )
        try:
            refuse_other(response, name)
            return piece_of(response)
        except BaseException:
            response.close()
            raise


def refuse_other(response: requests.Response, name: str) -> None:
    """Refuse an answer that is not the bytes of the file."""
    if response.status_code == 416:
        raise Outdated("the archive's file is shorter than what is here of it")
    if response.status_code in (401, 403):
        raise BlobwatchError(f"{name} is not public (status {response.status_code}); leave it out")
    if response.status_code in (404, 410):
        raise BlobwatchError(
            f"{name}: listed, and not in the archive (status {response.status_code}). Ask MAST's help desk"
        )
    response.raise_for_status()


def piece_of(response: requests.Response) -> Piece:
    """Return an answer as a piece of a file."""
    start, total = 0, response.headers.get("Content-Length")
    if response.status_code == 206:
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not told:
            raise Broken("it sent a part of a file without saying which")
        start, total = int(told[1]), told[2]
    tag = response.headers.get("ETag", "")
    strong = "" if tag.startswith("W/") else tag  # a weak one does not promise equal bytes
    return Piece(
        start=start,
        total=int(total) if total and total.isdecimal() else None,
        validator=strong or response.headers.get("Last-Modified", ""),
        chunks=chunks_of(response),
    )


def chunks_of(response: requests.Response) -> Iterator[bytes]:
    """Yield the bytes as they come."""
    with troubles(), response:
        yield from response.iter_content(CHUNK)


@contextmanager
def troubles() -> Iterator[None]:
    """Say in the program's own words what may go wrong on the way."""
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code
        if status < 500 and status not in (408, 425, 429):
            raise BlobwatchError(
                f"the archive refused with status {status}: {error.response.reason}"
            ) from None
        raise Broken(f"it answered with status {status}") from None
    except requests.exceptions.JSONDecodeError:
        raise Broken("it answered with something that is not JSON, such as a page that it is down") from None
    except requests.Timeout:
        raise Broken("it is silent") from None
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
        raise Broken("the connection broke off") from None
    except requests.ConnectionError as error:
        never = "NewConnectionError" in str(error) or "NameResolutionError" in str(error)
        raise Broken("it cannot be reached" if never else "the connection broke off") from None
    except requests.RequestException as error:
        raise BlobwatchError(
            f"the archive cannot be asked ({error}); check astroquery's [mast] server"
        ) from None
    except TimeoutError:  # astroquery's own: it asks again and again until the answer is ready
        raise BlobwatchError(
            f"MAST was not ready after {mast.conf.timeout} s; ask for fewer days, or set a longer [mast] "
            "timeout in astroquery's configuration"
        ) from None
    except (RemoteServiceError, InvalidQueryError) as error:
        raise BlobwatchError(f"MAST refused the question: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise BlobwatchError(
            f"MAST answered in a form that astroquery does not know ({error!r}); try again, or update it"
        ) from None
