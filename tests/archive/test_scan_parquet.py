"""The parquet table of a scan: parts, merging, reuse of results."""

from collections import Counter
from pathlib import Path

from pyarrow import parquet

from blobwatch.archive import scan_parquet
from blobwatch.archive.scan_parquet import count_results, locate_rows, merge_rows, write_part


def write_parts(out: Path, names: str, size: int, image: str = "old") -> None:
    for start in range(0, len(names), size):
        rows = [{"image": image, "identity": name, "count": 1} for name in names[start : start + size]]
        write_part(out, rows)


def test_merging_reads_each_row_group_once(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_parquet, "ROWS", 4)
    out, names = tmp_path / "r.parquet", "abcdefghijkl"
    write_parts(out, names, 4)
    assert list(locate_rows(out)) == list(names)  # no part is overwritten
    merge_rows(out, [locate_rows(out)[name] for name in names])
    assert parquet.ParquetFile(out).metadata.num_row_groups == 3
    write_parts(out, "bdfk", 1, "new")
    rows, open_table, reads = locate_rows(out), scan_parquet.open_table, Counter()
    monkeypatch.setattr(
        scan_parquet, "open_table", lambda path: (reads.update([path.name]), open_table(path))[1]
    )
    merge_rows(out, [rows[name] for name in names])
    table = parquet.read_table(out).to_pydict()
    assert table["identity"] == list(names)
    assert table["image"] == ["new" if name in "bdfk" else "old" for name in names]
    assert reads == {"r.parquet": 3} | {f"{number:08d}.parquet": 1 for number in range(4)}
    assert count_results(out) == {"blobs": 12, "errors": 0, "rejected": 0}


def test_equal_results_give_equal_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_parquet, "ROWS", 4)
    names, tables = "abcdefghijk", []
    for size in (2, 3, 11):
        out = tmp_path / f"{size}.parquet"
        write_parts(out, names, size)
        merge_rows(out, [locate_rows(out)[name] for name in names])
        tables.append(out.read_bytes())
    assert parquet.ParquetFile(out).metadata.num_row_groups == 3
    assert parquet.read_table(out)["identity"].to_pylist() == list(names)
    assert tables[0] == tables[1] == tables[2]
