"""Jobs and scans on a Dask cluster, also with workers that die."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
from pyarrow import parquet
from synthetic import image_with_blobs, write_exposure, write_image

from blobwatch.archive import cluster
from blobwatch.archive.cluster import MESSAGES, open_cluster, run_jobs
from blobwatch.archive.manifest import write_manifest
from blobwatch.archive.scan import KILLED_MESSAGE, scan
from blobwatch.archive.scan_parquet import parts_folder, read_identities
from blobwatch.errors import BlobwatchError
from blobwatch.history import History
from blobwatch.instrument.blobs import Blob
from blobwatch.instrument.exposure_files import list_exposures
from blobwatch.predict import Predictor

LOUD = Blob(x=411.8, y=89.1, half_width=4.0, depth=0.04)
# Loaded by each worker: the file "slow" blocks its worker, the file "deadly" ends it.
PRELOAD = """
import os
import blobwatch.archive.worker as worker

original = vars(worker).setdefault("original_predict_row", worker.predict_row)  # Dask may load this twice

def predict_row(config, file, identity, history):
    if "deadly" in file.path.name and (file.path.parent / "armed").exists():
        os._exit(1)
    hold = file.path.parent / "hold"
    if "slow" in file.path.name and hold.exists():
        with open(hold, "w") as pipe:  # blocks until the test reads
            pipe.write(str(os.getpid()))
        with open(file.path.parent / "go") as pipe:
            pipe.read()
    return original(config, file, identity, history)

worker.predict_row = predict_row
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Six difference images and a file that is not FITS."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(6):
        blobs = [LOUD] if number % 2 else []
        write_image(
            folder / f"d{number}.fits", image_with_blobs(blobs, seed=number), EXPSTART=58000.0 - number
        )
    (folder / "broken.fits").write_text("not FITS")
    return folder


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Yield the address of a scheduler with two workers, each a process."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "preload.py").write_text(PRELOAD)
    environment = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}

    def start(module: str, *options: str):
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--host", "127.0.0.1", "--no-dashboard"]
        return subprocess.Popen(
            [*command, *options], stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
        )

    process = start("dask_scheduler", "--port", "0")
    address = wait_for_output(process, "Scheduler at:")
    options = ["--nthreads", "1", "--preload", "preload.py", "--local-directory", "."]
    workers = [start("dask_worker", address, *options) for _ in range(2)]
    for one in workers:
        wait_for_output(one, "Registered to:")
    yield address
    for one in (*workers, process):
        one.terminate()
    for one in (*workers, process):
        one.wait()


def wait_for_output(process, text: str) -> str:
    """Return the word after a text in the output of a process; further output is discarded."""
    for line in process.stderr:
        if text in line:
            Thread(target=discard, args=[process.stderr], daemon=True).start()
            return line.split(text)[1].split()[0]
    raise AssertionError(f"{process.args} ended without {text!r}")


def discard(stream) -> None:
    with stream:
        stream.read()


def read_rows(out: Path) -> list[dict]:
    return parquet.read_table(out).to_pylist()


def counts(files: int, judged: int, blobs: int, errors: int) -> dict:
    return {"files": files, "judged": judged, "blobs": blobs, "errors": errors, "rejected": 0}


def copy_with_links(folder: Path, links: int, target: Path) -> Path:
    """Return a copy of a folder with links to its files; the last one blocks its worker."""
    shutil.copytree(folder, target)
    for number in range(links):
        (target / f"x{number:02d}.fits").hardlink_to(target / f"d{number % 6}.fits")
    (target / "slow.fits").hardlink_to(target / "d0.fits")  # the latest
    for name in ("hold", "go"):
        os.mkfifo(target / name)
    return target


# Jobs


def test_memory_does_not_grow_with_the_number_of_jobs():
    """Each job carries the model; by default, Dask keeps 1,000 messages on either side."""
    with open_cluster(None, 1) as client:
        for _ in run_jobs(client, len, (bytes(1000) for _ in range(3 * MESSAGES)), lambda: 2):
            pass
        logs = [client.scheduler_comm.recent_message_log]
        logs += [comm.recent_message_log for comm in client.cluster.scheduler.stream_comms.values()]
        assert [len(log) for log in logs] == [MESSAGES, MESSAGES]


def test_number_of_pending_jobs_is_limited(scheduler):
    from distributed import Client

    taken, done, limit = [], [], [2]

    def generate():
        for number in range(12):
            taken.append(number)
            yield number

    with Client(scheduler) as client:
        for job, result in run_jobs(client, abs, generate(), lambda: limit[0]):
            assert len(taken) - len(done) - 1 <= limit[0]
            limit[0] = 5
            done.append((job, result))
    assert sorted(done) == [(number, number) for number in range(12)]


def test_workers_must_have_the_same_release(folder, tmp_path, box_model, scheduler, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "99.0")
    with pytest.raises(BlobwatchError, match=r"blobwatch 99\.0 not found \(.*\)\. Install this version"):
        scan(folder, tmp_path / "r.parquet", str(box_model), scheduler=scheduler)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere://x"])
def test_scheduler_must_answer(folder, tmp_path, box_model, monkeypatch, address):
    monkeypatch.setattr(cluster, "WAIT", 0.2)
    with pytest.raises(BlobwatchError, match=f"{address}: no Dask scheduler answers"):
        scan(folder, tmp_path / "r.parquet", str(box_model), scheduler=address)


