"""Predictions on thousands of files: on this machine, or on a Dask cluster; a bad file costs its own row."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

from blobwatch import __version__
from blobwatch.archive.cluster import Killed, cluster, compute, count_workers
from blobwatch.archive.headers import File, before, exposures_of, files_of, in_time, survey, warn
from blobwatch.archive.scan_parquet import answered, is_whole, merge, summary, write_part, writing
from blobwatch.archive.worker import OneThread
from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError, RejectedExposure, collect_file_warnings
from blobwatch.files import file_lock, lock_path
from blobwatch.history import History
from blobwatch.images.rejection import suspect_message
from blobwatch.instrument.calibration import dflat_warning
from blobwatch.instrument.exposure_files import find_exposures
from blobwatch.instrument.flats import FlatFields
from blobwatch.overrules import DEFAULT as OVERRULES
from blobwatch.overrules import Overrule, read_overrules
from blobwatch.predict import Predictor, find_model
from blobwatch.progress import print_file_warning, print_message, progress_bar
from blobwatch.settings import DifferenceSettings, load_settings

CHUNK = 16  # files that a worker does in one go: a second of work, and most of a stack in common
GIVEN = 3  # chunks given out per worker, so that none waits
ENDED = "the worker ended while it judged this file, again and again; look at the file, or scan again"
# A stack reaches one window back, the season of its members another; these are measured against references of
# the window before, which are measured against yet another.
WINDOWS = 4
ONE = Lock()  # the threads of a worker judge one file after another


@dataclass(frozen=True)
class Judge:
    """The model and the settings of a scan, as they travel to a worker."""

    model: Model = field(compare=False)
    settings: DifferenceSettings
    overrules: tuple[Overrule, ...]
    flats: Path | None
    identity: str  # what an answer depends on besides the files
    release: str = __version__

    @classmethod
    def of(
        cls,
        model: Model,
        settings: DifferenceSettings,
        overrules: tuple[Overrule, ...] = (),
        flats: Path | None = None,
    ) -> "Judge":
        """Return the judge with a model: its files, threshold and manifest too, and its version count."""
        parts = [model.files, model.version, __version__, asdict(settings), str(flats or "")]
        return cls(model, settings, overrules, flats, json.dumps(parts, sort_keys=True))


@dataclass(frozen=True)
class Chunk:
    """Some files in the order of time, and the exposures that their stacks are made of."""

    judge: Judge
    pairs: tuple[tuple[File, str], ...]  # with the identity of each answer
    earlier: tuple[File, ...]


def scan(
    source: Path,
    out: Path,
    model: Path | str = "champion",
    history: Path | None = None,
    scheduler: str | None = None,
    workers: int = 2,
    settings: Path | None = None,
    flats: Path | None = None,
    overrules: Path = OVERRULES,
) -> dict[str, int | str]:
    """Judge the files of a folder or of a manifest and write a table of the answers.

    What an earlier scan into the same table has answered is kept, also where it was cut short; files
    that it could not use are tried again.

    Parameters
    ----------
    source : Path
        A folder of FITS files, or a table (.csv) whose column ``path`` names some, as `fetch` writes it.
    out : Path
        A parquet table, one row per file.
    model : Path or str
        As for `Predictor.load`.
    history : Path, optional
        Folder of the exposures that stacks are made of; else those of the source.
    scheduler : str, optional
        Address of a Dask scheduler.
    workers : int
        Processes where no scheduler is given.
    settings : Path, optional
        A file such as ``params.yaml``.
    flats : Path, optional
        Reference files by which the flats of each exposure are undone first.
    overrules : Path
        Folder of the table of decisions about exposures.

    Returns
    -------
    dict
        ``files``, ``judged`` of them anew, ``blobs``, ``errors``, ``rejected``; ``warning`` where so many
        are rejected that the limits are suspect.
    """
    used = load_settings(settings).difference
    if flats is not None:
        FlatFields(flats)  # a folder that does not exist is an error at once
    decisions = tuple(read_overrules(overrules).values())
    judge = Judge.of(OneThread.load(find_model(model)), used, decisions, flats.absolute() if flats else None)
    with lock_table(out):
        had = answered(out)
        found = in_time(survey(files_of(source)))
        chosen = {one.path for one in exposures_of(found, warn)}  # one file per rootname
        files = [one for one in found if one.listed is None or one.path in chosen]
        earlier = exposures_of(in_time(survey(find_exposures(history, warn))), warn) if history else files
        if flats is None and (text := dflat_warning(one.listed.calibration for one in files if one.listed)):
            warn(text)
        identities = identities_of(judge, files, earlier)
        todo = [pair for pair in zip(files, identities, strict=True) if pair[1] not in had]
        with progress_bar() as progress:
            task = progress.add_task("scan", total=len(files), completed=len(files) - len(todo))
            for rows in judged(judge, todo, exposures_of(earlier), scheduler, workers):
                for text in (text for row in rows for text in row.pop("warnings", ())):
                    print_file_warning(text)
                write_part(out, rows)
                progress.advance(task, len(rows))
        known = answered(out)
        if not is_whole(out, known, identities):
            merge(out, [known[identity] for identity in identities])
    found = {"files": len(files), "judged": len(todo)} | summary(out)
    exposures = sum(one.listed is not None for one in files)
    if warning := suspect_message(found["rejected"], exposures, used.quality):
        print_message(warning, "bold yellow")
        found["warning"] = warning
    return found


@contextmanager
def lock_table(out: Path) -> Iterator[None]:
    """Lock the table against other scans."""
    if out.suffix != ".parquet" or out.is_dir():
        raise BlobwatchError(f"{out} is no place for the table; give a file that ends in .parquet")
    with ExitStack() as locked:
        with writing(out):
            busy = f"another scan writes {out}; wait until it has ended"
            locked.enter_context(file_lock(lock_path(out), timeout=0, busy=busy))
        yield


def identities_of(judge: Judge, files: list[File], earlier: list[File]) -> list[str]:
    """Return the identity of each file's answer."""
    exposures, made = exposures_of(earlier), []
    verdicts = {one.rootname: one.verdict for one in judge.overrules}
    for file in files:
        parts = [judge.identity, str(file.path), file.stamp]
        if file.listed:
            stack = before(exposures, file.expstart, file.expstart, WINDOWS * judge.settings.days)
            same = [one for one in stack if one.filter == file.filter]
            parts += [f"{one.path} {one.stamp} {verdicts.get(one.listed.rootname, '')}" for one in same]
            parts.append(verdicts.get(file.listed.rootname, ""))
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
        stack = before(exposures, min(times), max(times), WINDOWS * judge.settings.days) if times else []
        yield Chunk(judge, pairs, tuple(stack))


