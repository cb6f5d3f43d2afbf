"""A scan: equal to one file after the other, whoever does the work, and whoever dies of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from pyarrow import parquet
from synthetic import image_with_blobs, write_exposure, write_image

from blobwatch.archive.cluster import compute
from blobwatch.archive.headers import files_of, in_time, survey
from blobwatch.archive.manifest import write_manifest
from blobwatch.archive.scan import (
    ENDED,
    ONE,
    Chunk,
    Judge,
    answer,
    extended,
    identities_of,
    lock_table,
    row_of,
    scan,
)
from blobwatch.archive.scan_parquet import answered, merge, parts_of, write_part
from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError
from blobwatch.history import History
from blobwatch.instrument.blobs import Blob
from blobwatch.instrument.exposure_files import find_exposures, list_exposures
from blobwatch.overrules import Overrule
from blobwatch.predict import Predictor
from blobwatch.settings import DifferenceSettings

LOUD = Blob(x=411.8, y=89.1, half_width=4.0, depth=0.04)
# Loaded by each worker: one file holds the worker that has it, another ends it.
PRELOAD = """
import os
import blobwatch.archive.scan as scan

real = vars(scan).setdefault("real_row_of", scan.row_of)  # Dask may load this twice

def row_of(judge, file, identity, earlier):
    if "deadly" in file.path.name and (file.path.parent / "armed").exists():
        os._exit(1)
    hold = file.path.parent / "hold"
    if "slow" in file.path.name and hold.exists():
        with open(hold, "w") as told:  # waits until somebody reads
            told.write(str(os.getpid()))
        with open(file.path.parent / "go") as waited:
            waited.read()
    return real(judge, file, identity, earlier)

scan.row_of = row_of
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Difference images, and one file that is no FITS file at all."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(6):
        blobs = [LOUD] if number % 2 else []
        write_image(
            folder / f"d{number}.fits", image_with_blobs(blobs, seed=number), EXPSTART=58000.0 - number
        )
    (folder / "broken.fits").write_text("no FITS")
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers as processes of their own."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "preload.py").write_text(PRELOAD)
    environment = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}

    def start(program: str, *options: str):
        command = [
            sys.executable,
            "-m",
            f"distributed.cli.{program}",
            "--host",
            "127.0.0.1",
            "--no-dashboard",
        ]
        return subprocess.Popen(
            [*command, "--no-dashboard", *options],
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
        )

    scheduler = start("dask_scheduler", "--port", "0")
    address = said_after(scheduler, "Scheduler at:")
    options = ["--nthreads", "1", "--preload", "preload.py", "--local-directory", "."]
    workers = [start("dask_worker", address, *options) for _ in range(2)]
    for worker in workers:
        said_after(worker, "Registered to:")
    yield address
    for process in (*workers, scheduler):
        process.terminate()
    for process in (*workers, scheduler):
        process.wait()


def said_after(process, words: str) -> str:
    """Return what a process says behind some words; from then on it talks to nobody."""
    for line in process.stderr:
        if words in line:
            Thread(target=listen, args=[process.stderr], daemon=True).start()
            return line.split(words)[1].split()[0]
    raise AssertionError(f"{process.args} ended without saying {words!r}")


def listen(stream) -> None:
    with stream:
        stream.read()


def judge_with(model: Path) -> Judge:
    return Judge.of(Model.load(model), DifferenceSettings())


def rows_of(out: Path) -> list[dict]:
    return parquet.read_table(out).to_pylist()


def holding(folder: Path, copies: int, target: Path) -> Path:
    """Return a copy of a folder with more names for the same files, the last of which holds its worker."""
    shutil.copytree(folder, target)
    for number in range(copies):
        (target / f"x{number:02d}.fits").hardlink_to(target / f"d{number % 6}.fits")
    (target / "slow.fits").hardlink_to(target / "d0.fits")  # the latest
    for name in ("hold", "go"):
        os.mkfifo(target / name)
    return target


def test_answers_are_those_of_one_file_after_the_other(folder, box_model, tmp_path):
    out = tmp_path / "r.parquet"
    assert scan(folder, out, str(box_model), workers=1) == {
        "files": 7,
        "judged": 7,
        "blobs": 3,
        "errors": 1,
        "rejected": 0,
    }
    rows, predictor = rows_of(out), Predictor.load(box_model)
    names = [f"d{number}.fits" for number in range(5, -1, -1)]  # in the order of time
    assert [Path(row["image"]).name for row in rows] == [*names, "broken.fits"]
    for row in rows[:-1]:
        alone = predictor.predict_file(row["image"]).as_json()
        assert row["probabilities"] == [one["probability"] for one in alone["subframes"]]
        assert row["blobs"] == alone["blobs"]
        assert row["probability"] == max(row["probabilities"])
        assert row["model_sha256"] == alone["model"]["sha256"]
        assert (row["kind"], row["error"], row["count"]) == ("difference", None, len(alone["blobs"]))
    assert "is not a readable FITS file; fetch or copy it again" in rows[-1]["error"]
    assert rows[-1]["probabilities"] is None
    assert not parts_of(out).exists()

    scan(folder, tmp_path / "two.parquet", str(box_model), workers=2)
    assert (tmp_path / "two.parquet").read_bytes() == out.read_bytes()
    again = tmp_path / "two.parquet"
    assert scan(folder, again, str(box_model), workers=1)["judged"] == 1  # the one that was no answer
    assert again.read_bytes() == out.read_bytes()


