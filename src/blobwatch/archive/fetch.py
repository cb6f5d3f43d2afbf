"""Exposures fetched from the archive into a folder, each whole and checked, and listed in its manifest."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from blobwatch.archive import cloud, mast
from blobwatch.archive.download import WAIT, Ask, Broken, Part, complete
from blobwatch.archive.folder import check_space, known_rows, lock_folder, states, tell_of_changes
from blobwatch.archive.manifest import MANIFEST, write_manifest
from blobwatch.archive.query import Product, Wanted, day_of
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.exposures import moment, rootname
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.kinds import keywords_of
from blobwatch.progress import byte_progress_bar, console, print_message

QUESTIONS = 4  # times that MAST is asked for its list, with the waits some ten seconds
GIVEN_UP = 3  # files in a row after which the archive, not a file, is taken to be in trouble


@dataclass
class Outcome:
    """What became of the files: rows of the manifest, and why the others are not here."""

    fetched: list[dict] = field(default_factory=list)
    kept: list[dict] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def look_up(wanted: Wanted, wait=WAIT) -> list[Product]:
    """Return the files that the archive lists, in the order of time.

    Raises
    ------
    BlobwatchError
        If there is none, or the archive cannot be asked.
    """
    again = Retrying(
        retry=retry_if_exception_type(Broken), stop=stop_after_attempt(QUESTIONS), wait=wait, reraise=True
    )
    try:
        with console.status("asking MAST"):
            found = again(mast.find, wanted)
    except Broken as trouble:
        raise BlobwatchError(
            f"MAST ({mast.server()}) did not answer: {trouble}; check the network, or try again later"
        ) from None
    if not found:
        raise BlobwatchError(f"MAST lists no {wanted}; check the names and the days")
    return found


def fetch(products: list[Product], out: Path, from_cloud: bool = False, wait=WAIT) -> Outcome:
    """Fetch what is not here yet, one file after the other; the manifest knows each before it has its name.

    Parameters
    ----------
    products : list of Product
        All of one kind and public.
    out : Path
    from_cloud : bool
        From the public copy in the cloud instead of MAST.
    wait : tenacity wait strategy
        Between tries.

    Raises
    ------
    BlobwatchError
        If nothing can be written to ``out``, or another fetch writes there. What concerns one file alone is
        in the outcome.
    """
    with lock_folder(out):
        rows = known_rows(out, products[0].product)
        found = states(out, products, rows)
        tell_of_changes(out, products, rows, found)
        outcome = Outcome(kept=[rows[name] for name, how in found.items() if how == "here"])
        missing = [one for one in products if found[one.name] != "here"]
        if missing:
            check_space(out, missing)
            try:
                with way(from_cloud) as opened:

                    def get(product: Product, came: Callable[[int], None]) -> dict:
                        return fetch_one(product, out, rows, *opened(product), came, wait)

                    fetch_missing(missing, outcome, get)
            except KeyboardInterrupt:
                outcome.interrupted = True
    return outcome


@contextmanager
def way(from_cloud: bool) -> Iterator[Callable[[Product], tuple[str, Ask]]]:
    """Yield what gives for a file its address and the door to it."""
    if from_cloud:
        with closing(cloud.open_client()) as client:
            yield lambda product: (cloud.uri(product), partial(cloud.ask, client, product))
    else:
        with mast.open_session() as session:
            yield lambda product: (product.uri, partial(mast.ask, session, product))


def fetch_missing(missing: list, outcome: Outcome, get: Callable[..., dict]) -> None:
    """Fetch files and note the outcome of each; a refused one does not stop the others.

    Parameters
    ----------
    missing : list
        Files with ``name`` and ``size``.
    outcome : Outcome
    get : callable
        Fetches one file, reports the bytes received so far to its second argument, returns the row.
    """
    given_up = 0
    with byte_progress_bar() as progress:
        bar = progress.add_task("", total=sum(one.size or 0 for one in missing) or None)
        done = 0
        for number, product in enumerate(missing, start=1):
            progress.update(bar, description=product.name)
            try:
                outcome.fetched.append(get(product, partial(show, progress, bar, done)))
                given_up = 0
            except BlobwatchError as error:
                refuse(outcome, product.name, str(error))
            except Broken as trouble:
                given_up += 1
                refuse(outcome, product.name, f"given up: {trouble}; run the same command again, it goes on")
                if given_up == GIVEN_UP:
                    rest = {one.name: "not asked for: the archive is in trouble" for one in missing[number:]}
                    outcome.refused |= rest
                    print_message(
                        f"the archive is in trouble: {len(rest)} more files are not asked for", "red"
                    )
                    return
            done += product.size or 0
            progress.update(bar, completed=done)


def show(progress, bar, done: int, have: int) -> None:
    """Move the bar: ``done`` bytes of the files before, ``have`` of this one."""
    progress.update(bar, completed=done + have)


def refuse(outcome: Outcome, name: str, why: str) -> None:
    """Note and say why a file is not here."""
    outcome.refused[name] = why
    print_message(f"{name}: {why}", "red")


def fetch_one(product: Product, out: Path, rows: dict, uri: str, ask: Ask, came, wait) -> dict:
    """Fetch one file, check it, write it into the manifest, give it its name; return its row."""
    part = Part(out / product.name, uri, product.size)
    try:
        complete(part, ask, came, wait)
        try:
            row = row_of(part, product)
        except BlobwatchError:
            part.drop()
            raise
        # First the row, then the name: killed between the two, the next start finds all of it here.
        rows[product.name] = row
        write_manifest(out / MANIFEST, list(rows.values()))
        part.finish()
        return row
    finally:
        part.close()


def row_of(part: Part, product: Product) -> dict:
    """Return the row of a file that is whole, by its own header.

    Raises
    ------
    BlobwatchError
        If it is no whole FITS file, its own checksums contradict it, or it is another exposure.
    """
    try:
        with open_fits(part.path) as hdus:
            header = keywords_of(hdus)
            found, expstart = rootname(header, part.path), moment(header, "EXPSTART", part.path)
            sound = all(is_sound(hdu) for hdu in hdus)
    except BlobwatchError as error:
        why = str(error).replace(str(part.path), "the file").split("; ")[0]
        raise BlobwatchError(f"not what it should be: {why}; try again later") from None
    if found != product.rootname:
        raise BlobwatchError(f"the archive sent {found} under this name; tell MAST's help desk")
    if not sound:
        raise BlobwatchError("damaged: a DATASUM in it is not that of its data; try again later")
    return {
        "rootname": product.rootname,
        "uri": part.uri,
        "size": part.have,
        "md5": part.md5,
        "expstart": expstart,
        "date": day_of(expstart),
        "filter": str(header.get("FILTER", product.filter)).strip(),
        "programme": str(header.get("PROPOSID", product.programme)).strip(),
        "product": product.product,
        "path": product.name,
    }


def is_sound(hdu) -> bool:
    """Tell whether the data of an HDU have the sum that its header names, where it names one."""
    if hasattr(hdu, "compression_type"):  # the sum of a tile-compressed image is that of other bytes
        return True
    try:
        return hdu.verify_datasum() != 0  # 2 says that there is none
    except ValueError:  # it is no number
        return False
