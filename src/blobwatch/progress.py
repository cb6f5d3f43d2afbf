"""The progress of long work and what is said on the way, on stderr, so that stdout stays clean."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
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

T = TypeVar("T")
console = Console(stderr=True)


def say(text: str, style: str = "") -> None:
    """Print a sentence on stderr, unwrapped and as it is."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def bar(*extra: TextColumn) -> Progress:
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
    with bar() as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)


def in_processes(work, items: list, description: str, workers: int) -> Iterator:
    """Yield ``work(item)`` for each item, in their order, computed by ``workers`` processes."""
    if workers == 1 or len(items) < 2:
        yield from track(map(work, items), len(items), description)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from track(pool.map(work, items), len(items), description)


def byte_bar() -> Progress:
    """Return a progress bar of bytes, with their rate and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