def test_exposures_are_judged_against_those_before_them(box_model, tmp_path, cluster):
    folder, out = tmp_path / "e", tmp_path / "r.parquet"
    folder.mkdir()
    for number in range(5):
        write_exposure(folder, number, [LOUD] if number == 4 else [])
    listed = list_exposures(folder, "F153M")
    manifest = [
        {"rootname": one.rootname, "uri": "mast:", "size": 1, "md5": "0" * 32, "path": one.path.name}
        | {"expstart": one.expstart}
        for one in listed
    ]
    write_manifest(folder / "manifest.csv", manifest)
    found = scan(folder / "manifest.csv", out, str(box_model), scheduler=cluster)
    assert found == {"files": 5, "judged": 5, "blobs": 1, "errors": 3, "rejected": 0}
    rows = rows_of(out)
    assert rows[2]["error"].startswith(
        "iaaa0201q: 2 accepted exposures in the 30 days before it, a stack needs 3"
    )
    alone = Predictor.load(box_model).predict_file(listed[4].path, history=History(listed)).as_json()
    assert rows[4]["blobs"] == alone["blobs"] != []
    assert (rows[4]["kind"], rows[4]["filter"], rows[4]["expstart"]) == ("exposure", "F153M", 58004.0)
    elsewhere = rows_of(out)[4]["image"]
    assert Path(elsewhere).is_absolute()  # a worker may stand in another folder
    # Another exposure of day 3 changes itself and what is held against it; the three without a stack are
    # tried again.
    write_exposure(folder, 3, [LOUD])
    assert scan(folder / "manifest.csv", out, str(box_model), scheduler=cluster)["judged"] == 5
    assert scan(folder / "manifest.csv", out, str(box_model), scheduler=cluster)["judged"] == 3


def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(folder, box_model, tmp_path, cluster):
    many = holding(folder, 40, tmp_path / "many")

    def kill() -> None:
        with open(many / "hold") as told:
            held = int(told.read())
        (many / "hold").unlink()
        os.kill(held, signal.SIGKILL)

    killer = Thread(target=kill)
    killer.start()
    found = scan(many, tmp_path / "r.parquet", str(box_model), scheduler=cluster)
    killer.join()
    assert found == {"files": 48, "judged": 48, "blobs": 23, "errors": 1, "rejected": 0}
    rows = rows_of(tmp_path / "r.parquet")
    names = [Path(row["image"]).name for row in rows]
    assert sorted(names) == sorted(path.name for path in many.glob("*.fits"))
    assert [name for name, row in zip(names, rows, strict=True) if row["error"]] == ["broken.fits"]


def test_a_file_that_ends_its_workers_costs_its_own_row_and_is_tried_again(
    folder, box_model, tmp_path, cluster
):
    some = tmp_path / "some"
    shutil.copytree(folder, some)
    (some / "deadly.fits").hardlink_to(some / "d1.fits")
    (some / "armed").touch()
    out = tmp_path / "r.parquet"
    found = scan(some, out, str(box_model), scheduler=cluster)
    assert found == {"files": 8, "judged": 8, "blobs": 3, "errors": 2, "rejected": 0}
    rows = {Path(row["image"]).name: row for row in rows_of(out)}
    assert rows["deadly.fits"]["error"] == ENDED
    assert rows["d1.fits"]["count"] == 1
    (some / "armed").unlink()
    found = scan(some, out, str(box_model), scheduler=cluster)
    assert found == {"files": 8, "judged": 2, "blobs": 4, "errors": 1, "rejected": 0}


