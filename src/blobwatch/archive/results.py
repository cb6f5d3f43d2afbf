"""The table of a scan, as parquet: written in parts while the scan goes on, and whole at its end.

A row carries the identity of its answer: a hash over the model, the settings, and size and time of the
file and of those in its stack. So what was answered before is known again, and what has changed is not.
An error in a whole table is no answer: the next scan tries again, for a disk may have been away.
"""

import shutil
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import whole_file

ROWS = 1000  # in a row group of the whole table, and in memory
BLOB = ("x", "y", "radius", "probability", "snr", "depth")


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
            ("error", pa.string()),
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


def write_part(out: Path, rows: list[dict]) -> None:
    """Write some rows as the next part, whole or not at all."""
    import pyarrow as pa
    from pyarrow import parquet

    folder = parts_of(out)
    number = max((int(path.stem) for path in folder.glob("[0-9]*.parquet")), default=-1) + 1
    with whole_file(folder / f"{number:08d}.parquet") as partial:
        parquet.write_table(pa.Table.from_pylist(rows, schema()), partial)


def answered(out: Path) -> dict[str, tuple[Path, int]]:
    """Return where each answer lies that was given, by its identity: table and row.

    Raises
    ------
    BlobwatchError
        If what lies at ``out`` is no table of a scan.
    """
    found = {}
    tables = [out] if out.exists() else []
    for path in [*tables, *sorted(parts_of(out).glob("[0-9]*.parquet"))]:
        table = read(path, ["identity", "error"])
        pairs = zip(table.column("identity").to_pylist(), table.column("error").to_pylist(), strict=True)
        found |= {one: (path, row) for row, (one, error) in enumerate(pairs) if path != out or error is None}
    return found


def read(path: Path, columns: list[str] | None = None):
    """Return a table of a scan, or some of its columns."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, columns=columns)
        return table if columns else table.cast(schema())
    except (pa.ArrowException, OSError, KeyError):
        raise BlobwatchError(
            f"{path} is no table of a scan; give another --out, or remove it to begin anew"
        ) from None


def summary(out: Path) -> dict[str, int]:
    """Return how many blobs and how many errors a table holds."""
    table = read(out, ["count", "error"])
    counts, errors = table.column("count").drop_null(), table.column("error").drop_null()
    return {"blobs": sum(counts.to_pylist()), "errors": len(errors)}


def merge(out: Path, places: Iterable[tuple[Path, int]]) -> None:
    """Write the whole table out of the rows at given places, in that order, and remove the parts.

    Only a row group is in memory, and the table that it comes from.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with whole_file(out) as partial, parquet.ParquetWriter(partial, schema()) as writer:
        group = schema().empty_table()
        for run in runs(places):
            group = pa.concat_tables([group, run])
            while group.num_rows >= ROWS:  # of one size, so that equal answers are equal bytes
                writer.write_table(group.slice(0, ROWS).combine_chunks())
                group = group.slice(ROWS)
        if group.num_rows:
            writer.write_table(group.combine_chunks())
    shutil.rmtree(parts_of(out), ignore_errors=True)


def runs(places: Iterable[tuple[Path, int]]) -> Iterator:
    """Yield tables of rows that are asked for one after the other out of the same table."""
    for path, together in groupby(places, key=lambda place: place[0]):
        yield read(path).take([row for _, row in together])
