"""Download of exposures from the archive into a directory with a manifest."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from blobwatch.archive import cloud, mast
from blobwatch.archive.download import WAIT, PartialFile, RequestRange, TransientError, fetch_file
from blobwatch.archive.manifest import (
    MANIFEST,
    check_space,
    file_states,
    lock_output,
    read_rows,
    report_changes,
    write_manifest,
)
from blobwatch.archive.query import Product, Query, date_of
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.keywords import get_rootname, require_time
from blobwatch.instrument.kinds import read_keywords
from blobwatch.progress import byte_progress_bar, console, print_message

QUERY_TRIES = 4  # about ten seconds in total
MAX_FAILURES = 3  # consecutive files; more point to a failure of the archive


@dataclass
class FetchResult:
    """Rows of the manifest for fetched files and files already present; reasons for the others."""

    fetched: list[dict] = field(default_factory=list)
    kept: list[dict] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def find_products(query: Query, wait=WAIT) -> list[Product]:
    """Return the files of the archive that match a query, in order of time.

    Raises
    ------
    BlobwatchError
        If no file matches, or the archive does not answer.
    """
    retry = Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(QUERY_TRIES),
        wait=wait,
        reraise=True,
    )
    try:
        with console.status("querying MAST"):
            found = retry(mast.list_products, query)
    except TransientError as error:
        raise BlobwatchError(
            f"MAST ({mast.server_url()}): {error}. Check the network, or try again later"
        ) from None
    if not found:
        raise BlobwatchError(f"MAST lists no {query}. Check the names and the days")
    return found


def fetch(products: list[Product], out: Path, from_cloud: bool = False, wait=WAIT) -> FetchResult:
    """Fetch the files that are not in a directory yet, one after the other.

    Parameters
    ----------
    products : list of Product
        All of one kind and public.
    out : Path
    from_cloud : bool
        Use the public cloud copy instead of MAST.
    wait : tenacity wait strategy
        Between tries.

    Raises
    ------
    BlobwatchError
        If ``out`` is not writable, or another fetch writes into it. Failures of single files are part of
        the result.
    """
    with lock_output(out):
        rows = read_rows(out, products[0].product)
        states = file_states(out, products, rows)
        report_changes(out, products, rows, states)
        result = FetchResult(kept=[rows[name] for name, state in states.items() if state == "here"])
        missing = [one for one in products if states[one.name] != "here"]
        if not missing:
            return result
        check_space(out, missing)
        try:
            with open_source(from_cloud) as source:

                def get(product: Product, report: Callable[[int], None]) -> dict:
                    return fetch_exposure(product, out, rows, *source(product), report, wait)

                fetch_files(missing, result, get)
        except KeyboardInterrupt:
            result.interrupted = True
    return result


@contextmanager
def open_source(from_cloud: bool) -> Iterator[Callable[[Product], tuple[str, RequestRange]]]:
    """Yield a function that returns the URI and the request function of a file."""
    if from_cloud:
        with closing(cloud.open_client()) as client:
            yield lambda product: (cloud.s3_uri(product), partial(cloud.request_object, client, product))
    else:
        with mast.open_session() as session:
            yield lambda product: (product.uri, partial(mast.request_exposure, session, product))


def fetch_files(missing: list, result: FetchResult, get: Callable[..., dict]) -> None:
    """Fetch files until all are tried or the archive fails.

    Parameters
    ----------
    missing : list
        Files with ``name`` and ``size``.
    result : FetchResult
        Receives the outcome of each file.
    get : callable
        Fetches one file, reports the received bytes to its second argument, returns the row.
    """
    failures, done = 0, 0
    with byte_progress_bar() as progress:
        task = progress.add_task("", total=sum(one.size or 0 for one in missing) or None)

        def report(received: int) -> None:
            progress.update(task, completed=done + received)

        for number, product in enumerate(missing, start=1):
            progress.update(task, description=product.name)
            try:
                result.fetched.append(get(product, report))
                failures = 0
            except BlobwatchError as error:
                refuse(result, product.name, str(error))
            except TransientError as error:
                failures += 1
                refuse(result, product.name, f"{error}. Run the same command again to resume")
                if failures == MAX_FAILURES:
                    rest = missing[number:]
                    result.refused |= {one.name: "not requested: the archive fails" for one in rest}
                    print_message(f"the archive fails: {len(rest)} more files are not requested", "red")
                    return
            done += product.size or 0
            report(0)


def refuse(result: FetchResult, name: str, reason: str) -> None:
    """Add a failure to the result and print it."""
    result.refused[name] = reason
    print_message(f"{name}: {reason}", "red")


def fetch_exposure(
    product: Product, out: Path, rows: dict, uri: str, request: RequestRange, report, wait
) -> dict:
    """Fetch and check an exposure, add it to the manifest, and return its row."""

    def add_to_manifest(part: PartialFile) -> dict:
        # Before the file is moved: after a kill, the next run finds the complete partial file and moves it.
        rows[product.name] = row = manifest_row(part, product)
        write_manifest(out / MANIFEST, list(rows.values()))
        return row

    part = PartialFile(out / product.name, uri, product.size)
    return fetch_file(part, request, report, add_to_manifest, wait)


def manifest_row(part: PartialFile, product: Product) -> dict:
    """Return the row of a complete file, from its own header.

    Raises
    ------
    BlobwatchError
        If it is not a valid FITS file, fails its checksums, or is another exposure.
    """
    try:
        with open_fits(part.path) as hdus:
            header = read_keywords(hdus)
            found, expstart = get_rootname(header, part.path), require_time(header, "EXPSTART", part.path)
            intact = all(datasum_matches(hdu) for hdu in hdus)
    except BlobwatchError as error:
        reason = str(error).replace(str(part.path), "the file").split("; ")[0].split(". ")[0]
        raise BlobwatchError(f"not a valid exposure ({reason}). Try again later") from None
    if found != product.rootname:
        raise BlobwatchError(f"the archive sent {found} under this name. Contact the MAST help desk")
    if not intact:
        raise BlobwatchError("damaged: the data do not match their DATASUM. Try again later")
    row = product.to_row() | {"uri": part.uri, "size": part.received, "md5": part.md5}
    return row | {
        "expstart": expstart,
        "date": date_of(expstart),
        "filter": str(header.get("FILTER", product.filter)).strip(),
        "programme": str(header.get("PROPOSID", product.programme)).strip(),
    }


def datasum_matches(hdu) -> bool:
    """Return whether the data of an HDU match its DATASUM; true without one."""
    if hasattr(hdu, "compression_type"):  # the sum of a tile-compressed image is of other bytes
        return True
    try:
        return hdu.verify_datasum() != 0  # 2: the header has no DATASUM
    except ValueError:  # the DATASUM is not a number
        return False