def test_a_scan_that_is_killed_goes_on_with_what_is_missing(folder, box_model, tmp_path, cluster):
    """The parts of the first are kept; a file that changed since is judged again."""
    many, out = holding(folder, 20, tmp_path / "many"), tmp_path / "r.parquet"
    command = [sys.executable, "-m", "blobwatch.cli", "scan", str(many), "--out", str(out)]
    first = subprocess.Popen(
        [*command, "--model", str(box_model), "--scheduler", cluster],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with open(many / "hold") as told:  # by then a worker has the last files
        told.read()
    while not answered(out):  # those before them are on their way
        assert first.poll() is None
    first.kill()
    first.wait()
    (many / "hold").unlink()
    with open(many / "go", "w") as go:
        go.write("on")
    kept = len(answered(out))
    assert 0 < kept < 28
    found = scan(many, out, str(box_model), scheduler=cluster)
    assert found == {"files": 28, "judged": 28 - kept, "blobs": 13, "errors": 1, "rejected": 0}
    assert len(rows_of(out)) == 28
    os.utime(many / "d3.fits", (0, 0))  # and all names of the same file
    changed = sum(path.stat().st_mtime == 0 for path in many.glob("*.fits"))
    assert (
        scan(many, out, str(box_model), scheduler=cluster)["judged"] == changed + 1 >= 5
    )  # and the broken one


def test_what_an_answer_depends_on_is_in_its_identity(folder, box_model, tmp_path, cluster):
    """Another threshold is another answer, though the network is the same."""
    out, model = tmp_path / "r.parquet", tmp_path / "model"
    scan(folder, out, str(box_model), scheduler=cluster)
    shutil.copytree(box_model, model)
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps(manifest | {"threshold": 0.9999999}))
    found = scan(folder, out, str(model), scheduler=cluster)
    assert found == {"files": 7, "judged": 7, "blobs": 0, "errors": 1, "rejected": 0}


def test_a_worker_sees_that_an_earlier_exposure_has_changed(tmp_path, box_model):
    """Workers outlive a scan, and keep blob images."""
    for number in range(4):
        write_exposure(tmp_path, number, [LOUD] if number == 3 else [])
    judge = judge_with(box_model)

    def blobs() -> int:
        files = in_time(survey(find_exposures(tmp_path)))
        return row_of(judge, files[3], "", extended(judge, tuple(files[:3])))["count"]

    assert blobs() == 1
    for number in range(3):
        write_exposure(tmp_path, number, [LOUD])  # now the stack has it
    assert blobs() == 0


def test_no_header_stops_the_survey(tmp_path):
    odd = [{"EXPSTART": "x"}, {"EXPSTART": True}, {"FILTER": 3}, {"ROOTNAME": 7.5}, {"EXPSTART": 1e300}]
    for number, cards in enumerate(odd):
        write_image(tmp_path / f"c{number}.fits", image_with_blobs([]), **cards)
    (tmp_path / "d.fits").write_bytes(b"SIMPLE" * 900)
    (tmp_path / "e.fits.gz").write_bytes(b"no gzip")
    found = list(survey(find_exposures(tmp_path)))
    assert len(found) == 7
    assert [one.filter for one in found] == ["", "", "3", "", "", "", ""]
    assert len(in_time(found)) == 7


def test_a_damaged_exposure_costs_its_own_row_and_not_those_after_it(tmp_path, box_model):
    """Its stack-mates are judged without it; it is read once."""
    paths = [write_exposure(tmp_path, number, [LOUD] if number > 4 else []) for number in range(7)]
    whole = paths[1].read_bytes()
    middle = len(whole) // 4
    paths[1].write_bytes(whole[:middle] + bytes(3000) + whole[middle + 3000 :])  # its headers are sound
    files = in_time(survey(paths))
    chunk = Chunk(judge_with(box_model), tuple((file, "") for file in files), tuple(files))
    rows = answer(chunk)
    assert "is damaged; fetch or copy it again" in rows[1]["error"]
    assert "a stack needs 3; 1 more are rejected or unreadable (iaaa0101q)" in rows[3]["error"]
    sound = [one.listed for one in files if one.path != paths[1]]
    for number in (4, 5, 6):
        alone = Predictor.load(box_model).predict_file(paths[number], history=History(sound)).as_json()
        assert rows[number]["blobs"] == alone["blobs"]
    assert [row["count"] for row in rows[4:]] == [0, 1, 1]


