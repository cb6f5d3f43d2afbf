"""Measure how long it takes from an exposure's file to the notice of the blob that it confirms.

Run ``python benchmarks/notice.py [SEED]`` (default 1). A season of `other_season` comes in, one exposure
after the other; a webhook on this machine takes the notices. Once the monitor goes on watching (``--watch
--every 0.1``), once it is started anew for each exposure that confirms a blob, as cron would. Prints a table;
the exit status is 1 if the watching monitor took longer than 2 s.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from other_season import write_season

LIMIT = 2.0  # seconds
MONITOR = [sys.executable, "-m", "blobwatch.cli", "monitor"]
arrived = []


class Webhook(BaseHTTPRequestHandler):
    """Takes notices, and when they came."""

    def do_POST(self):
        """Take one."""
        self.rfile.read(int(self.headers["Content-Length"]))
        arrived.append(time.perf_counter())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


def bring(path, folder):
    """Put a file into the watched folder, whole at once; return when."""
    part = folder / f"{path.name}.part"
    shutil.copy(path, part)
    start = time.perf_counter()
    part.rename(folder / path.name)
    return start


def watched(paths, folder, address):
    """Return the times of a monitor that goes on; each exposure comes when the one before it is done."""
    taken, options = [], ["--watch", "--every", "0.1", "--json", "--notify", address]
    command = [*MONITOR, folder, "--ledger", f"sqlite:///{folder.parent}/watched.db", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as monitor:
        for path in paths:
            start, count = bring(path, folder), len(arrived)
            expected = len(json.loads(monitor.stdout.readline())["confirmed"])
            while len(arrived) < count + expected:
                time.sleep(0.002)
            if expected:
                taken.append(arrived[-1] - start)
        monitor.terminate()
    return taken


def started_anew(paths, folder, address, confirming):
    """Return the times of monitors that are started for one exposure each."""
    taken = []
    command = [*MONITOR, folder, "--ledger", f"sqlite:///{folder.parent}/anew.db", "--notify", address]
    for path in paths:
        start, count = bring(path, folder), len(arrived)
        if path in confirming:
            subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
            if len(arrived) > count:
                taken.append(arrived[-1] - start)
    return taken


def main(seed):
    """Measure and print."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"json://127.0.0.1:{server.server_port}/"
    with tempfile.TemporaryDirectory() as name:
        season, one, two = (Path(name, part) for part in ("season", "one/in", "two/in"))
        one.mkdir(parents=True)
        two.mkdir(parents=True)
        truth = write_season(season, seed)
        paths = [next(season.glob(f"{rootname}*")) for rootname in truth.rootnames]
        # A run just before each appearance, and one for the exposure that shows the blob the second time.
        confirming = {paths[blob.first + step] for blob in truth.blobs for step in (-1, 0, 1)}
        rows = [("goes on watching", watched(paths, one, address))]
        rows.append(("started for each exposure", started_anew(paths, two, address, confirming)))
    print("| monitor | notices | median, s | worst, s |\n| --- | --- | --- | --- |")
    for what, taken in rows:
        print(f"| {what} | {len(taken)} | {np.median(taken):.2f} | {max(taken):.2f} |")
    return max(rows[0][1]) > LIMIT


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
