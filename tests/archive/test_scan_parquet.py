"""The parquet table of a scan: parts, merging, reuse of results."""

from pathlib import Path

from pyarrow import parquet

from blobwatch.archive import scan_parquet
from blobwatch.archive.scan_parquet import merge_results, read_identities, write_part

NAMES = "abcdefghijk"


def write_parts(out: Path, names: str, size: int, image: str = "old") -> None:
    for start in range(0, len(names), size):
        rows = [{"image": image, "identity": name, "count": 1} for name in names[start : start + size]]
        write_part(out, rows)


def test_later_results_replace_earlier_ones(tmp_path):
    out = tmp_path / "r.parquet"
    write_parts(out, NAMES, 4)
    assert read_identities(out) == list(NAMES)  # no part is overwritten
    merge_results(out, list(NAMES))
    write_parts(out, "bdfk", 1, "new")
    assert merge_results(out, list(NAMES[1:])) == {"blobs": 10, "errors": 0, "rejected": 0}
    table = parquet.read_table(out).to_pydict()
    assert table["identity"] == list(NAMES[1:])
    assert table["image"] == ["new" if name in "bdfk" else "old" for name in NAMES[1:]]


def test_equal_results_give_equal_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_parquet, "ROWS", 4)
    tables = set()
    for size in (2, 3, 11):
        out = tmp_path / f"{size}.parquet"
        write_parts(out, NAMES, size)
        merge_results(out, list(NAMES))
        tables.add(out.read_bytes())
    assert parquet.ParquetFile(out).metadata.num_row_groups == 3
    assert len(tables) == 1
