"""Two clones that share an MLflow server on PostgreSQL and a DVC remote over SSH."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from lineage.project import MLFLOW_WARNING, Project, make_project
from team.servers import Login, mlflow_server, postgres, sshd

from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage.audit.run import audit
from blobwatch.lineage.origin import commit_of, fingerprint_of
from blobwatch.lineage.promotion import commands
from blobwatch.lineage.promotion.commands import promote
from blobwatch.lineage.promotion.deployment import ensure_champion, next_number
from blobwatch.lineage.tracking import registry
from blobwatch.lineage.tracking.logging import record_evaluation
from blobwatch.lineage.tracking.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(MLFLOW_WARNING)]

OUTPUTS = ("data/subframes", "models/candidate", "reports/evaluate")
ON_SERVER = ("registry", "alias", "run")  # links of an audit
HELD = 60.0  # seconds at most that one promotion waits for another
CLAIMED = "promotes in .*Wait, run `git pull`"
PROMOTED = "made version . the champion, and .* lacks that line. Run `git pull`"


@dataclass(frozen=True)
class Team:
    """Two clones of one repository; an input differs in the second."""

    ada: Project
    ben: Project


@pytest.fixture(scope="module")
def database():
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def served(database, tmp_path_factory):
    """The address of the MLflow server and its folder of artifacts."""
    folder = tmp_path_factory.mktemp("server")
    with mlflow_server(database, folder) as uri:
        yield uri, folder / "artifacts"


@pytest.fixture
def team(served, tmp_path) -> Team:
    with mock.patch.dict(os.environ, MLFLOW_TRACKING_URI=served[0]):
        made = make_project(tmp_path / "made")
        made.git("clone", "--quiet", "--bare", ".", str(tmp_path / "team.git"))
        team = Team(*(clone_of(tmp_path, made, name) for name in ("Ada", "Ben")))
        (team.ben.root / "src/pkg/loss.py").write_text("weight = 2\n")
        yield team
        client = open_store(team.ada.root).client
        for one in client.search_registered_models():
            client.delete_registered_model(one.name)


@pytest.fixture(scope="module")
def login(tmp_path_factory) -> Login:
    with sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def clone_of(folder: Path, made: Project, name: str) -> Project:
    """Clone the team's repository for a person, with the same data."""
    made.git("clone", "--quiet", str(folder / "team.git"), str(folder / name))
    clone = Project(folder / name)
    clone.git("config", "user.name", name)
    shutil.copytree(made.subframes, clone.subframes)
    return clone


def register(clone: Project) -> int:
    """Train a candidate in a clone and register it on the server; return its version."""
    clone.train(clone.root.name)
    clone.evaluate()
    store, model = open_store(clone.root), Model.load(clone.candidate)
    run_id, _ = record_evaluation(clone.root, clone.candidate, clone.reports)
    commit = commit_of(clone.root, fingerprint_of(model))
    return int(registry.register(store, model, run_id, commit, next_number(clone.root)).version)


def share(clone: Project) -> None:
    """Commit and push the files of a promotion."""
    clone.git("add", "models/champion", "models/promotions.jsonl")
    clone.git("commit", "--quiet", "--message", "champion")
    clone.git("push", "--quiet")


def champion(clone: Project) -> str:
    return (clone.root / "models/champion/model.onnx").read_text()


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file of a folder, without those of git and DVC."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        str(name): path.read_bytes() for name, path in paths.items() if name.parts[0] not in (".git", ".dvc")
    }


def registry_of(clone: Project) -> tuple[int | None, list[str]]:
    """Return where the champion's alias points, and the names of all registered models, claims among them."""
    store = open_store(clone.root)
    names = [one.name for one in store.client.search_registered_models()]
    return registry.get_alias(store, registry.CHAMPION), names


def test_version_is_stored_in_database_and_served(team, database, served):
    import psycopg

    number = register(team.ada)
    fetched = registry.fetch_version(number, team.ben.root)
    assert (fetched / "model.onnx").read_text() == "onnx Ada"
    assert Model.load(fetched).files == Model.load(team.ada.candidate).files
    assert "onnx Ada" in [path.read_text() for path in served[1].rglob("model.onnx")]
    source = registry.get_version(open_store(team.ben.root), number).source
    assert source.startswith("mlflow-artifacts:/")
    address = database.uri.replace("+psycopg", "")
    with psycopg.connect(address, passfile=str(database.passwords)) as connection:
        rows = connection.execute("SELECT version, source FROM model_versions WHERE name = 'blobwatch'")
        assert rows.fetchall() == [(number, source)]


def test_outdated_clone_cannot_promote(team, ungated):
    first, second = register(team.ada), register(team.ben)
    promote(team.ada.root, first, "the first", None)
    share(team.ada)
    before = content(team.ben.root)
    with pytest.raises(BlobwatchError, match=f"^Ada .*{PROMOTED}"):
        promote(team.ben.root, second, "mine", None)
    assert content(team.ben.root) == before
    assert registry_of(team.ben) == (first, ["blobwatch"])
    team.ben.git("pull", "--quiet")
    assert champion(team.ben) == "onnx Ada"
    assert ensure_champion(team.ben.root, open_store(team.ben.root))[1] == first
    promote(team.ben.root, second, "better", None)
    assert [line["version"] for line in team.ben.lines()] == [first, second]
    assert registry_of(team.ada) == (second, ["blobwatch"])


def at_the_gates(barrier, refused) -> None:
    """Make both processes pass the gates at the same time."""

    def run_gates(*arguments):
        barrier.wait(HELD)
        return []

    commands.run_gates = run_gates


