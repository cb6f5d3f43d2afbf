"""Promote a version repeatedly, killed each time at another line of the deployment.

A program, since it forks: python killer.py PROJECT VERSION POINTS. It restores PROJECT before each kill, and
prints the state after each kill as a line of JSON.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow.store.tracking.sqlalchemy_store  # loaded once, before the forks
import mlflow.tracking  # noqa: F401
from lineage.project import settings

from blobwatch.artefact import STAGING, Model
from blobwatch.lineage.promotion import commands, deployment, promotion_log
from blobwatch.lineage.promotion.deployment import ensure_champion
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.store import open_store
from blobwatch.predict import find_model

WATCHED = {module.__file__ for module in (deployment, promotion_log, registry, commands)}
WATCHED.add(sys.modules["blobwatch.files"].__file__)


def in_child(work: Callable[[], None]) -> int:
    """Call a function in a child process and return its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def promote_until(version: int, last: int, count: Path) -> None:
    """Promote; kill this process at line number ``last`` of the deployment (0: never)."""
    done, where = 0, ""

    def trace(frame, event, argument):
        nonlocal done, where
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            done += 1
            where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"
            if done == last:
                count.write_text(where)
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced(*arguments):
        sys.settrace(trace)
        try:
            return deployment.deploy(*arguments)
        finally:
            sys.settrace(None)

    commands.run_gates, commands.deploy = lambda *arguments: [], traced
    commands.promote(Path.cwd(), version, "good", settings())
    count.write_text(str(done))


def report_state(result: Path) -> None:
    """Write the state seen by predict, then by a command that completes the deployment."""
    folder = find_model("champion")  # absolute: the model of the package, since the project has none
    predicts = None if folder.is_absolute() else Model.load(folder).version
    store = open_store(Path.cwd())
    champion = ensure_champion(Path.cwd(), store)
    models = [model.name for model in store.client.search_registered_models()]
    state = {
        "predicts": predicts,
        "log": [record["version"] for record in promotion_log.read(Path(promotion_log.LOG))],
        "champion": champion and champion[0].version,
        "number": champion and champion[1],
        "alias": registry.get_alias(store, "champion"),
        "left": [name for name in models if name == registry.CLAIM] + [STAGING] * Path(STAGING).exists(),
    }
    result.write_text(json.dumps(state))


def main(project: Path, version: int, points: int) -> None:
    template, note = project.with_name("template"), project.with_name("note")
    shutil.copytree(project, template)

    def restore_project() -> None:
        shutil.rmtree(project)
        shutil.copytree(template, project)
        os.chdir(project)

    os.chdir(project)
    assert in_child(lambda: promote_until(version, 0, note)) == 0
    lines = int(note.read_text())
    for last in sorted({1 + step * (lines - 1) // (points - 1) for step in range(points)}):
        restore_project()
        assert in_child(lambda n=last: promote_until(version, n, note)) == signal.SIGKILL
        where = note.read_text()
        assert in_child(lambda: report_state(note)) == 0, where
        print(json.dumps(json.loads(note.read_text()) | {"where": where, "lines": lines}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))
