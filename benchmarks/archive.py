"""Measure reading, stacking and scanning on this machine: a table for docs/performance.md.

Run it with ``.venv/bin/python benchmarks/archive.py [files]`` (2,000 by default). It writes a few files of
real size to a temporary directory and hard-links them many times. Ratios come from one run.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
from astropy.io import fits
from measure import median_milliseconds

from blobwatch.history import History
from blobwatch.images.flatten import blob_image
from blobwatch.images.scaling import scale_frame
from blobwatch.instrument.exposure_files import describe_file
from blobwatch.instrument.exposures import read_exposure
from blobwatch.instrument.season import expose, plan_season
from blobwatch.params import load_params

ROOT = Path(__file__).parents[1]


def write_files(folder: Path) -> Path:
    """Write an uncompressed exposure and five differences; return the exposure."""
    own = load_params(ROOT / "params.yaml").simulate
    season = plan_season(7, own.model_copy(update={"exposures": 6, "bad_exposures": 0}))
    taken = [expose(season, pointing) for pointing in season.pointings]
    path = folder / "a_flt.fits"
    hdus = [fits.PrimaryHDU(header=taken[0][0])]
    for name, plane in taken[0][1].items():
        stored = plane.astype(np.int16 if name in ("DQ", "SAMP") else np.float32)
        hdus.append(fits.ImageHDU(stored, name=name, ver=1))
    hdus[1].header["BUNIT"] = "ELECTRONS/S"
    fits.HDUList(hdus).writeto(path)
    images = []
    for _, planes in taken:
        framed = np.full((1024, 1024), np.nan)
        framed[5:-5, 5:-5] = planes["SCI"]
        dq = np.zeros((1024, 1024), dtype=np.int16)
        dq[5:-5, 5:-5] = planes["DQ"]
        images.append(blob_image(framed, dq))
    (folder / "differences").mkdir()
    for number, image in enumerate(images[1:]):
        fits.PrimaryHDU(images[0] - image).writeto(folder / "differences" / f"d{number}.fits")
    return path


def measure_scan(folder: Path, out: Path, workers: int) -> tuple[float, float]:
    """Return the run time (s) of a scan and the peak memory (MB) of its processes."""
    command = [sys.executable, "-m", "blobwatch.cli", "scan", str(folder), "--out", str(out)]
    start, peak = time.perf_counter(), 0
    with subprocess.Popen([*command, "--workers", str(workers)], stderr=subprocess.DEVNULL) as process:
        family = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                members = [family, *family.children(recursive=True)]
                peak = max(peak, sum(one.memory_info().rss for one in members))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.1)
    return time.perf_counter() - start, peak / 2**20


def link_copies(folder: Path, many: Path, count: int) -> Path:
    """Hard-link the files of a directory until there are ``count``."""
    many.mkdir()
    files = sorted(folder.iterdir())
    for number in range(count):
        (many / f"f{number:05d}.fits").hardlink_to(files[number % len(files)])
    return many


def main(count: int) -> None:
    """Print the measurements."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exposure = write_files(folder)
        scaled = median_milliseconds(lambda: scale_frame(read_exposure(exposure).image))
        print(f"reading an flt and scaling it: {scaled:.0f} ms")
        image = median_milliseconds(lambda: blob_image(*(lambda e: (e.image, e.dq))(read_exposure(exposure))))
        print(f"the same up to the blob image: {image:.0f} ms")
        month = [
            replace(describe_file(exposure), rootname=f"i{n:08d}", expstart=58000.0 + n) for n in range(31)
        ]
        history = History(month)
        quality = median_milliseconds(lambda: History(month[:1]).rejection(month[0]))
        print(f"the same with the quality of the exposure alone: {quality:.0f} ms")
        start = time.perf_counter()
        history.stack(month[30])
        memory = psutil.Process().memory_info().rss / 2**20
        print(
            f"a stack of 30 exposures, read and checked: {time.perf_counter() - start:.2f} s, {memory:.0f} MB"
        )
        few = link_copies(folder / "differences", folder / "few", count // 10)
        many = link_copies(folder / "differences", folder / "many", count)
        results = {}
        for label, files, workers in (("few", few, 2), ("many", many, 2), ("one worker", many, 1)):
            seconds, peak = measure_scan(files, folder / f"{label}.parquet", workers)
            total = len(list(files.iterdir()))
            results[label] = total / seconds, peak
            print(f"scan, {total} files, {workers} workers: {total / seconds:.1f} per second, {peak:.0f} MB")
        print(f"two workers over one: {results['many'][0] / results['one worker'][0]:.2f}")
        print(f"memory, {count} files over {count // 10}: {results['many'][1] / results['few'][1]:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