# Scans


def test_results_equal_those_of_single_files(folder, box_model, tmp_path):
    out = tmp_path / "r.parquet"
    assert scan(folder, out, str(box_model), workers=1) == counts(7, 7, 3, 1)
    rows, predictor = read_rows(out), Predictor.load(box_model)
    names = [f"d{number}.fits" for number in range(5, -1, -1)]  # in order of time
    assert [Path(row["image"]).name for row in rows] == [*names, "broken.fits"]
    for row in rows[:-1]:
        single = predictor.predict_file(row["image"]).as_json()
        assert row["probabilities"] == [one["probability"] for one in single["subframes"]]
        assert row["blobs"] == single["blobs"]
        assert row["probability"] == max(row["probabilities"])
        assert row["model_sha256"] == single["model"]["sha256"]
        assert (row["kind"], row["error"], row["count"]) == ("difference", None, len(single["blobs"]))
    assert "not a readable FITS file" in rows[-1]["error"]
    assert rows[-1]["probabilities"] is None
    assert not parts_folder(out).exists()

    other = tmp_path / "two.parquet"
    scan(folder, other, str(box_model), workers=2)
    assert other.read_bytes() == out.read_bytes()
    assert scan(folder, other, str(box_model), workers=1)["judged"] == 1  # the file with an error
    assert other.read_bytes() == out.read_bytes()


def test_exposures_are_compared_with_earlier_ones(box_model, tmp_path, scheduler):
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

    def run() -> dict:
        return scan(folder / "manifest.csv", out, str(box_model), scheduler=scheduler)

    assert run() == counts(5, 5, 1, 3)
    rows = read_rows(out)
    assert rows[2]["error"].startswith(
        "iaaa0201q: 2 accepted exposures in the 30 days before it, a stack needs 3"
    )
    single = Predictor.load(box_model).predict_file(listed[4].path, history=History(listed)).as_json()
    assert rows[4]["blobs"] == single["blobs"] != []
    assert (rows[4]["kind"], rows[4]["filter"], rows[4]["expstart"]) == ("exposure", "F153M", 58004.0)
    assert Path(rows[4]["image"]).is_absolute()  # workers may run in another directory
    # A changed exposure of day 3 changes the results of days 3 and 4; the three errors are tried again.
    write_exposure(folder, 3, [LOUD])
    assert run()["judged"] == 5
    assert run()["judged"] == 3


def test_killed_worker_loses_and_duplicates_no_result(folder, box_model, tmp_path, scheduler):
    many = copy_with_links(folder, 40, tmp_path / "many")

    def kill() -> None:
        with open(many / "hold") as pipe:
            blocked = int(pipe.read())
        (many / "hold").unlink()
        os.kill(blocked, signal.SIGKILL)

    killer = Thread(target=kill)
    killer.start()
    found = scan(many, tmp_path / "r.parquet", str(box_model), scheduler=scheduler)
    killer.join()
    assert found == counts(48, 48, 23, 1)
    rows = read_rows(tmp_path / "r.parquet")
    names = [Path(row["image"]).name for row in rows]
    assert sorted(names) == sorted(path.name for path in many.glob("*.fits"))
    assert [name for name, row in zip(names, rows, strict=True) if row["error"]] == ["broken.fits"]


def test_file_that_ends_workers_is_an_error_and_tried_again(folder, box_model, tmp_path, scheduler):
    some, out = tmp_path / "some", tmp_path / "r.parquet"
    shutil.copytree(folder, some)
    (some / "deadly.fits").hardlink_to(some / "d1.fits")
    (some / "armed").touch()
    assert scan(some, out, str(box_model), scheduler=scheduler) == counts(8, 8, 3, 2)
    rows = {Path(row["image"]).name: row for row in read_rows(out)}
    assert rows["deadly.fits"]["error"] == KILLED_MESSAGE
    assert rows["d1.fits"]["count"] == 1
    (some / "armed").unlink()
    assert scan(some, out, str(box_model), scheduler=scheduler) == counts(8, 2, 4, 1)


def test_killed_scan_is_resumed(folder, box_model, tmp_path, scheduler):
    many, out = copy_with_links(folder, 20, tmp_path / "many"), tmp_path / "r.parquet"
    command = [sys.executable, "-m", "blobwatch.cli", "scan", str(many), "--out", str(out)]
    first = subprocess.Popen(
        [*command, "--model", str(box_model), "--scheduler", scheduler],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with open(many / "hold") as pipe:  # a worker has the last files
        pipe.read()
    while not read_identities(out):
        assert first.poll() is None
    first.kill()
    first.wait()
    (many / "hold").unlink()
    with open(many / "go", "w") as pipe:
        pipe.write("go")
    stored = len(read_identities(out))
    assert 0 < stored < 28
    assert scan(many, out, str(box_model), scheduler=scheduler) == counts(28, 28 - stored, 13, 1)
    assert len(read_rows(out)) == 28
    os.utime(many / "d3.fits", (0, 0))  # also changes the links to the file
    changed = sum(path.stat().st_mtime == 0 for path in many.glob("*.fits"))
    judged = scan(many, out, str(box_model), scheduler=scheduler)["judged"]
    assert judged == changed + 1 >= 5  # with broken.fits
