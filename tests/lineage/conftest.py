"""The project of these tests."""

from lineage.project import blank_database, project  # noqa: F401
