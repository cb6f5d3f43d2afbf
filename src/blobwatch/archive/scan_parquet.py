"""The table of a scan in parquet format: parts during the scan, merged at its end.

The identity of a row is a hash of the model, the settings, and the size and modification time of the file and
of the files in its stack. A later scan reuses rows with the same identity. It repeats rows with an error,
because a disk may have been unavailable.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from blobwatch.archive.manifest import translate_errors
from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_file, file_lock, lock_path

ROWS = 1000  # per row group of the merged table, and in memory
BLOB = ("x", "y", "radius", "probability", "snr", "depth")


class RowLocation(NamedTuple):
    """Table, row group and row of a result."""

    path: Path
    group: int
    row: int


def table_schema():
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
            ("probability", pa.float64()),  # maximum of the sixteen
            ("count", pa.int32()),
            ("probabilities", pa.list_(pa.float64())),
            ("blobs", pa.list_(blob)),
            ("model_version", pa.int32()),
            ("model_sha256", pa.string()),
            ("identity", pa.string()),
        ]
    )


def parts_folder(out: Path) -> Path:
    """Return the directory of the parts during a scan."""
    return out.with_name(f"{out.name}.parts")


@contextmanager
def lock_table(out: Path) -> Iterator[None]:
    """Lock the table against other scans."""
    if out.suffix != ".parquet" or out.is_dir():
        raise BlobwatchError(f"{out}: not a parquet file. Pass a file that ends in .parquet")
    with ExitStack() as stack:
        with translate_errors(out):
            busy = f"{out}: another scan writes it. Wait until it ends"
            stack.enter_context(file_lock(lock_path(out), timeout=0, busy=busy))
        yield


def write_part(out: Path, rows: list[dict]) -> None:
    """Write rows as the next part."""
    import pyarrow as pa
    from pyarrow import parquet

    folder = parts_folder(out)
    number = max((int(path.stem) for path in folder.glob("[0-9]*.parquet")), default=-1) + 1
    with translate_errors(out), atomic_file(folder / f"{number:08d}.parquet") as partial:
        parquet.write_table(pa.Table.from_pylist(rows, table_schema()), partial)


def locate_rows(out: Path) -> dict[str, RowLocation]:
    """Return the location of each result in table and parts, by identity.

    Raises
    ------
    BlobwatchError
        If ``out`` is not a table of a scan.
    """
    found = {}
    tables = [out] if out.exists() else []
    for path in [*tables, *sorted(parts_folder(out).glob("[0-9]*.parquet"))]:
        for group, table in enumerate(read_groups(path, ["identity", "error"])):
            pairs = zip(table.column("identity").to_pylist(), table.column("error").to_pylist(), strict=True)
            for row, (identity, error) in enumerate(pairs):
                if path != out or error is None:
                    found[identity] = RowLocation(path, group, row)
    return found


def open_table(path: Path):
    """Return a table of a scan as a parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError):
        table = None
    if table is None or not table.schema_arrow.equals(table_schema()):
        raise BlobwatchError(f"{path}: not a table of a scan. Pass another --out, or remove the file")
    return table


def read_groups(path: Path, columns: list[str]) -> Iterator:
    """Yield columns of a table, one row group at a time."""
    with open_table(path) as table:
        for group in range(table.num_row_groups):
            yield table.read_row_group(group, columns)


def count_results(out: Path) -> dict[str, int]:
    """Return the numbers of blobs, errors and rejected exposures in a table."""
    counts = {"blobs": 0, "errors": 0, "rejected": 0}
    for table in read_groups(out, ["count", "error", "rejected"]):
        counts["rejected"] += sum(table.column("rejected").drop_null().to_pylist())
        counts["blobs"] += sum(table.column("count").drop_null().to_pylist())
        counts["errors"] += len(table.column("error").drop_null())
    return counts


def merge_rows(out: Path, rows: Iterable[RowLocation]) -> None:
    """Write a table of these rows in this order, and remove the parts.

    Only a few row groups are in memory.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = table_schema()
    with translate_errors(out), atomic_file(out) as partial, parquet.ParquetWriter(partial, schema) as writer:
        group = schema.empty_table()
        for run in read_runs(rows):
            group = pa.concat_tables([group, run])
            while group.num_rows >= ROWS:  # groups of one size, so that equal results give equal bytes
                writer.write_table(group.slice(0, ROWS).combine_chunks())
                group = group.slice(ROWS)
        if group.num_rows:
            writer.write_table(group.combine_chunks())
    shutil.rmtree(parts_folder(out), ignore_errors=True)


def read_runs(rows: Iterable[RowLocation]) -> Iterator:
    """Yield a table for each run of rows from the same row group."""

    @lru_cache(maxsize=4)  # old and new results may alternate
    def read_group(path: Path, group: int):
        with open_table(path) as table:
            return table.read_row_group(group)

    for (path, group), run in groupby(rows, key=lambda one: (one.path, one.group)):
        yield read_group(path, group).take([one.row for one in run])
