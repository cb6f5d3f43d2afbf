"""Measure the numbers of docs/performance.md on this machine, and print them as a table.

Run it with ``make benchmarks`` after ``make repro``. The results are medians of several runs of complete
processes. The project directory is not changed.
"""

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from blobwatch.images.scaling import scale_frame
from blobwatch.instrument.differences import read_difference
from blobwatch.predict import Predictor

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def measure_process(command: list[str], cwd: Path = ROOT) -> tuple[float, float]:
    """Return wall seconds and peak memory (MB) of a process."""
    read, write = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.chdir(cwd)
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        os.write(write, str(peak).encode())
        os._exit(0)
    os.waitpid(child, 0)
    seconds = time.perf_counter() - start
    os.close(write)
    return seconds, float(os.read(read, 64) or "nan")


def measure_runs(command: list[str], cwd: Path = ROOT, runs: int = 5) -> tuple[float, float]:
    """Return the medians of several runs after a warm-up."""
    measure_process(command, cwd)
    results = [measure_process(command, cwd) for _ in range(runs)]
    return tuple(statistics.median(column) for column in zip(*results, strict=True))


def median_milliseconds(
    work: Callable[[], object], runs: int = 15, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the median milliseconds of a call after a warm-up."""
    work()
    spans = []
    for _ in range(runs):
        start = clock()
        work()
        spans.append(1000 * (clock() - start))
    return statistics.median(spans)


def main() -> None:
    """Print the measurements."""
    image_path = sorted((ROOT / "data/difference").glob("*.fits"))[-1]
    image = read_difference(image_path).image
    predictor = Predictor.load("champion")
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print("| operation | measured |\n| --- | --- |")
    print(f"| scaling a 1024 x 1024 frame | {median_milliseconds(lambda: scale_frame(image)):.1f} ms |")
    warm = median_milliseconds(lambda: predictor.predict_file(image_path))
    print(f"| predict, warm, per frame with reading | {warm:.0f} ms |")
    seconds, peak = measure_runs([str(BIN / "blobwatch"), "predict", str(image_path), "--json"])
    print(f"| `blobwatch predict`, cold, one file | {seconds:.2f} s, {peak:.0f} MB |")
    seconds, _ = measure_runs([str(BIN / "blobwatch"), "--help"])
    print(f"| `blobwatch --help` | {seconds:.2f} s |")
    seconds, _ = measure_runs([str(BIN / "dvc"), "repro"], runs=3)
    print(f"| `dvc repro`, everything up to date | {seconds:.1f} s |")
    folders = ("data/raw/simulated", "data/difference", "data/subframes")
    size = sum(one.stat().st_size for name in folders for one in (ROOT / name).rglob("*") if one.is_file())
    seconds, peak = measure_runs([str(BIN / "blobwatch"), "audit", "--json"])
    print(f"| `blobwatch audit`, {size / 1e6:.0f} MB hashed | {seconds:.1f} s, {peak:.0f} MB |")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), folder], check=True)
        seconds, _ = measure_runs([str(BIN / "blobwatch"), "audit", "--json"], Path(folder))
        print(f"| the same in a fresh clone without data | {seconds:.2f} s |")
    seconds, _ = measure_runs([str(BIN / "blobwatch"), "models", "--json"])
    print(f"| `blobwatch models` | {seconds:.2f} s |")
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "subframes")
        command = [str(BIN / "blobwatch"), "subframes", "data/difference", "data/raw/simulated", out]
        seconds, peak = measure_process(command)
        count = sum(len(np.load(p)["images"]) for p in Path(out).glob("*/*.npz"))
        print(f"| `subframes`: subframes per second with start | {count / seconds:.0f}; peak {peak:.0f} MB |")


if __name__ == "__main__":
    main()