def answer(chunk: Chunk) -> list[dict]:
    """Judge the files of a chunk, in a worker; return their rows, with the warnings about each file.

    Raises
    ------
    BlobwatchError
        If the worker has another release of blobwatch, whose answers may be others.
    """
    if chunk.judge.release != __version__:
        raise BlobwatchError(
            f"a worker has blobwatch {__version__} and this is {chunk.judge.release}; install the same there"
        )
    rows = []
    with ONE:
        history = extended(chunk.judge, chunk.earlier)
        for file, identity in chunk.pairs:
            with collect_file_warnings() as found:
                row = row_of(chunk.judge, file, identity, history)
            rows.append(row | {"warnings": found})
    return rows


@lru_cache(maxsize=1)
def predictor_of(judge: Judge) -> Predictor:
    """Return the predictor of a worker; its model came with the first chunk."""
    return Predictor(judge.model)


@lru_cache(maxsize=1)
def history_of(judge: Judge) -> History:
    """Return the history of a worker, which keeps its blob images from one chunk to the next."""
    overrules = {one.rootname: one for one in judge.overrules}
    return History((), judge.settings, overrules, FlatFields(judge.flats) if judge.flats else None)


def extended(judge: Judge, earlier: tuple[File, ...]) -> History:
    """Return the history of a worker with the exposures of a chunk; a changed file begins it anew."""
    history = history_of(judge)
    known = [history.exposures.get(one.listed.rootname, one.listed) for one in earlier]
    if any(old != one.listed for old, one in zip(known, earlier, strict=True)):
        history_of.cache_clear()
        history = history_of(judge)
    for one in earlier:
        if one.listed.rootname not in history.exposures:
            history.add(one.listed)
    return history


def row_of(judge: Judge, file: File, identity: str, history: History) -> dict:
    """Return the row of one file; whatever is wrong with it is in its row."""
    try:
        answer = predictor_of(judge).predict_file(file.path, None, history).as_json()
    except BlobwatchError as error:
        return blank(judge, file, identity, str(error)) | {"rejected": isinstance(error, RejectedExposure)}
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
    listed = file.listed
    return {
        "image": str(file.path),
        "rootname": listed.rootname if listed else None,
        "expstart": file.expstart,
        "filter": file.filter or None,
        "flats": listed.calibration.flats if listed else None,
        "cal_ver": listed.calibration.version if listed else None,
        "error": error,
        "rejected": False,
        "model_version": judge.model.version,
        "model_sha256": judge.model.sha256,
        "identity": identity,
    }


def ended(judge: Judge, file: File, identity: str) -> dict:
    """Return the row of a file that took its workers with it."""
    return blank(judge, file, identity, ENDED)
