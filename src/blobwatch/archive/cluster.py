"""Access to Dask: local processes or a remote cluster, and jobs that run there."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar
from uuid import uuid4

from blobwatch import __version__
from blobwatch.errors import BlobwatchError

WAIT = 20.0  # seconds; a scheduler needs a few to start
QUIET = 50  # log level; blobwatch itself reports lost schedulers and workers
MESSAGES = 10  # per connection; Dask keeps 1,000, each with a model, which takes a gigabyte
SETTINGS = {
    # Number of workers that a job may lose before it fails; a single worker may end for other reasons.
    "distributed.scheduler.allowed-failures": 1,
    # Finished jobs that the scheduler keeps, each with its model.
    "distributed.diagnostics.computations.max-history": 1,
    "distributed.admin.low-level-log-length": MESSAGES,
}

Job = TypeVar("Job")
Result = TypeVar("Result")


class KilledJob:
    """Result of a job that ended its workers."""


@contextmanager
def open_cluster(scheduler: str | None, workers: int) -> Iterator:
    """Yield a client of a scheduler, or of local processes that end with the block.

    Parameters
    ----------
    scheduler : str or None
        Like ``tcp://host:8786``.
    workers : int
        Number of local processes without a scheduler.

    Raises
    ------
    BlobwatchError
        If the scheduler does not answer, has no worker, or has a worker with another release.
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
                memory_limit=0,  # the size of a chunk limits the memory
                silence_logs=QUIET,
            ) as local,
            Client(local) as client,
        ):
            yield client
        return
    try:
        with dask.config.set(SETTINGS):  # for this side of the connection
            client = Client(scheduler, timeout=WAIT)
    except (OSError, TimeoutError, ValueError) as error:
        raise BlobwatchError(
            f"{scheduler}: no Dask scheduler answers ({error}). Start one with `dask scheduler`"
        ) from None
    with silence_logging_cmgr(QUIET), client:
        try:
            client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError:
            raise BlobwatchError(
                f"{scheduler}: the scheduler has no worker. Start one with `dask worker {scheduler}`"
            ) from None
        check_workers(client)
        yield client


def check_workers(client) -> None:
    """Raise unless each worker can import the same release of blobwatch."""

    def find_release() -> str:  # nested, so that Dask sends its code instead of its import path
        try:
            import blobwatch.archive.worker
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return blobwatch.__version__

    for address, found in client.run(find_release).items():
        if found != __version__:
            raise BlobwatchError(
                f"worker {address}: blobwatch {__version__} not found ({found}). "
                "Install this version on the worker"
            )


def count_workers(client) -> int:
    """Return the current number of workers, at least one."""
    return max(1, len(client.scheduler_info(n_workers=-1)["workers"]))


def run_jobs(
    client, work: Callable[[Job], Result], jobs: Iterable[Job], max_pending: Callable[[], int]
) -> Iterator[tuple[Job, Result | KilledJob]]:
    """Yield each job with its result when it ends.

    At most ``max_pending()`` jobs are pending.

    If a worker dies, another one repeats its job. A job that ends several workers yields a `KilledJob`.

    Raises
    ------
    BlobwatchError
        If the scheduler is lost.
    """
    from distributed import KilledWorker, as_completed
    from distributed.client import FutureCancelledError

    pending: dict[str, Job] = {}
    jobs, pool = iter(jobs), as_completed(with_results=False)

    def submit() -> None:
        for job in islice(jobs, max(0, max_pending() - len(pending))):
            future = client.submit(work, job, pure=False, key=f"blobwatch-{uuid4()}")
            pending[future.key] = job
            pool.add(future)

    try:
        submit()
        for future in pool:
            job = pending.pop(future.key)
            try:
                result = future.result()
            except KilledWorker:
                result = KilledJob()
            future.release()
            submit()  # before the yield, so that workers and caller run at the same time
            yield job, result
    except (ConnectionError, FutureCancelledError):
        raise BlobwatchError("the Dask scheduler was lost. Run the same command again to resume") from None
