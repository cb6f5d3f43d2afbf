"""Predictions on thousands of files: on this machine, or on a Dask cluster; a bad file costs its own row."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

from blobwatch import __version__
from blobwatch.archive.cluster import Killed, cluster, compute, count_workers
from blobwatch.archive.kept import Kept
from blobwatch.archive.onethread import OneThread
from blobwatch.archive.results import answered, is_whole, merge, summary, write_part, writing
from blobwatch.archive.survey import File, before, exposures_of, files_of, in_time, survey, warn
from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.folder import find_exposures
from blobwatch.predict import Differencing, Predictor, find_model
from blobwatch.progress import bar

CHUNK = 16  # files that a worker does in one go: a second of work, and most of a stack in common
GIVEN = 3  # chunks given out per worker, so that none waits
ENDED = "the worker ended while it judged this file, again and again; look at the file, or scan again"
KEPT = Kept()  # of this worker
ONE = Lock()  # astropy's warnings, which tell a truncated file, are those of all threads of a worker


@dataclass(frozen=True)
class Judge:
    """The model and the settings of a scan, as they travel to a worker."""

    model: Model = field(compare=False)
    settings: Differencing
    identity: str  # what an answer depends on besides the files
    release: str = __version__

    @classmethod
    def of(cls, model: Model) -> "Judge":
        """Return the judge with a model: its files, threshold and manifest too, and its version count."""
        settings = Differencing()
        parts = [model.files, model.version, __version__, asdict(settings)]
        return cls(model, settings, json.dumps(parts, sort_keys=True))


@dataclass(frozen=True)
class Chunk:
    """Some files in the order of time, and the exposures that their stacks are made of."""

    judge: Judge
    pairs: tuple[tuple[File, str], ...]  # with the identity of each answer
    earlier: tuple[File, ...]


def scan(
    source: Path,
    out: Path,
    model: str = "champion",
    history: Path | None = None,
    scheduler: str | None = None,
    workers: int = 2,
) -> dict[str, int]:
    """Judge the files of a folder or of a manifest and write a table of the answers.

    What an earlier scan into the same table has answered is kept, also where it was cut short; files
    that it could not use are tried again.

    Parameters
    ----------
    source : Path
        A folder of FITS files, or a table (.csv) whose column ``path`` names some, as `fetch` writes it.
    out : Path
        A parquet table, one row per file.
    model : str
        As for `Predictor.load`.
    history : Path, optional
        Folder of the exposures that stacks are made of; else those of the source.
    scheduler : str, optional
        Address of a Dask scheduler.
    workers : int
        Processes where no scheduler is given.

    Returns
    -------
    dict
        ``files``, ``judged`` of them anew, ``blobs``, ``errors``.
    """
    judge = Judge.of(OneThread.load(find_model(model)))
    with alone(out):
        had = answered(out)
        files = in_time(survey(files_of(source)))
        earlier = in_time(survey(find_exposures(history, warn))) if history else files
        identities = identities_of(judge, files, earlier)
        todo = [pair for pair in zip(files, identities, strict=True) if pair[1] not in had]
        with bar() as progress:
            task = progress.add_task("scan", total=len(files), completed=len(files) - len(todo))
            for rows in judged(judge, todo, exposures_of(earlier, warn), scheduler, workers):
                write_part(out, rows)
                progress.advance(task, len(rows))
        known = answered(out)
        if not is_whole(out, known, identities):
            merge(out, [known[identity] for identity in identities])
    return {"files": len(files), "judged": len(todo)} | summary(out)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the table, so that no other scan writes it."""
    from filelock import FileLock, Timeout

    if out.suffix != ".parquet" or out.is_dir():
        raise BlobwatchError(f"{out} is no place for the table; give a file that ends in .parquet")
    lock = FileLock(out.with_name(f".{out.name}.partial-lock"), timeout=0)
    try:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise BlobwatchError(f"another scan writes {out}; wait until it has ended") from None
    try:
        yield
    finally:
        lock.release()


