"""Servers of a team, run locally for tests: PostgreSQL, MLflow, sshd."""

import getpass
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

HOST = "127.0.0.1"
PATIENCE = 60.0  # seconds for a server to start or to stop
ROLE = DATABASE = "mlflow"


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL; libpq reads the password from a file, so that URLs contain none."""

    port: int
    passwords: Path

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg://{ROLE}@{HOST}:{self.port}/{DATABASE}"


@dataclass(frozen=True)
class Login:
    """Login data of a running sshd."""

    user: str
    port: int
    key: Path

    def address(self, folder: Path) -> str:
        return f"ssh://{self.user}@{HOST}:{self.port}{folder}"


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL of its own, with a role and a database for MLflow."""
    pytest.importorskip("psycopg", reason="psycopg is not installed; pip install 'blobwatch[team]'")
    tools, account = postgres_tools(), unprivileged()
    with tempfile.TemporaryDirectory(prefix="blobwatch-postgres-", dir="/tmp") as name:
        folder, running = Path(name), Postgres(free_port(), Path(name) / "pgpass")
        password, plain = secrets.token_hex(), folder / "password"
        write_secret(plain, password)
        write_secret(running.passwords, f"{HOST}:{running.port}:*:{ROLE}:{password}")
        for path in (folder, plain) if account else ():
            shutil.chown(path, account["user"], account["group"])
        settings = ["--auth=scram-sha-256", f"--pwfile={plain}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        make = [tools / "initdb", f"--pgdata={folder / 'data'}", f"--username={ROLE}", *settings]
        done = subprocess.run(make, cwd=folder, capture_output=True, text=True, check=False, **account)
        if done.returncode:
            pytest.skip(f"initdb failed: {done.stderr}")
        place = ["-D", folder / "data", "-p", str(running.port), "-c", f"listen_addresses={HOST}"]
        command = [tools / "postgres", *place, "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        at = ["-h", HOST, "-p", str(running.port)]
        ready = [tools / "pg_isready", "--quiet", *at]
        with serving(command, folder / "log", lambda: succeeds(ready), stop=signal.SIGINT, **account):
            create = [tools / "createdb", *at, "-U", ROLE, DATABASE]
            subprocess.run(create, env=os.environ | {"PGPASSFILE": str(running.passwords)}, check=True)
            yield running


@contextmanager
def mlflow_server(database: Postgres, folder: Path) -> Iterator[str]:
    """Run an MLflow server on a database, with its artifacts in ``folder``; yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", database.uri]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    own |= {"PGPASSFILE": str(database.passwords)}
    how = {"env": os.environ | own, "cwd": folder, "otherwise": pytest.fail}
    with serving(command, folder / "mlflow.log", lambda: is_healthy(port), **how):
        yield f"http://{HOST}:{port}"
    poll(lambda: not is_healthy(port), f"MLflow on port {port} goes on")


@contextmanager
def sshd(folder: Path) -> Iterator[Login]:
    """Run an sshd that accepts the current user with a new key."""
    binary = find_tool("sshd", os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    login = Login(getpass.getuser(), free_port(), make_key(folder / "key"))
    host_key = make_key(folder / "host_key")
    config = {
        "ListenAddress": HOST,
        "Port": login.port,
        "HostKey": host_key,
        "AuthorizedKeysFile": login.key.with_suffix(".pub"),
        "StrictModes": "no",  # /tmp above the keys is everybody's
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd asks for it, and systemd makes it elsewhere
    command = [binary, "-D", "-e", "-f", folder / "sshd_config"]
    log = folder / "sshd.log"
    with serving(command, log, lambda: greets(login.port)):
        if not lets_in(login):  # for one, a locked account
            pytest.skip(f"sshd does not let {login.user} in: {log.read_text()[-1000:]}")
        yield login


@contextmanager
def serving(
    command: list,
    log: Path,
    ready: Callable[[], bool],
    stop: int = signal.SIGTERM,
    otherwise: Callable[[str], None] = pytest.skip,
    **how,
) -> Iterator[None]:
    """Run a server in the block; skip the test if it cannot start."""
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **how
        )
    try:
        poll(lambda: server.poll() is not None or ready(), f"{command[0]} is not ready")
        if server.poll() is not None:
            otherwise(f"{Path(command[0]).name} cannot start here: {log.read_text()[-1000:]}")
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, stop)
        server.wait(PATIENCE)


def poll(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{otherwise} after {PATIENCE:g} s")
        time.sleep(0.02)


def postgres_tools() -> Path:
    """Return the folder with PostgreSQL's programs, which Debian keeps off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else Path(find_tool("initdb", os.environ.get("PATH"))).parent


def find_tool(name: str, path: str | None) -> str:
    """Return where a program is; skip the test if it is not installed."""
    return shutil.which(name, path=path) or pytest.skip(f"{name} is not installed")


def unprivileged() -> dict:
    """Return the account for a server that does not run as root; empty if not root."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL refuses root, and there is neither an account postgres nor nobody")


def make_key(path: Path) -> Path:
    """Create a key pair; return the path of the private key."""
    tool = find_tool("ssh-keygen", os.environ.get("PATH"))
    subprocess.run([tool, "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def succeeds(command: list) -> bool:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0


def is_healthy(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def greets(port: int) -> bool:
    """Return whether an SSH server responds."""
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def lets_in(login: Login) -> bool:
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
    command = ["ssh", "-F", "none", "-i", login.key, "-p", str(login.port), f"{login.user}@{HOST}"]
    command[1:1] = [word for option in options for word in ("-o", option)]
    return succeeds([*command, "-s", "sftp"])


def free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return one.getsockname()[1]
