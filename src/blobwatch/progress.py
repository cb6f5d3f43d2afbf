"""Progress bars and messages on stderr, so that stdout stays clean."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from blobwatch.errors import collect_file_warnings

T = TypeVar("T")
console = Console(stderr=True)
printed_warnings: set[str] = set()  # file warnings that have been printed


def print_message(text: str, style: str = "") -> None:
    """Print a sentence on stderr, unwrapped and as it is."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_file_warning(text: str) -> None:
    """Print a warning about a file on stderr, each once per run."""
    if text not in printed_warnings:
        printed_warnings.add(text)
        print_message(f"blobwatch: warning: {text}", "yellow")


def progress_bar(*extra: TextColumn) -> Progress:
    """Return a progress bar with counts, the time left, and any further columns."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *extra,
        console=console,
    )


def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    """Yield the items and show how many are done."""
    with progress_bar() as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)


def map_in_processes(work, items: list, description: str, workers: int, together: int = 1) -> Iterator:
    """Yield ``work(item)`` for each item, in their order, computed by ``workers`` processes.

    File warnings of the processes are printed by this one. ``together`` items are given out at a time, for a
    ``work`` that takes long to send.
    """
    if workers == 1 or len(items) < 2:
        yield from track(map(work, items), len(items), description)
        return
    with ProcessPoolExecutor(workers) as pool:
        results = pool.map(partial(collect_warnings_of, work), items, chunksize=together)
        for result, found in track(results, len(items), description):
            for text in found:
                print_file_warning(text)
            yield result


def collect_warnings_of(work, item) -> tuple:
    """Return ``work(item)`` and the file warnings that it issued."""
    with collect_file_warnings() as found:
        return work(item), found


def byte_progress_bar() -> Progress:
    """Return a progress bar of bytes, with their rate and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
