"""Run the program in forked processes, so that a test can start and kill many of them quickly."""

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

LOADED = ["blobwatch.cli", "blobwatch.cli.output.monitor", "blobwatch.figures.monitor"]
LOADED += ["alembic.command", "apprise", "onnxruntime", "matplotlib.backends.backend_agg", "psycopg"]


def start(out: Path, *arguments: object, **environment: str) -> BaseProcess:
    """Start the program; append stdout to ``out`` and stderr to ``out`` with the suffix .err."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(LOADED)
    process = server.Process(target=program, args=(out, list(map(str, arguments)), environment))
    process.start()
    return process


def program(out: Path, arguments: list[str], environment: dict[str, str]) -> None:
    """Run the program in this process."""
    from blobwatch.cli import main

    os.environ.update(environment)
    sys.argv = ["blobwatch", *arguments]
    with out.open("a") as sys.stdout, out.with_suffix(".err").open("a") as sys.stderr:
        main()


def wait_for(process: BaseProcess) -> int:
    """Wait for a process; return its exit status."""
    process.join(120)
    status = process.exitcode
    process.close()
    return status
