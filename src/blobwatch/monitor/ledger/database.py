"""Access to the ledger's database: opening, migration, locking, transactions."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, inspect, make_url, text
from sqlalchemy import Row as Row
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from blobwatch.errors import BlobwatchError
from blobwatch.files import file_lock
from blobwatch.monitor.ledger.tables import Table

DEFAULT = "sqlite:///blobwatch.db"
REVISION = "0002"  # newest migration
BUSY_TIMEOUT = 60.0  # seconds to wait for the write of another process
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}  # by the name in the address
EXTERNAL = ("OperationalError", "DatabaseError")  # errors of the database, not of this program
DENIED = "42501"  # PostgreSQL's code of a missing privilege
WRITES = "writes"  # execution option of a connection that will write


class NoLedger(BlobwatchError):
    """The address has no ledger."""

    def __init__(self, url: URL):
        super().__init__(f"{redact(url)}: no ledger. `blobwatch monitor DIR` creates it")


def now() -> str:
    """Return the current time: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Ledger:
    """A ledger; `open_ledger` returns one."""

    def __init__(self, engine: Engine):
        self.engine = engine

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session that reads one consistent state of the ledger."""
        reader = self.engine
        if reader.url.get_backend_name() == "postgresql":  # the default of SQLite
            reader = reader.execution_options(isolation_level="REPEATABLE READ")
        with readable_errors(self.engine.url), Session(reader) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Yield a session whose changes are committed together or not at all."""
        writer = self.engine.execution_options(**{WRITES: True})
        opened = Session(writer, expire_on_commit=False)
        with readable_errors(self.engine.url), opened as session, session.begin():
            yield session

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the ledger against other monitors; the end of the process releases the lock."""
        url = self.engine.url
        if url.get_backend_name() == "postgresql":
            key = int.from_bytes(hashlib.sha256(b"blobwatch ledger").digest()[:7], "big")
            with readable_errors(url), self.engine.connect() as connection:
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
                try:
                    yield
                finally:
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
        else:
            with lock_sqlite(Path(url.database or "").resolve()):
                yield


def open_ledger(url: str = DEFAULT, create: bool = False) -> Ledger:
    """Open the ledger at an address and migrate its tables.

    Parameters
    ----------
    url : str
        Address in the form of SQLAlchemy, like ``sqlite:///blobwatch.db`` or
        ``postgresql://user@host/database``.
    create : bool
        Create the ledger if it does not exist.

    Raises
    ------
    BlobwatchError
        If the address is invalid, the database does not respond, there is no ledger, or a newer
        blobwatch created it.
    """
    try:
        parsed = make_url(url)
        parsed = parsed.set(drivername=DRIVERS[parsed.get_backend_name()])
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
    except (ArgumentError, NoSuchModuleError, KeyError, ValueError):
        kind, mark, _ = url.partition("://")  # the rest may contain a password
        redacted = f"{kind}://…" if mark else url.rpartition("@")[2]
        raise BlobwatchError(f"{redacted!r}: not a database address. Pass one like {DEFAULT}") from None
    if parsed.get_backend_name() == "sqlite":
        configure_sqlite(engine)
        require_database(parsed, create)
    ledger = Ledger(engine)
    with readable_errors(parsed):
        migrate(ledger, create)
    return ledger


def redact(url: URL) -> str:
    """Return an address without its password and options."""
    return url.set(query={}).render_as_string(hide_password=True)


def require_database(url: URL, create: bool) -> None:
    """Raise an error if SQLite would create an empty file or cannot create one."""
    path = Path(url.database or "")
    if not url.database or url.database == ":memory:":
        raise BlobwatchError(f"{redact(url)}: not stored on disk. Pass a file, like {DEFAULT}")
    if not path.exists() and not create:
        raise NoLedger(url)
    if not path.parent.is_dir():
        raise BlobwatchError(f"{path.parent}: not a directory. Create it for the ledger")


def configure_sqlite(engine: Engine) -> None:
    """Make SQLite enforce foreign keys, wait for locks, and lock when a write begins."""

    @event.listens_for(engine, "connect")
    def configure_connection(connection, _) -> None:
        connection.isolation_level = None  # `begin_transaction` sends BEGIN
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT * 1000)}")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection) -> None:
        # A transaction that reads first would fail if another process writes before it does.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def lock_sqlite(path: Path) -> Iterator[None]:
    """Lock a ledger that is a file."""
    lock = path.with_name(f".{path.name}.lock")
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(lock))
        except OSError as error:
            raise BlobwatchError(
                f"{lock}: lock not writable ({error.strerror}). Check its directory"
            ) from None
        yield


def migrate(ledger: Ledger, create: bool) -> None:
    """Migrate the tables to the newest revision."""
    if revision_of(ledger.engine) == REVISION:
        return
    with ledger.lock():
        found = revision_of(ledger.engine)
        if found is None and not create:
            raise NoLedger(ledger.engine.url)
        if found is not None and found > REVISION:
            raise BlobwatchError(
                f"{redact(ledger.engine.url)}: created by a newer blobwatch (revision {found}, this program "
                f"supports {REVISION}). Install that version"
            )
        if found != REVISION:
            from alembic import command

            with ledger.engine.execution_options(**{WRITES: True}).begin() as connection:
                command.upgrade(migrations(connection), REVISION)


def migrations(connection=None):
    """Return alembic's configuration for the migrations of the package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes |= {"connection": connection, "target_metadata": Table.metadata}
    return config


def revision_of(engine: Engine) -> str | None:
    """Return the revision of the tables; None without tables."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


@contextmanager
def readable_errors(url: URL) -> Iterator[None]:
    """Turn errors of the database into `BlobwatchError`; re-raise other errors."""
    try:
        yield
    except DBAPIError as error:
        denied = getattr(error.orig, "sqlstate", "") in (None, DENIED)  # None: error of the client
        if error.connection_invalidated or denied or type(error).__name__ in EXTERNAL:
            reason = str(error.orig).strip().splitlines()[0]
            raise BlobwatchError(f"{redact(url)}: ledger not usable ({reason}). Repair it first") from None
        raise
