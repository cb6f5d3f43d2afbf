"""The table of a scan, put together out of the last one and the parts of this one."""

from collections import Counter

from pyarrow import parquet

from blobwatch.archive import scan_parquet
from blobwatch.archive.scan_parquet import answered, merge, write_part


def rows_named(names: str, image: str = "old") -> list[dict]:
    return [{"image": image, "identity": name, "count": 1} for name in names]


def test_old_and_new_answers_take_turns_and_each_row_group_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_parquet, "ROWS", 4)
    out, names = tmp_path / "r.parquet", "abcdefghijkl"
    for start in range(0, 12, 4):
        write_part(out, rows_named(names[start : start + 4]))
    merge(out, [answered(out)[name] for name in names])
    assert parquet.ParquetFile(out).metadata.num_row_groups == 3
    for name in "bdfk":
        write_part(out, rows_named(name, "new"))
    known, opened, reads = answered(out), scan_parquet.opened, Counter()
    monkeypatch.setattr(scan_parquet, "opened", lambda path: (reads.update([path.name]), opened(path))[1])
    merge(out, [known[name] for name in names])
    table = parquet.read_table(out).to_pydict()
    assert table["identity"] == list(names)
    assert table["image"] == ["new" if name in "bdfk" else "old" for name in names]
    assert reads == {"r.parquet": 3} | {f"{number:08d}.parquet": 1 for number in range(4)}
    assert scan_parquet.summary(out) == {"blobs": 12, "errors": 0, "rejected": 0}
