"""The table of a scan, as parquet: written in parts while the scan goes on, and whole at its end.

A row carries the identity of its answer: a hash over the model, the settings, and size and time of the
file and of those in its stack. So what was answered before is known again, and what has changed is not.
An error in a whole table is no answer: the next scan tries again, for a disk may have been away.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_file

ROWS = 1000  # in a row group of the whole table, and in memory
BLOB = ("x", "y", "radius", "probability", "snr", "depth")


class Place(NamedTuple):
    """Where an answer lies: table, row group, row in it."""

    path: Path
    group: int
    row: int


def schema():
    """Return the columns: one row per file."""
    import pyarrow as pa

    blob = pa.struct([(name, pa.float64()) for name in BLOB])
    return pa.schema(
        [
            ("image", pa.string()),
            ("rootname", pa.string()),
            ("kind", pa.string()),
            ("expstart", pa.float64()),  # MJD
            ("filter", pa.string()),
            ("flats", pa.string()),
            ("cal_ver", pa.string()),
            ("error", pa.string()),
            ("rejected", pa.bool_()),
            ("probability", pa.float64()),  # the highest of the sixteen
            ("count", pa.int32()),
            ("probabilities", pa.list_(pa.float64())),
            ("blobs", pa.list_(blob)),
            ("model_version", pa.int32()),
            ("model_sha256", pa.string()),
            ("identity", pa.string()),
        ]
    )


def parts_of(out: Path) -> Path:
    """Return the folder that holds the parts while a scan goes on."""
    return out.with_name(f"{out.name}.parts")


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Say in a sentence why a table cannot be written."""
    try:
        yield
    except TimeoutError:  # a lock, which tells of itself
        raise
    except OSError as error:
        raise BlobwatchError(
            f"{out} cannot be written ({error.strerror or error}); mend that and run the same command again: "
            "it goes on from where it was"
        ) from None


def write_part(out: Path, rows: list[dict]) -> None:
    """Write some rows as the next part, whole or not at all."""
    import pyarrow as pa
    from pyarrow import parquet

    folder = parts_of(out)
    number = max((int(path.stem) for path in folder.glob("[0-9]*.parquet")), default=-1) + 1
    with writing(out), atomic_file(folder / f"{number:08d}.parquet") as partial:
        parquet.write_table(pa.Table.from_pylist(rows, schema()), partial)


def answered(out: Path) -> dict[str, Place]:
    """Return where each answer lies that was given, by its identity.

    Raises
    ------
    BlobwatchError
        If what lies at ``out`` is no table of a scan.
    """
    found = {}
    tables = [out] if out.exists() else []
    for path in [*tables, *sorted(parts_of(out).glob("[0-9]*.parquet"))]:
        for group, table in enumerate(groups_of(path, ["identity", "error"])):
            pairs = zip(table.column("identity").to_pylist(), table.column("error").to_pylist(), strict=True)
            places = ((one, error, Place(path, group, row)) for row, (one, error) in enumerate(pairs))
            found |= {one: place for one, error, place in places if path != out or error is None}
    return found


def is_whole(out: Path, known: dict[str, Place], identities: list[str]) -> bool:
    """Tell whether the table is what a merge would make of the answers, so that it can stay as it is."""
    return list(known) == identities and all(place.path == out for place in known.values())


def opened(path: Path):
    """Return a table of a scan, of which no row is read yet."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError):
        table = None
    if table is None or not table.schema_arrow.equals(schema()):
        raise BlobwatchError(f"{path} is no table of a scan; give another --out, or remove it to begin anew")
    return table


def groups_of(path: Path, columns: list[str]) -> Iterator:
    """Yield some columns of a table, one row group at a time."""
    with opened(path) as table:
        for group in range(table.num_row_groups):
            yield table.read_row_group(group, columns)


def summary(out: Path) -> dict[str, int]:
    """Return how many blobs, errors and rejected exposures a table holds."""
    found = {"blobs": 0, "errors": 0, "rejected": 0}
    for table in groups_of(out, ["count", "error", "rejected"]):
        found["rejected"] += sum(table.column("rejected").drop_null().to_pylist())
        found["blobs"] += sum(table.column("count").drop_null().to_pylist())
        found["errors"] += len(table.column("error").drop_null())
    return found


def merge(out: Path, places: Iterable[Place]) -> None:
    """Write the whole table out of the rows at given places, in that order, and remove the parts.

    Only a few row groups are in memory.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with writing(out), atomic_file(out) as partial, parquet.ParquetWriter(partial, schema()) as writer:
        group = schema().empty_table()
        for run in runs(places):
            group = pa.concat_tables([group, run])
            while group.num_rows >= ROWS:  # of one size, so that equal answers are equal bytes
                writer.write_table(group.slice(0, ROWS).combine_chunks())
                group = group.slice(ROWS)
        if group.num_rows:
            writer.write_table(group.combine_chunks())
    shutil.rmtree(parts_of(out), ignore_errors=True)


def runs(places: Iterable[Place]) -> Iterator:
    """Yield tables of rows that are asked for one after the other out of the same row group."""

    @lru_cache(maxsize=4)  # old answers and new ones may take turns
    def group_of(path: Path, group: int):
        with opened(path) as table:
            return table.read_row_group(group)

    for (path, group), together in groupby(places, key=lambda place: (place.path, place.group)):
        yield group_of(path, group).take([place.row for place in together])