def test_a_manifest_needs_a_path_and_names_a_file_once(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(f"path,note\nb.fits,x\na.fits,y\nb.fits,z\n{tmp_path / 'sub' / 'c.fits'},\n")
    assert files_of(table) == [tmp_path / name for name in ("b.fits", "a.fits", "sub/c.fits")]


def test_threads_of_a_worker_take_turns(box_model, monkeypatch):
    """Else one file's warning of truncation is laid to another that is sound."""
    turns = []
    monkeypatch.setattr("blobwatch.archive.scan.row_of", lambda *about: turns.append(ONE.locked()) or {})
    answer(Chunk(judge_with(box_model), ((None, ""), (None, "")), ()))
    assert turns == [True, True]


def test_no_more_is_given_out_than_may_be_and_more_when_it_may(cluster):
    from distributed import Client

    taken, done, most = [], [], [2]

    def jobs():
        for number in range(12):
            taken.append(number)
            yield number

    with Client(cluster) as client:
        for job, outcome in compute(client, abs, jobs(), lambda: most[0]):
            assert len(taken) - len(done) - 1 <= most[0]
            most[0] = 5
            done.append((job, outcome))
    assert sorted(done) == [(number, number) for number in range(12)]


def test_equal_rows_are_equal_bytes_whatever_the_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("blobwatch.archive.scan_parquet.ROWS", 4)
    rows = [{"image": str(number), "identity": str(number), "count": number} for number in range(11)]
    tables = []
    for size in (2, 3, 11):
        out = tmp_path / f"{size}.parquet"
        for start in range(0, 11, size):
            write_part(out, rows[start : start + size])
        known = answered(out)
        merge(out, [known[str(number)] for number in range(11)])
        tables.append(out.read_bytes())
    assert parquet.ParquetFile(out).metadata.num_row_groups == 3
    assert rows_of(out)[10]["count"] == 10
    assert tables[0] == tables[1] == tables[2]


# What cannot be done


def test_workers_that_could_not_do_it_are_refused_before_they_try(
    folder, tmp_path, box_model, cluster, monkeypatch
):
    """One that cannot load the work would end of it, and each file would be blamed."""
    monkeypatch.setattr("blobwatch.archive.cluster.__version__", "99.0")
    with pytest.raises(BlobwatchError, match=r"has not blobwatch 99\.0 \(.*\); install the same there"):
        scan(folder, tmp_path / "r.parquet", str(box_model), scheduler=cluster)


def test_a_worker_of_another_release(box_model):
    """As one may be that came later."""
    judge = replace(judge_with(box_model), release="0.0.1")
    with pytest.raises(BlobwatchError, match=r"and this is 0\.0\.1; install the same there"):
        answer(Chunk(judge, (), ()))


def test_two_scans_into_one_table(folder, tmp_path, box_model):
    with lock_table(tmp_path / "r.parquet"), pytest.raises(BlobwatchError, match="another scan writes"):
        scan(folder, tmp_path / "r.parquet", str(box_model))


def test_wrong_places(folder, tmp_path, box_model):
    with pytest.raises(BlobwatchError, match=r"give a file that ends in \.parquet"):
        scan(folder, tmp_path / "r.csv", str(box_model))
    with pytest.raises(BlobwatchError, match="neither a directory nor a manifest"):
        scan(folder / "d0.fits", tmp_path / "r.parquet", str(box_model))
    (folder.parent / "names.csv").write_text("name\nd0.fits\n")
    with pytest.raises(BlobwatchError, match=r"a row does not name a file\. Fill the column path"):
        scan(folder.parent / "names.csv", tmp_path / "r.parquet", str(box_model))
    (tmp_path / "r.parquet").write_text("no table")
    with pytest.raises(BlobwatchError, match="is no table of a scan; give another --out"):
        scan(folder, tmp_path / "r.parquet", str(box_model))
    assert (tmp_path / "r.parquet").read_text() == "no table"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere://x"])
def test_no_scheduler(folder, tmp_path, box_model, monkeypatch, address):
    monkeypatch.setattr("blobwatch.archive.cluster.WAIT", 0.2)
    with pytest.raises(BlobwatchError, match=f"no Dask scheduler answers at {address}"):
        scan(folder, tmp_path / "r.parquet", str(box_model), scheduler=address)


def test_a_part_is_never_written_over(tmp_path):
    out = tmp_path / "r.parquet"
    for name in "ab":
        write_part(out, [{"image": name, "identity": name}])
    assert list(answered(out)) == ["a", "b"]


def test_one_file_of_a_rootname_is_judged(tmp_path, box_model, capsys):
    folder = tmp_path / "e"
    (folder / "copy").mkdir(parents=True)
    for number in range(4):
        write_exposure(folder, number, [LOUD] if number == 3 else [])
    write_exposure(folder / "copy", 3, [LOUD], CAL_VER="2.0")
    found = scan(folder, tmp_path / "r.parquet", str(box_model), workers=1)
    assert (found["files"], found["blobs"]) == (4, 1)
    assert "iaaa0301q: 2 files; " in capsys.readouterr().err


def test_a_decision_changes_only_the_answers_that_depend_on_it(tmp_path, box_model):
    for number in (0, 1, 2, 3, 150):
        write_exposure(tmp_path, number)
    files = in_time(survey(find_exposures(tmp_path)))
    decision = Overrule(files[0].listed.rootname, "reject", "Ada", "2026-11-27", "no")
    model = Model.load(box_model)
    plain = identities_of(Judge.of(model, DifferenceSettings()), files, files)
    decided = identities_of(Judge.of(model, DifferenceSettings(), (decision,)), files, files)
    assert [one != other for one, other in zip(plain, decided, strict=True)] == [True] * 4 + [False]
