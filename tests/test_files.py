"""Atomic writes, locks, and hashes that equal those of DVC."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from blobwatch.errors import BlobwatchError
from blobwatch.files import (
    atomic_file,
    atomic_folder,
    file_hash,
    file_lock,
    folder_hash,
    lock_path,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(target: Path, partial: Path, text: str) -> None:
    """Write a file, or a file in a folder; fail after "half"."""
    (partial / "a.txt" if target.suffix == "" else partial).write_text(text)
    if text == "half":
        raise RuntimeError("disk")


@pytest.mark.parametrize(("make", "name"), [(atomic_file, "a.csv"), (atomic_folder, "season")])
def test_target_is_replaced_unless_the_block_fails(tmp_path, make, name):
    target = tmp_path / "new" / name
    for text in ("one", "two"):
        with make(target) as partial:
            assert partial.parent == target.parent
            assert partial.name.endswith(target.suffix)
            write(target, partial, text)
            assert target.exists() == (text == "two")
    with pytest.raises(RuntimeError, match="disk"), make(target) as partial:
        write(target, partial, "half")
    assert (target if target.is_file() else target / "a.txt").read_text() == "two"
    assert names(target.parent) == [name]
    assert target.stat().st_mode & 0o777 == (0o644 if target.is_file() else 0o755)


@pytest.mark.parametrize("kind", ["atomic_file", "atomic_folder"])
@pytest.mark.parametrize("old", [True, False])
def test_kill_keeps_the_old_target(tmp_path, kind, old):
    target = tmp_path / "target.txt"
    if old and kind == "atomic_file":
        target.write_text("old")
    elif old:
        target.mkdir()
        (target / "a.txt").write_text("old")
    program = f"""
        import sys
        from blobwatch.files import {kind}
        with {kind}({str(target)!r}) as partial:
            path = partial / "a.txt" if partial.is_dir() else partial
            path.write_text("half")
            print("written", flush=True)
            sys.stdin.read()  # waits to be killed
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    assert target.exists() == old
    if old:
        assert (target / "a.txt" if target.is_dir() else target).read_text() == "old"
    # The files of the killed process are hidden and do not disturb a later run.
    left = [name for name in names(tmp_path) if name != "target.txt"]
    assert all(name.startswith(".target.txt.partial-") for name in left)
    if kind == "atomic_file":
        write_text(target, "new")
        assert target.read_text() == "new"
    else:
        with atomic_folder(target) as partial:
            (partial / "a.txt").write_text("new")
        assert (target / "a.txt").read_text() == "new"


def test_lock_excludes_others_until_it_is_released(tmp_path):
    path = lock_path(tmp_path / "new" / "season")
    with file_lock(path), pytest.raises(BlobwatchError, match="in use"), file_lock(path, 0, "in use"):
        pass
    with file_lock(path, timeout=0):
        assert names(tmp_path / "new") == [".season.partial-lock"]


def test_json_of_equal_content_has_equal_bytes(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    write_json(tmp_path / "b.json", {"a": [1.5, None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text().startswith("{")


def test_file_hash_of_a_known_text(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_hash(tmp_path / "abc", "md5") == "900150983cd24fb0d6963f7d28e17f72"
    assert file_hash(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def tree(tmp_path) -> Path:
    """Return a folder whose order depends on path, parts and letter case."""
    folder = tmp_path / "tree"
    for name in ("b.fits", "B.fits", "a/z.txt", "a-b.txt", "a/é.txt", "a.txt", "a/b/c.txt", "empty"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else name.encode())
    return folder


def test_folder_hash_of_a_known_tree(tree):
    assert folder_hash(tree) == "d1f08f74ea545e88e2aa92cf585f41e9.dir"


def test_folder_hash_depends_on_content_and_names(tree):
    before = folder_hash(tree)
    (tree / "a.txt").write_bytes(b"A.txt")
    changed = folder_hash(tree)
    (tree / "a.txt").rename(tree / "c.txt")
    assert len({before, changed, folder_hash(tree)}) == 3


@pytest.mark.slow
def test_folder_hash_equals_that_of_dvc(tree, tmp_path):
    pytest.importorskip("dvc", reason="needs the extra train")
    for command in (["init", "--no-scm", "-q"], ["add", "-q", "tree"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=tmp_path, check=True, timeout=120)
    assert f"md5: {folder_hash(tree)}" in (tmp_path / "tree.dvc").read_text()
