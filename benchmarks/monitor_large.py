"""Measure ``blobwatch monitor`` on a ledger of 10,000 exposures and 200 blobs.

Run ``python benchmarks/monitor_large.py``. It prints the run time and the number of analyzed exposures of a
search without new exposures, of a new exposure, and of one that arrives 45 days late. The newest 80
exposures are complete files.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from synthetic import write_exposure, write_model

from blobwatch.instrument.exposure_files import file_stamp
from blobwatch.monitor.ledger.database import Ledger, open_ledger
from blobwatch.monitor.ledger.tables import Blob, Detection, Exposure, LightCurvePoint, Model
from blobwatch.monitor.monitor import Monitor
from blobwatch.predict import Predictor

EXPOSURES, BLOBS, REAL = 10_000, 200, 80
MEASURES = {"radius": 8.0, "depth": 0.04, "snr": 20.0, "probability": 0.9}
QUALITY = {"light": 1.4e4, "gradient": 0.0, "flagged": 0.0, "saturated": 0.0, "exptime": 802.9}
QUALITY |= {
    "own_noise": 0.007,
    "residual": 0.007,
    "excess": 0.8,
    "streaks": 0.0,
    "sources": 0.0,
    "banding": 0.0,
}


def exposure_time(number: int) -> float:
    return 50000.0 + number


def make_exposure(folder: Path, number: int, model: Model) -> Exposure:
    """Return the row of an exposure with an empty file."""
    path = folder / f"i{number:06d}q_flt.fits"
    path.write_bytes(b"")
    row = Exposure(
        rootname=path.name[:8], path=str(path), stamp=file_stamp(path), md5=f"{number:032d}", model=model
    )
    row.expstart, row.filter, row.programme, row.outcome = exposure_time(number), "F153M", "1", "judged"
    row.judged_at, row.flats, row.inputs = "", "unknown", "1"
    for name, value in QUALITY.items():
        setattr(row, name, value)
    return row


def write_ledger(ledger: Ledger, folder: Path) -> None:
    """Fill the ledger."""
    rng = np.random.default_rng(0)
    with ledger.writing() as session:
        model = Model(version=None, sha256="1" * 64, fingerprint="", threshold=0.5)
        session.add(model)
        session.add_all(make_exposure(folder, number, model) for number in range(1, EXPOSURES + 1))
        session.flush()
        for number in range(1, BLOBS + 1):
            first, place = 40 * number, {"x": rng.uniform(30, 990), "y": rng.uniform(30, 990)}
            about = {"first_id": first, "last_id": EXPOSURES, "before_id": first - 1, "halfway": 0.02}
            session.add(Blob(id=number, status="confirmed", model=model, **about, **place, **MEASURES))
            session.flush()
            for later in range(3):
                row = Detection(blob_id=number, exposure_id=first + later, model=model, **place, **MEASURES)
                row.before = row.after = row.difference = b""
                session.add(row)
            points = [
                {"blob_id": number, "exposure_id": one, "depth": 0.04, "error": 0.002, "model_id": model.id}
                for one in range(max(1, first - 30), EXPOSURES + 1)
            ]
            session.execute(LightCurvePoint.__table__.insert(), points)


def print_time(label: str, monitor: Monitor, watching: bool = True) -> None:
    begin = time.perf_counter()
    count = len(list(monitor.run(watching)))
    print(f"{label}: {time.perf_counter() - begin:.2f} s, {count} analyzed")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "exposures"
        folder.mkdir()
        predictor = Predictor.load(str(write_model(Path(name) / "model")))
        ledger = open_ledger(f"sqlite:///{name}/ledger.db", create=True)
        write_ledger(ledger, folder)
        monitor = Monitor(folder, ledger, predictor)
        for number in range(1, REAL + 1):
            write_exposure(folder, number, EXPSTART=exposure_time(EXPOSURES + 31 + number))
        print_time("the newest exposures", monitor)
        print_time("no new exposure, next search", monitor)
        print_time("no new exposure, new process", Monitor(folder, ledger, predictor))
        for number in (91, 92, 93):
            write_exposure(folder, number, EXPSTART=exposure_time(EXPOSURES + 31 + number))
            print_time("a new exposure", monitor)
        write_exposure(folder, 90, EXPSTART=exposure_time(EXPOSURES + 31 + REAL - 45) + 0.5)
        print_time("an exposure 45 days late", monitor)


if __name__ == "__main__":
    main()
