"""The table of a scan in parquet format: parts during the scan, merged at its end.

The identity of a row is a hash of the model, the settings, and the size and modification time of the file and
of the files in its stack. A later scan reuses rows with the same identity. It repeats rows with an error,
because a disk may have been unavailable.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from blobwatch.archive.manifest import translate_errors
from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_file, file_lock, lock_path

ROWS = 1000  # per row group of the merged table
BLOB = ("x", "y", "radius", "probability", "snr", "depth")


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


def read_results(out: Path):
    """Return the results in table and parts, as an Arrow table.

    Raises
    ------
    BlobwatchError
        If ``out`` is not a table of a scan.
    """
    import pyarrow as pa

    tables = [table_schema().empty_table()]
    if out.exists():
        earlier = open_table(out)
        tables.append(earlier.filter(earlier["error"].is_null()))
    tables += [open_table(path) for path in sorted(parts_folder(out).glob("[0-9]*.parquet"))]
    return pa.concat_tables(tables)


def read_identities(out: Path) -> list[str]:
    """Return the identities of the results in table and parts."""
    return read_results(out)["identity"].to_pylist()


def open_table(path: Path):
    """Return a table of a scan as an Arrow table."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError):
        table = None
    if table is None or not table.schema.equals(table_schema()):
        raise BlobwatchError(f"{path}: not a table of a scan. Pass another --out, or remove the file")
    return table


def merge_results(out: Path, identities: list[str]) -> dict[str, int]:
    """Merge results in the order of identities; return counts.

    The parts are removed. An equal table is left unchanged. 100,000 results take about 200 MB of memory.

    Returns
    -------
    dict of str to int
        ``blobs``, ``errors`` and ``rejected`` exposures.
    """
    from pyarrow import parquet

    results = read_results(out)
    numbers = {identity: number for number, identity in enumerate(results["identity"].to_pylist())}
    table = results.take([numbers[identity] for identity in identities]).combine_chunks()
    if not out.exists() or not open_table(out).equals(table):
        with translate_errors(out), atomic_file(out) as partial:
            parquet.write_table(table, partial, row_group_size=ROWS)
    shutil.rmtree(parts_folder(out), ignore_errors=True)
    counts = {"blobs": sum(table["count"].drop_null().to_pylist())}
    counts["errors"] = len(table["error"].drop_null())
    return counts | {"rejected": sum(table["rejected"].drop_null().to_pylist())}
