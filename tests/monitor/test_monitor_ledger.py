"""Ledger database: opening, errors, migrations, transactions."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from monitor.example_exposures import NAMES, contents, linked, monitor_of
from sqlalchemy import event, inspect, select, text
from sqlalchemy.exc import IntegrityError

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.database import REVISION, Ledger, migrations, open_ledger
from blobwatch.monitor.ledger.rows import list_blobs
from blobwatch.monitor.ledger.tables import Blob, Detection, Exposure, Model, Reviewer, Table
from blobwatch.predict import Predictor


@dataclass(frozen=True)
class Kept:
    """A ledger and its file."""

    ledger: Ledger
    file: Path


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """The file of a new ledger (read-only)."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    open_ledger(f"sqlite:///{path}", create=True).engine.dispose()
    return path


@pytest.fixture
def fresh(empty, tmp_path) -> Kept:
    path = Path(shutil.copy(empty, tmp_path / "ledger.db"))
    return Kept(open_ledger(f"sqlite:///{path}"), path)


def refusal(url: str, create: bool = False) -> str:
    with pytest.raises(BlobwatchError) as error:
        open_ledger(url, create)
    assert "\n" not in str(error.value)
    return str(error.value)


def someone(name: str = "Ada", token: str = "0" * 64) -> Reviewer:
    return Reviewer(name=name, token_sha256=token, since="2017-09-04T00:00:00+00:00")


def test_ledger_is_created_only_on_request(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert "no ledger" in refusal(url)
    assert list(tmp_path.iterdir()) == []
    open_ledger(url, create=True)
    open_ledger(url)


@pytest.mark.parametrize(
    "make", [lambda path: path.touch(), lambda path: path.write_text("no database" * 99)]
)
def test_other_files_are_rejected(tmp_path, make):
    make(tmp_path / "ledger.db")
    said = refusal(f"sqlite:///{tmp_path}/ledger.db")
    assert "no ledger" in said or "file is not a database" in said


def test_interrupted_creation_is_completed(tmp_path):
    (tmp_path / "ledger.db").touch()
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", create=True)
    assert inspect(ledger.engine).has_table("blobs")


def test_newer_ledger_is_rejected_and_unchanged(fresh):
    with fresh.ledger.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = fresh.file.read_bytes()
    said = refusal(f"sqlite:///{fresh.file}", create=True)
    assert "created by a newer blobwatch (revision 9999, this program supports 0002)" in said
    assert fresh.file.read_bytes() == before


NO_ADDRESS = "not a database address. Pass one like sqlite:///blobwatch.db"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        *((url, NO_ADDRESS) for url in ("ledger.db", "", "nonsense://", "mysql+no://host", "C:\\a")),
        *((url, "not stored on disk") for url in ("sqlite://", "sqlite:///:memory:")),
        ("sqlite:///{folder}/absent/ledger.db", "/absent: not a directory"),
        ("sqlite:///{folder}", "not usable"),
    ],
)
def test_unusable_url_is_rejected(tmp_path, url, message):
    assert message in refusal(url.format(folder=tmp_path), create=True)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:se%40cret@127.0.0.1:1/blobs",
        "postgresql://127.0.0.1:1/blobs?user=ada&password=se%40cret",
        "postgresql+nothing://ada:se%40cret@127.0.0.1:1/blobs",
        "nonsense://ada:se%40cret@127.0.0.1:1/blobs",
        "nonsense://127.0.0.1:1/blobs?user=ada&password=se%40cret",
        "postgresql://ada:se%40cret@127.0.0.1:port/blobs",
        "postgresql://127.0.0.1:1/blobs?nothing=se%40cret",
        "ada:se@cret@127.0.0.1/blobs",
        "postgresql://ada:se@cret@127.0.0.1:port/blobs",
    ],
)
def test_messages_contain_no_password(url):
    said = refusal(url, create=True)
    assert "cret" not in said


def test_migrations_create_tables(fresh):
    with fresh.ledger.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []


def test_light_curve_is_read_by_primary_key(fresh):
    """The rows of a blob are contiguous, so that long light curves are read quickly."""
    plan = "EXPLAIN QUERY PLAN SELECT depth FROM light WHERE blob_id = 1"
    with fresh.ledger.engine.connect() as connection:
        (row,) = connection.exec_driver_sql(plan).all()
    assert row[-1] == "SEARCH light USING PRIMARY KEY (blob_id=?)"


def test_revision_is_newest_migration():
    assert ScriptDirectory.from_config(migrations()).get_heads() == [REVISION]


def test_write_is_atomic(fresh):
    def write() -> None:
        with fresh.ledger.writing() as session:
            session.add(someone())
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    with fresh.ledger.reading() as session:
        assert session.scalars(select(Reviewer)).all() == []


def test_read_is_consistent_during_write(fresh):
    with fresh.ledger.writing() as session:
        session.add(someone())
        session.flush()
        with fresh.ledger.reading() as other:
            assert other.scalars(select(Reviewer)).all() == []
    with fresh.ledger.reading() as session:
        assert [one.name for one in session.scalars(select(Reviewer))] == ["Ada"]


def test_foreign_keys_are_enforced(fresh):
    blob = Detection(blob_id=7, exposure_id=8, model_id=9, x=1, y=1, radius=1, depth=1, snr=1, probability=1)
    blob.before = blob.after = blob.difference = b""
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), fresh.ledger.writing() as session:
        session.add(blob)


def test_each_row_references_its_model(watched, box_model):
    with open_ledger(watched.url).reading() as session:
        (model,) = session.scalars(select(Model)).all()
        used = Predictor.load(box_model).model
        assert (model.version, model.sha256) == (used.version, used.sha256)
        assert (model.fingerprint, model.threshold) == ("0" * 64, used.threshold)
        assert {one.model for one in session.scalars(select(Exposure))} == {model}
        assert {one.model for one in session.scalars(select(Blob))} == {model}
    for name in ("exposures", "detections", "blobs", "light", "reviews", "notices"):
        column = Table.metadata.tables[name].c.model_id
        assert not column.nullable
        assert [key.target_fullname for key in column.foreign_keys] == ["models.id"]


@pytest.mark.parametrize(
    ("pragma", "reason"),
    [("query_only=ON", "readonly database"), ("max_page_count=1", "database or disk is full")],
)
def test_unwritable_ledger_is_reported_and_continued_later(fresh, sky, box_model, tmp_path, pragma, reason):
    folder = linked(sky, tmp_path / "folder", *range(5))
    hindered = open_ledger(f"sqlite:///{fresh.file}")
    event.listen(hindered.engine, "connect", lambda connection, _: connection.execute(f"PRAGMA {pragma}"))
    hindered.engine.dispose()
    with pytest.raises(BlobwatchError, match=reason) as error:
        list(monitor_of(folder, hindered, box_model).run())
    assert "\n" not in str(error.value)
    hindered.engine.dispose()
    kept = contents(fresh.ledger)
    assert (kept["blobs"], kept["detections"], kept["light"]) == ([], [], [])
    list(monitor_of(folder, fresh.ledger, box_model).run())
    with fresh.ledger.reading() as session:
        (blob,) = list_blobs(session)
    assert (blob["last_without_rootname"], blob["first_rootname"]) == (NAMES[3], NAMES[4])
    assert len(contents(fresh.ledger)["exposures"]) == 5


def test_unwritable_lock_is_reported(fresh):
    (fresh.file.parent / f".{fresh.file.name}.lock").mkdir()
    with (
        pytest.raises(BlobwatchError, match="lock not writable"),
        fresh.ledger.lock(),
    ):
        pass
