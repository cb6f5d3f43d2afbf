"""Predictions on thousands of files, on this machine or on a Dask cluster."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from blobwatch.archive.cluster import KilledJob, count_workers, open_cluster, run_jobs
from blobwatch.archive.headers import (
    ScanFile,
    list_files,
    print_warning,
    read_headers,
    select_exposures,
    select_window,
    sort_by_time,
)
from blobwatch.archive.scan_parquet import lock_table, merge_results, read_identities, write_part
from blobwatch.archive.worker import Chunk, ScanConfig, make_row, predict_chunk
from blobwatch.artefact import Model
from blobwatch.images.quality_limits import suspect_message
from blobwatch.instrument.calibration import dflat_warning
from blobwatch.instrument.exposure_files import find_exposures
from blobwatch.instrument.flats import FlatFields
from blobwatch.overrules import DEFAULT as OVERRULES
from blobwatch.overrules import read_overrules
from blobwatch.predict import find_model
from blobwatch.progress import print_file_warning, print_message, progress_bar
from blobwatch.settings import load_settings

CHUNK = 16  # files per job: a second of work, and stacks with many exposures in common
PENDING = 3  # jobs per worker, so that no worker idles
KILLED_MESSAGE = "this file ended several workers. Check the file, or run the scan again"
# The windows that a result depends on: the stack of the file, the season of the stack's members, and the
# references and the references of the references that the season is measured against.
WINDOWS = 4


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
    """Predict the files of a directory or a manifest and write a table of the results.

    Results of an earlier, also an interrupted, scan into the same table are reused; files with an error are
    tried again.

    Parameters
    ----------
    source : Path
        A directory of FITS files, or a table (.csv) whose column ``path`` names them, as `fetch` writes it.
    out : Path
        A parquet table, one row per file.
    model : Path or str
        As for `Predictor.load`.
    history : Path, optional
        Directory of the exposures for stacks; by default those of the source.
    scheduler : str, optional
        Address of a Dask scheduler.
    workers : int
        Number of processes without a scheduler.
    settings : Path, optional
        A file such as ``params.yaml``.
    flats : Path, optional
        Reference files by which the flats of each exposure are undone first.
    overrules : Path
        Directory of the table of decisions about exposures.

    Returns
    -------
    dict
        ``files``; ``judged``, the number of new results; ``blobs``, ``errors``, ``rejected``; ``warning`` if
        so many exposures are rejected that the limits are suspect.
    """
    used = load_settings(settings).difference
    if flats is not None:
        FlatFields(flats)  # raises if the directory is absent
    # One thread per worker: by default, onnxruntime starts one per core, and these wait busily.
    loaded = Model.load(find_model(model), threads=1)
    decisions = tuple(read_overrules(overrules).values())
    config = ScanConfig(loaded, used, decisions, flats.absolute() if flats else None)
    with lock_table(out):
        known = set(read_identities(out))
        files, earlier = select_files(source, history)
        if flats is None and (text := dflat_warning(one.listed.calibration for one in files if one.listed)):
            print_warning(text)
        identities = compute_identities(config, files, earlier)
        todo = [pair for pair in zip(files, identities, strict=True) if pair[1] not in known]
        chunks = predict_files(config, todo, select_exposures(earlier), scheduler, workers)
        write_results(out, chunks, len(files), len(files) - len(todo))
        counts = {"files": len(files), "judged": len(todo)} | merge_results(out, identities)
    exposures = sum(one.listed is not None for one in files)
    if warning := suspect_message(counts["rejected"], exposures, used.quality):
        print_message(warning, "bold yellow")
        return counts | {"warning": warning}
    return dict(counts)


def write_results(out: Path, chunks: Iterable[list[dict]], total: int, done: int) -> None:
    """Write the rows of each chunk as a part of the table, and print their warnings."""
    with progress_bar() as progress:
        task = progress.add_task("scan", total=total, completed=done)
        for rows in chunks:
            for text in (text for row in rows for text in row.pop("warnings", ())):
                print_file_warning(text)
            write_part(out, rows)
            progress.advance(task, len(rows))


def select_files(source: Path, history: Path | None) -> tuple[list[ScanFile], list[ScanFile]]:
    """Return the files to predict and the exposures for stacks.

    There is one file per rootname. Both lists are sorted by time.
    """
    found = sort_by_time(read_headers(list_files(source)))
    chosen = {one.path for one in select_exposures(found, print_warning)}
    files = [one for one in found if one.listed is None or one.path in chosen]
    if history is None:
        return files, files
    earlier = sort_by_time(read_headers(find_exposures(history, print_warning)))
    return files, select_exposures(earlier, print_warning)


def compute_identities(config: ScanConfig, files: list[ScanFile], earlier: list[ScanFile]) -> list[str]:
    """Return the identity of the result of each file."""
    exposures, identities = select_exposures(earlier), []
    verdicts = {one.rootname: one.verdict for one in config.overrules}
    for file in files:
        parts = [config.identity, str(file.path), file.stamp]
        if file.listed:
            when = file.listed.expstart
            window = select_window(exposures, when, when, WINDOWS * config.settings.days)
            for one in window:
                if one.listed and one.filter == file.filter:
                    parts.append(f"{one.path} {one.stamp} {verdicts.get(one.listed.rootname, '')}")
            parts.append(verdicts.get(file.listed.rootname, ""))
        identities.append(hashlib.sha256("\n".join(parts).encode()).hexdigest())
    return identities


def predict_files(
    config: ScanConfig,
    todo: list[tuple[ScanFile, str]],
    exposures: list[ScanFile],
    scheduler: str | None,
    workers: int,
) -> Iterator[list[dict]]:
    """Yield the rows of each chunk when it is done.

    If a chunk ends its workers, its files are predicted one at a time.
    """
    if not todo:
        return
    with open_cluster(scheduler, workers) as client:
        killed: list[tuple[ScanFile, str]] = []
        chunks = split_chunks(config, todo, exposures, CHUNK)
        for chunk, rows in run_jobs(client, predict_chunk, chunks, lambda: PENDING * count_workers(client)):
            if isinstance(rows, KilledJob):
                killed += chunk.pairs
            else:
                yield rows
        chunks = split_chunks(config, killed, exposures, 1)
        for chunk, rows in run_jobs(client, predict_chunk, chunks, lambda: 1):
            if isinstance(rows, KilledJob):
                rows = [make_row(config, *chunk.pairs[0], KILLED_MESSAGE)]
            yield rows


def split_chunks(
    config: ScanConfig, todo: list[tuple[ScanFile, str]], exposures: list[ScanFile], size: int
) -> Iterator[Chunk]:
    """Yield chunks of consecutive files."""
    for start in range(0, len(todo), size):
        pairs = tuple(todo[start : start + size])
        times = [file.listed.expstart for file, _ in pairs if file.listed]
        days = WINDOWS * config.settings.days
        earlier = select_window(exposures, min(times), max(times), days) if times else []
        yield Chunk(config, pairs, tuple(earlier))
