"""Measure the response time of each page for a ledger of fifteen years.

Run ``python benchmarks/pages.py``. The ledger has 10,000 exposures and 200 blobs with five detections each.
Light curves cover the 30 exposures before the onset and every later one, about a million rows in total.
Each request to the real server uses its own connection. Prints the time of the first request, and the
median and maximum of 20 more. The exit status is 1 if a median is above 200 ms.
"""

import json
import socket
import subprocess
import sys
import time
from hashlib import md5
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from sqlalchemy import insert

from blobwatch.artefact import Model as Artefact
from blobwatch.monitor.analysis import CUTOUT
from blobwatch.monitor.ledger.database import now, open_ledger
from blobwatch.monitor.ledger.tables import JUDGED, Blob, Detection, Exposure, LightCurvePoint, Model
from blobwatch.predict import find_model

EXPOSURES, BLOBS, BEFORE, FOUND, YEARS = 10_000, 200, 30, 5, 15
REQUESTS, LIMIT = 20, 200.0  # times; ms
FIRST_DAY = 55_000.0  # MJD


def write_ledger(url: str) -> None:
    """Write the ledger."""
    rng = np.random.default_rng(7)
    mjd = FIRST_DAY + np.sort(rng.uniform(0, YEARS * 365.25, EXPOSURES))
    names = [f"i{number:07d}q" for number in range(EXPOSURES)]
    onsets = np.sort(rng.choice(np.arange(BEFORE, EXPOSURES - FOUND), BLOBS, replace=False))
    onsets[0] = BEFORE  # one with a full history
    champion = Artefact.load(find_model("champion"))
    with open_ledger(url, create=True).writing() as session:
        fingerprint = str(champion.manifest.get("fingerprint", {}).get("sha256", ""))
        about = {"version": champion.version, "sha256": champion.sha256, "fingerprint": fingerprint}
        session.execute(insert(Model), [{"id": 1, "threshold": champion.threshold, **about}])
        session.execute(insert(Exposure), [make_exposure(rng, n, names, mjd[n]) for n in range(EXPOSURES)])
        blobs, found, light = [], [], []
        for number, start in enumerate(onsets.tolist(), start=1):
            blobs.append(make_blob(rng, number, start))
            found += [make_detection(rng, blobs[-1], start + later) for later in range(FOUND)]
            light += make_light_curve(rng, blobs[-1], start)
        session.execute(insert(Blob), blobs)
        session.execute(insert(Detection), found)
        session.execute(insert(LightCurvePoint), light)
    print(f"{EXPOSURES} exposures, {BLOBS} blobs, {len(found)} detections, {len(light)} light-curve points\n")


def make_exposure(rng, number: int, names: list[str], mjd: float) -> dict:
    """Return the row of an exposure."""
    return {
        "id": number + 1,
        "rootname": names[number],
        "path": f"/data/incoming/{names[number]}_flt.fits",
        "stamp": "16583040 1700000000000000000",
        "md5": md5(names[number].encode()).hexdigest(),
        "expstart": float(mjd),
        "filter": "F153M",
        "programme": "15578",
        "outcome": JUDGED,
        "stack": " ".join(names[max(0, number - 50) : number]),
        "probabilities": json.dumps(rng.beta(0.2, 8.0, 16).tolist()),
        "judged_at": now(),
        "model_id": 1,
        **dict(zip(("noise", "contaminants"), rng.normal([0.007, 0.01], 0.001).tolist(), strict=True)),
        **{"score": float(rng.normal(-6, 1)), "found": int(rng.poisson(0.1)), "own_noise": 0.006},
        **{"gradient": 0.01, "streaks": 0.001, "excess": 1.1, "flagged": 0.02},
    }


def make_blob(rng, number: int, start: int) -> dict:
    """Return the row of a blob that is present from an exposure on."""
    x, y = rng.uniform(20, 1000, 2).tolist()
    measures = {"x": x, "y": y, "radius": 9.0, "depth": 0.02, "snr": 20.0, "probability": 0.999}
    made = {"id": number, **measures, "status": "confirmed", "halfway": 0.01}
    return made | {"before_id": start, "first_id": start + 1, "last_id": EXPOSURES, "model_id": 1}


def make_detection(rng, of: dict, exposure: int) -> dict:
    """Return the row of a detection."""
    x, y = (np.array([of["x"], of["y"]]) + rng.normal(0, 0.3, 2)).tolist()
    row = {name: of[name] for name in ("radius", "depth", "snr", "probability")}
    row |= {name: make_picture(rng) for name in ("before", "after", "difference")}
    return row | {"x": x, "y": y, "blob_id": of["id"], "exposure_id": exposure + 1, "model_id": 1}


def make_picture(rng) -> bytes:
    """Return a PNG of noise."""
    png = BytesIO()
    Image.fromarray(rng.normal(128, 25, (CUTOUT, CUTOUT)).clip(0, 255).astype(np.uint8)).save(png, "png")
    return png.getvalue()


def make_light_curve(rng, of: dict, start: int) -> list[dict]:
    """Return the light curve of a blob from before its onset to the end."""
    exposures = np.arange(start - BEFORE, EXPOSURES)
    depth = of["depth"] * (exposures >= start) + rng.normal(0, 0.001, len(exposures))
    return [
        {"blob_id": of["id"], "exposure_id": number + 1, "depth": value, "error": 0.001, "model_id": 1}
        for number, value in zip(exposures.tolist(), depth.tolist(), strict=True)
    ]


def start_server(url: str, port: int) -> subprocess.Popen:
    """Start the server, and wait until it serves its style sheet."""
    command = [sys.executable, "-m", "blobwatch.cli", "serve", "--ledger", url, "--port", str(port)]
    server = subprocess.Popen(command)
    while server.poll() is None:
        try:
            time_request(port, "/style.css")
            return server
        except ConnectionRefusedError:
            time.sleep(0.05)
    sys.exit("the server did not start")


def time_request(port: int, path: str) -> float:
    """Return the response time of a page in milliseconds."""
    begin = time.perf_counter()
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    took = 1000 * (time.perf_counter() - begin)
    connection.close()
    if response.status != 200:
        sys.exit(f"{path}: {response.status} {body[:500]!r}")
    return took


def main() -> int:
    """Print the response times; return the exit status."""
    last = EXPOSURES // 50
    paths = ["/", "/blob/1", f"/blob/{BLOBS}", "/exposures", f"/exposures?page={last // 2}"]
    paths += [f"/exposures?page={last}", "/drift", "/model", "/blobs.csv", "/blobs.json"]
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'ledger.db'}"
        write_ledger(url)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = start_server(url, port)
        try:
            table = [
                (path, time_request(port, path), [time_request(port, path) for _ in range(REQUESTS)])
                for path in paths
            ]
        finally:
            server.terminate()
            server.wait()
    print("| page | first, ms | median, ms | worst, ms |\n| --- | --- | --- | --- |")
    for path, first, times in table:
        print(f"| `{path}` | {first:.0f} | {median(times):.0f} | {max(times):.0f} |")
    return int(any(median(times) > LIMIT for _, _, times in table))


if __name__ == "__main__":
    sys.exit(main())
