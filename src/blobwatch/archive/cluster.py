"""The one door to Dask: processes here, or a cluster elsewhere, and work given to them piece by piece."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar
from uuid import uuid4

from blobwatch import __version__
from blobwatch.errors import BlobwatchError

WAIT = 20.0  # seconds until a scheduler must have answered; one that starts needs a few
LOST = "the Dask scheduler was lost; what was done is kept, and the same command goes on"
QUIET = 50  # level of Dask's own messages: what is lost is said in a sentence, or by the files it costs
MESSAGES = 10  # that are remembered of each connection; Dask's own 1,000, each with a model, are a gigabyte
SETTINGS = {
    # Workers that a job may lose before it is blamed; one may die of something else.
    "distributed.scheduler.allowed-failures": 1,
    # Past jobs that the scheduler remembers, each with its model: a hundred of them would fill the memory.
    "distributed.diagnostics.computations.max-history": 1,
    "distributed.admin.low-level-log-length": MESSAGES,
}

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


class Killed:
    """What stands for the outcome of a job that took its workers with it."""


@contextmanager
def cluster(scheduler: str | None, workers: int) -> Iterator:
    """Yield a client of a scheduler, or of processes on this machine that end with the block.

    Parameters
    ----------
    scheduler : str or None
        Like ``tcp://host:8786``.
    workers : int
        Processes on this machine, where no scheduler is given.

    Raises
    ------
    BlobwatchError
        If the scheduler does not answer, or has no worker, or one of another release.
    """
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import silence_logging_cmgr

    if scheduler is None:
        with (
            dask.config.set(SETTINGS),
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,  # what a worker holds is bounded by its work
                silence_logs=QUIET,
            ) as local,
            Client(local) as client,
        ):
            yield client
        return
    try:
        with dask.config.set(SETTINGS):  # what this side remembers
            client = Client(scheduler, timeout=WAIT)
    except (OSError, TimeoutError, ValueError) as error:
        raise BlobwatchError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`"
        ) from None
    with silence_logging_cmgr(QUIET), client:
        try:
            client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError:
            raise BlobwatchError(
                f"the scheduler at {scheduler} has no worker; start one with `dask worker {scheduler}`"
            ) from None
        check_workers(client)
        yield client


def check_workers(client) -> None:
    """Refuse workers that could not do the work: one that cannot load what it is sent would end of it."""

    def release() -> str:  # inside, so that it travels as code and not by its name in blobwatch
        try:
            import blobwatch.archive.scan
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return blobwatch.__version__

    for address, found in client.run(release).items():
        if found != __version__:
            raise BlobwatchError(
                f"the worker at {address} has not blobwatch {__version__} ({found}); install the same there"
            )


def count_workers(client) -> int:
    """Return how many workers there are now, at least one: some may be on their way."""
    return max(1, len(client.scheduler_info(n_workers=-1)["workers"]))


def compute(
    client, work: Callable[[Job], Outcome], jobs: Iterable[Job], most: Callable[[], int]
) -> Iterator[tuple[Job, Outcome | Killed]]:
    """Yield each job with its outcome as it is done, with no more than ``most()`` given out at a time.

    A job whose worker dies is done by another; one that takes several with it has the outcome `Killed`.

    Raises
    ------
    BlobwatchError
        If the scheduler is lost.
    """
    from distributed import as_completed

    jobs, given, pool = iter(jobs), {}, as_completed(with_results=False)

    def give() -> None:
        for job in islice(jobs, max(0, most() - len(given))):
            future = client.submit(work, job, pure=False, key=f"blobwatch-{uuid4()}")
            given[future.key] = job
            pool.add(future)

    try:
        give()
        for future in pool:
            job, outcome = given.pop(future.key), outcome_of(future)
            future.release()
            give()  # cluster and caller work at the same time
            yield job, outcome
    except ConnectionError:
        raise BlobwatchError(LOST) from None


def outcome_of(future):
    """Return what came of a job that has ended."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        return future.result()
    except KilledWorker:
        return Killed()
    except FutureCancelledError:
        raise BlobwatchError(LOST) from None
