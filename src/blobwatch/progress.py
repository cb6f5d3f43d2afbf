"""Progress bars and messages on stderr, so that stdout stays clean."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from blobwatch.errors import collect_file_warnings

if TYPE_CHECKING:  # prediction shows no progress, and starts faster without this import
    from rich.progress import Progress, ProgressColumn

T = TypeVar("T")
console = Console(stderr=True)
printed_warnings: set[str] = set()


def print_message(text: str, style: str = "") -> None:
    """Print a message on stderr without wrapping or markup."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_file_warning(text: str) -> None:
    """Print a warning about a file on stderr, once per run."""
    if text not in printed_warnings:
        printed_warnings.add(text)
        print_message(f"blobwatch: warning: {text}", "yellow")


def progress_bar(*columns: "ProgressColumn") -> "Progress":
    """Return a progress bar with description and remaining time.

    Between them are ``columns``, by default counts.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = columns or [MofNCompleteColumn()]
    remaining = TimeRemainingColumn()
    return Progress(TextColumn("{task.description}"), BarColumn(), *shown, remaining, console=console)


def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    """Yield the items and show the progress."""
    with progress_bar() as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)


def map_in_processes(work, items: list, description: str, workers: int, chunksize: int = 1) -> Iterator:
    """Yield ``work(item)`` of each item in order, computed by ``workers`` processes.

    File warnings of the processes are printed here. A larger ``chunksize`` reduces the overhead of a ``work``
    that is slow to pickle.
    """
    if workers == 1 or len(items) < 2:
        yield from track(map(work, items), len(items), description)
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as pool:
        results = pool.map(partial(collect_warnings_of, work), items, chunksize=chunksize)
        for result, warnings in track(results, len(items), description):
            for text in warnings:
                print_file_warning(text)
            yield result


def collect_warnings_of(work, item) -> tuple:
    """Return the result of ``work(item)`` and its file warnings."""
    with collect_file_warnings() as found:
        return work(item), found