def identities_of(judge: Judge, files: list[File], earlier: list[File]) -> list[str]:
    """Return the identity of each file's answer."""
    exposures = exposures_of(earlier)
    made = []
    for file in files:
        parts = [judge.identity, str(file.path), file.stamp]
        if file.listed:
            stack = before(exposures, file.expstart, file.expstart, judge.settings.days)
            parts += [f"{one.path} {one.stamp}" for one in stack if one.filter == file.filter]
        made.append(hashlib.sha256("\n".join(parts).encode()).hexdigest())
    return made


def judged(
    judge: Judge, todo: list[tuple[File, str]], exposures: list[File], scheduler: str | None, workers: int
) -> Iterator[list[dict]]:
    """Yield the rows of each chunk as it is done; one that ends its workers is done file by file."""
    if not todo:
        return
    with cluster(scheduler, workers) as client:
        guilty = []
        work = chunks(judge, todo, exposures, CHUNK)
        for chunk, rows in compute(client, answer, work, lambda: GIVEN * count_workers(client)):
            if isinstance(rows, Killed):
                guilty += chunk.pairs
            else:
                yield rows
        # One at a time, so that no file is blamed for its neighbour.
        for chunk, rows in compute(client, answer, chunks(judge, guilty, exposures, 1), lambda: 1):
            yield [ended(judge, *chunk.pairs[0])] if isinstance(rows, Killed) else rows


def chunks(judge: Judge, todo: list[tuple[File, str]], exposures: list[File], size: int) -> Iterator[Chunk]:
    """Yield the work in chunks of neighbours."""
    for start in range(0, len(todo), size):
        pairs = tuple(todo[start : start + size])
        times = [file.expstart for file, _ in pairs if file.listed]
        stack = before(exposures, min(times), max(times), judge.settings.days) if times else []
        yield Chunk(judge, pairs, tuple(stack))


def answer(chunk: Chunk) -> list[dict]:
    """Judge the files of a chunk, in a worker; return their rows.

    Raises
    ------
    BlobwatchError
        If the worker has another release of blobwatch, whose answers may be others.
    """
    if chunk.judge.release != __version__:
        raise BlobwatchError(
            f"a worker has blobwatch {__version__} and this is {chunk.judge.release}; install the same there"
        )
    with ONE:
        return [row_of(chunk.judge, file, identity, chunk.earlier) for file, identity in chunk.pairs]


@lru_cache(maxsize=1)
def predictor_of(judge: Judge) -> Predictor:
    """Return the predictor of a worker; its model came with the first chunk."""
    return Predictor(judge.model)


def row_of(judge: Judge, file: File, identity: str, earlier: tuple[File, ...]) -> dict:
    """Return the row of one file; whatever is wrong with it is in its row."""
    history = [one.listed for one in earlier if one.filter == file.filter]
    KEPT.turn_to(earlier)
    try:
        predictor = predictor_of(judge)
        answer = predictor.predict_file(file.path, None, history, judge.settings, KEPT.read).as_json()
    except BlobwatchError as error:
        return blank(judge, file, identity, str(error))
    except Exception as error:  # a file must never stop the others
        return blank(judge, file, identity, f"{type(error).__name__}: {error}")
    probabilities = [one["probability"] for one in answer["subframes"]]
    return blank(judge, file, identity, None) | {
        "rootname": answer["rootname"],
        "kind": answer["kind"],
        "probability": max(probabilities),
        "count": len(answer["blobs"]),
        "probabilities": probabilities,
        "blobs": answer["blobs"],
    }


def blank(judge: Judge, file: File, identity: str, error: str | None) -> dict:
    """Return a row without an answer."""
    return {
        "image": str(file.path),
        "rootname": file.listed.rootname if file.listed else None,
        "expstart": file.expstart,
        "filter": file.filter or None,
        "error": error,
        "model_version": judge.model.version,
        "model_sha256": judge.model.sha256,
        "identity": identity,
    }


def ended(judge: Judge, file: File, identity: str) -> dict:
    """Return the row of a file that took its workers with it."""
    return blank(judge, file, identity, ENDED)
