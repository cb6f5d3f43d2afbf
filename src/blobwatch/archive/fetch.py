"""Download of exposures from the archive into a directory with a manifest."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from rich.progress import DownloadColumn, TransferSpeedColumn
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from blobwatch.archive import cloud, download, mast
from blobwatch.archive.download import PartialFile, RequestRange, TransientError, fetch_file
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
from blobwatch.progress import console, print_message, progress_bar

QUERY_TRIES = 4  # about ten seconds in total
MAX_FAILURES = 3  # consecutive files; more point to a failure of the archive


class RemoteFile(Protocol):
    """A file of an archive; its size in bytes is None if unknown."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int | None: ...


Item = TypeVar("Item", bound=RemoteFile)


@dataclass
class FetchResult:
    """Rows of the manifest for fetched files and files already present; reasons for the others."""

    fetched: list[dict] = field(default_factory=list)
    kept: list[dict] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def find_products(query: Query) -> list[Product]:
    """Return the files of the archive that match a query, in order of time.

    Raises
    ------
    BlobwatchError
        If no file matches, or the archive does not answer.
    """
    retry = Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(QUERY_TRIES),
        wait=wait_exponential(download.WAIT),
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


def fetch(products: list[Product], out: Path, from_cloud: bool = False) -> FetchResult:
    """Fetch the files that are not in a directory yet, one after the other.

    Parameters
    ----------
    products : list of Product
        All of one kind and public.
    out : Path
    from_cloud : bool
        Use the public cloud copy instead of MAST.

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

        def add_to_manifest(product: Product, part: PartialFile) -> dict:
            # Before the file is moved: after a kill, the next run finds the complete file and moves it.
            rows[product.name] = row = manifest_row(product, part)
            write_manifest(out / MANIFEST, list(rows.values()))
            return row

        with open_source(from_cloud) as locate:
            fetch_files(missing, out, result, locate, add_to_manifest)
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


def fetch_files(
    missing: list[Item],
    out: Path,
    result: FetchResult,
    locate: Callable[[Item], tuple[str, RequestRange]],
    accept: Callable[[Item, PartialFile], dict],
) -> None:
    """Fetch files until all are tried, the archive fails, or the user interrupts.

    Parameters
    ----------
    missing : list
        Files with ``name`` and ``size``.
    out : Path
    result : FetchResult
        Receives the outcome of each file.
    locate : callable
        Returns the URI and the request function of a file.
    accept : callable
        Checks a complete file before it is moved, and returns its row.
    """
    failures, done = 0, 0
    with progress_bar(DownloadColumn(), TransferSpeedColumn()) as progress:
        task = progress.add_task("", total=sum(one.size or 0 for one in missing) or None)

        def report(received: int) -> None:
            progress.update(task, completed=done + received)

        for number, item in enumerate(missing, start=1):
            progress.update(task, description=item.name)
            reason = ""
            try:
                uri, request = locate(item)
                part = PartialFile(out / item.name, uri, item.size)
                result.fetched.append(fetch_file(part, request, report, partial(accept, item)))
                failures = 0
            except BlobwatchError as error:
                reason = str(error)
            except TransientError as error:
                reason = f"{error}. Run the same command again to resume"
                failures += 1
            except KeyboardInterrupt:
                result.interrupted = True
                return
            if reason:
                result.refused[item.name] = reason
                print_message(f"{item.name}: {reason}", "red")
            if failures == MAX_FAILURES:
                rest = missing[number:]
                result.refused |= {one.name: "not requested: the archive fails" for one in rest}
                print_message(f"the archive fails repeatedly; {len(rest)} files were not requested", "red")
                return
            done += item.size or 0
            report(0)


def manifest_row(product: Product, part: PartialFile) -> dict:
    """Return the row of a complete file, from its own header.

    Raises
    ------
    BlobwatchError
        If it is not a valid FITS file, fails its checksums, or is another exposure.
    """
    with open_download(part.path) as hdus:
        header = read_keywords(hdus)
        found, expstart = get_rootname(header, part.path), require_time(header, "EXPSTART", part.path)
    if found != product.rootname:
        raise BlobwatchError(f"the archive sent {found} instead of this file. Contact the MAST help desk")
    row = product.to_row() | {"uri": part.uri, "size": part.received, "md5": part.md5}
    return row | {
        "expstart": expstart,
        "date": date_of(expstart),
        "filter": str(header.get("FILTER", product.filter)).strip(),
        "programme": str(header.get("PROPOSID", product.programme)).strip(),
    }


@contextmanager
def open_download(path: Path) -> Iterator:
    """Yield the HDUs of a complete file with valid checksums.

    Errors do not contain the path.
    """
    try:
        with open_fits(path) as hdus:
            yield hdus
            intact = all(datasum_matches(hdu) for hdu in hdus)
    except BlobwatchError as error:
        reason = str(error).replace(str(path), "the file").split("; ")[0].split(". ")[0]
        raise BlobwatchError(f"not valid ({reason}). Try again later") from None
    if not intact:
        raise BlobwatchError("damaged: the data do not match their DATASUM. Try again later")


def datasum_matches(hdu) -> bool:
    """Return whether the data of an HDU match their DATASUM; true without one."""
    if hasattr(hdu, "compression_type"):  # the sum of a tile-compressed image is of other bytes
        return True
    try:
        return hdu.verify_datasum() != 0  # 2: the header has no DATASUM
    except ValueError:  # the DATASUM is not a number
        return False
