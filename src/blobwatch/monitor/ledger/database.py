"""The one door to the ledger's database: opened, brought to the newest form, held alone, asked."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.tables import Table

DEFAULT = "sqlite:///blobwatch.db"
REVISION = "0001"  # the newest form of the tables, under migrations/
PATIENCE = 60.0  # seconds that one waits for another's write
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}  # of the databases that one may give
OUTSIDE = ("OperationalError", "DatabaseError")  # no mistakes of ours
DENIED = "42501"  # how PostgreSQL calls a right that is lacking
WRITES = "writes"  # the execution option of a connection that will write


def now() -> str:
    """Return the moment as the ledger keeps it: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Ledger:
    """A ledger; `open_ledger` gives one."""

    def __init__(self, engine: Engine):
        self.engine = engine

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session that reads one state of the ledger, whatever is written meanwhile."""
        reader = self.engine
        if reader.url.get_backend_name() == "postgresql":  # SQLite does so by itself
            reader = reader.execution_options(isolation_level="REPEATABLE READ")
        with said_in_a_sentence(self.engine.url), Session(reader) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Yield a session whose changes are there together when the block ends well, or not at all."""
        writer = self.engine.execution_options(**{WRITES: True})
        opened = Session(writer, expire_on_commit=False)
        with said_in_a_sentence(self.engine.url), opened as session, session.begin():
            yield session

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the ledger, so that no other monitor is at work on it; a process that ends lets go."""
        url = self.engine.url
        if url.get_backend_name() == "postgresql":
            key = int.from_bytes(hashlib.sha256(b"blobwatch ledger").digest()[:7], "big")
            with said_in_a_sentence(url), self.engine.connect() as connection:
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
                try:
                    yield
                finally:
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
        else:
            with held(Path(url.database).resolve()):
                yield


def open_ledger(url: str = DEFAULT, create: bool = False) -> Ledger:
    """Return the ledger at an address, in the newest form of its tables.

    Parameters
    ----------
    url : str
        Of SQLAlchemy, like ``sqlite:///blobwatch.db`` or ``postgresql://user@host/database``.
    create : bool
        Make it where there is none.

    Raises
    ------
    BlobwatchError
        If the address is none, nothing answers there, there is no ledger, or a newer blobwatch made it.
    """
    try:
        parsed = make_url(url)
        parsed = parsed.set(drivername=DRIVERS[parsed.get_backend_name()])
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
    except (ArgumentError, NoSuchModuleError, KeyError, ValueError):
        kind, mark, _ = url.partition("://")  # the rest may hold a password
        said = f"{kind}://…" if mark else url.rpartition("@")[2]
        raise BlobwatchError(f"{said!r} is no address of a database; give one like {DEFAULT}") from None
    if parsed.get_backend_name() == "sqlite":
        careful(engine)
        refuse_absent(parsed, create)
    ledger = Ledger(engine)
    with said_in_a_sentence(parsed):
        bring_up(ledger, create)
    return ledger


def shown(url: URL) -> str:
    """Return an address without what may be secret in it."""
    return url.set(query={}).render_as_string(hide_password=True)


def refuse_absent(url: URL, create: bool) -> None:
    """Raise an error where SQLite would make an empty file, or cannot make one."""
    path = Path(url.database or "")
    if not url.database or url.database == ":memory:":
        raise BlobwatchError(f"{shown(url)} keeps nothing; give a file, like {DEFAULT}")
    if not path.exists() and not create:
        raise BlobwatchError(f"there is no ledger at {shown(url)}; blobwatch monitor DIR makes it")
    if not path.parent.is_dir():
        raise BlobwatchError(f"{path.parent}, where the ledger would lie, is no folder; make it")


def careful(engine: Engine) -> None:
    """Let SQLite keep foreign keys, wait for others, and take the write lock when a write begins."""

    @event.listens_for(engine, "connect")
    def set_up(connection, _) -> None:
        connection.isolation_level = None  # BEGIN is ours
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA busy_timeout={int(PATIENCE * 1000)}")

    @event.listens_for(engine, "begin")
    def begin(connection) -> None:
        # A read that turns into a write could find that another wrote meanwhile, and fail.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def held(path: Path):
    """Return the lock of a ledger that is a file, a file beside it, held until the end of a block."""
    from filelock import FileLock

    lock = path.with_name(f".{path.name}.lock")
    try:
        return FileLock(lock).acquire()
    except OSError as error:
        raise BlobwatchError(
            f"{lock}, the lock of the ledger, cannot be written ({error.strerror}); see to its folder"
        ) from None


def bring_up(ledger: Ledger, create: bool) -> None:
    """Bring the tables to their newest form."""
    if revision_of(ledger.engine) == REVISION:
        return
    with ledger.alone():
        found = revision_of(ledger.engine)
        if found is None and not create:
            raise BlobwatchError(
                f"there is no ledger at {shown(ledger.engine.url)}; blobwatch monitor DIR makes it"
            )
        if found is not None and found > REVISION:
            raise BlobwatchError(
                f"the ledger at {shown(ledger.engine.url)} was made by a newer blobwatch (its tables are "
                f"{found}, this knows {REVISION}); install that one"
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
    """Return the form of the tables, or None where there are none."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


@contextmanager
def said_in_a_sentence(url: URL) -> Iterator[None]:
    """Turn what a database complains of into a sentence; a mistake of ours stays what it is."""
    try:
        yield
    except DBAPIError as error:
        denied = getattr(error.orig, "sqlstate", "") in (None, DENIED)  # None: the client itself refuses
        if error.connection_invalidated or denied or type(error).__name__ in OUTSIDE:
            reason = str(error.orig).strip().splitlines()[0]
            raise BlobwatchError(f"the ledger at {shown(url)} cannot be used ({reason}); see to it") from None
        raise