def in_the_claim(barrier, refused) -> None:
    """Make both claim at the same time; the winner waits until the other is rejected."""
    claimed = registry.claim_registry

    @contextmanager
    def claim(*arguments):
        barrier.wait(HELD)
        try:
            with claimed(*arguments):
                refused.wait(HELD)
                yield
        except BlobwatchError:
            refused.set()
            raise

    commands.run_gates = lambda *arguments: []
    registry.claim_registry = claim


def promote_at_once(versions: dict[Path, int], meet: Callable) -> list[BaseException | None]:
    """Promote in one process per clone, synchronized by ``meet``; return the exceptions."""
    context = multiprocessing.get_context("spawn")
    meeting = context.Barrier(len(versions)), context.Event()
    with ProcessPoolExecutor(len(versions), context, initializer=meet, initargs=meeting) as pool:
        attempts = [pool.submit(promote, root, number, "mine", None) for root, number in versions.items()]
        return [attempt.exception() for attempt in attempts]


@pytest.mark.parametrize(
    ("meet", "sentence"),
    [(at_the_gates, f"{CLAIMED}|{PROMOTED}"), (in_the_claim, CLAIMED)],
    ids=["gates", "claim"],
)
def test_concurrent_promotion_is_rejected(team, meet, sentence):
    versions = {clone.root: register(clone) for clone in (team.ada, team.ben)}
    errors = promote_at_once(versions, meet)
    (told,) = filter(None, errors)
    winner, loser = (team.ada, team.ben) if errors[0] is None else (team.ben, team.ada)
    with pytest.raises(BlobwatchError, match=f"^{winner.root.name} .*({sentence})"):
        raise told
    assert [line["version"] for line in winner.lines()] == [versions[winner.root]]
    assert champion(winner) == f"onnx {winner.root.name}"
    assert registry_of(loser) == (versions[winner.root], ["blobwatch"])
    assert loser.lines() == []
    assert not (loser.root / "models/champion").exists()
    share(winner)
    loser.git("pull", "--quiet")
    assert champion(loser) == champion(winner)


def statuses(found: dict) -> dict[str, str]:
    return {link["link"]: link["status"] for link in found["links"]}


def audit_from_shell(root: Path) -> dict:
    """Audit by the command, with a timeout shorter than MLflow's retries."""
    command = [sys.executable, "-m", "blobwatch.cli", "audit", "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def test_audit_works_without_server(team, database, tmp_path, monkeypatch, ungated):
    promote(team.ada.root, register(team.ada), "the first", None)
    share(team.ada)
    team.ben.git("pull", "--quiet")
    with mlflow_server(database, tmp_path) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        asked = statuses(audit(team.ben.root).as_json())
    alone = statuses(audit_from_shell(team.ben.root))
    assert [asked[link] for link in ON_SERVER] == ["ok"] * 3
    assert [alone[link] for link in ON_SERVER] == ["missing"] * 3
    assert "mismatch" not in asked.values()
    assert alone == asked | dict.fromkeys(ON_SERVER, "missing")


def run_dvc(root: Path, *arguments: object) -> subprocess.CompletedProcess:
    """Run DVC with an empty home directory, so that only the settings of the project count."""
    home = root.parent / "home"
    home.mkdir(exist_ok=True)
    own = {"HOME": str(home), "PATH": os.environ["PATH"], "DVC_NO_ANALYTICS": "true"}
    own |= {"DVC_SITE_CACHE_DIR": str(home / "site")}
    command = [sys.executable, "-m", "dvc", *map(str, arguments)]
    return subprocess.run(command, cwd=root, env=own, capture_output=True, text=True, check=False)


def dvc(root: Path, *arguments: object) -> None:
    done = run_dvc(root, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def pushed(login, tmp_path_factory) -> Project:
    """A project whose outputs were pushed to ``remote/`` next to it, with verification on."""
    made = make_project(tmp_path_factory.mktemp("pushed") / "made")
    made.train()
    made.evaluate()
    (made.root / "dvc.lock").unlink()
    dvc(made.root, "init", "--quiet")
    dvc(made.root, "remote", "add", "--default", "team", login.address(made.root.parent / "remote"))
    dvc(made.root, "remote", "modify", "team", "verify", "true")
    dvc(made.root, "remote", "modify", "--local", "team", "keyfile", login.key)
    dvc(made.root, "commit", "--force")
    made.commit()
    dvc(made.root, "push")
    return made


def clone_with_key(made: Project, login: Login, to: Path) -> Project:
    made.git("clone", "--quiet", str(made.root), str(to))
    dvc(to, "remote", "modify", "--local", "team", "keyfile", login.key)
    return Project(to)


def test_outputs_are_pulled_over_ssh(pushed, login, tmp_path):
    clone = clone_with_key(pushed, login, tmp_path / "clone")
    assert not clone.subframes.exists()
    dvc(clone.root, "pull")
    for folder in OUTPUTS:
        assert content(clone.root / folder) == content(pushed.root / folder) != {}


def test_changed_remote_file_is_rejected(pushed, login, tmp_path):
    remote = shutil.copytree(pushed.root.parent / "remote", tmp_path / "remote")
    (kept,) = (path for path in remote.rglob("*") if path.is_file() and path.read_bytes() == b"onnx one")
    kept.write_bytes(b"onnx two")
    clone = clone_with_key(pushed, login, tmp_path / "clone")
    dvc(clone.root, "remote", "modify", "--local", "team", "url", login.address(remote))
    pulled = run_dvc(clone.root, "pull")
    assert pulled.returncode != 0
    assert "models/candidate" in pulled.stderr
    assert not (clone.candidate / "model.onnx").exists()
