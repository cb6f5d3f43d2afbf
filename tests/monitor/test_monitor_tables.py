"""The tables that the migrations make are those of the code."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.monitor.ledger.tables import Table


@pytest.fixture
def connection(tmp_path):
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", create=True)
    with ledger.engine.connect() as connection:
        yield connection


def test_the_migrations_make_the_tables_of_the_code(connection):
    assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_the_light_lies_in_the_order_in_which_it_is_read(connection):
    """Blob by blob: a page of one with a history of ten thousand exposures is read in one go."""
    plan = "EXPLAIN QUERY PLAN SELECT depth FROM light WHERE blob_id = 1"
    (row,) = connection.exec_driver_sql(plan).all()
    assert row[-1] == "SEARCH light USING PRIMARY KEY (blob_id=?)"
