"""Measure the time from the arrival of an exposure to the notice of its confirmed blob.

Run ``python benchmarks/notice.py [SEED]`` (default 1). The exposures of a season of `other_season` arrive
one by one, and a webhook on this machine receives the notices. The first monitor runs continuously
(``--watch --every 0.1``). The second is started for each exposure that confirms a blob, as by cron. Prints
a table. The exit status is 1 if a notice of the continuous monitor took longer than 2 s.
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
    """Webhook that records the arrival times of notices."""

    def do_POST(self):
        """Record one notice."""
        self.rfile.read(int(self.headers["Content-Length"]))
        arrived.append(time.perf_counter())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Print no log."""


def deliver(path, folder):
    """Copy a file atomically into the watched directory; return the time."""
    part = folder / f"{path.name}.part"
    shutil.copy(path, part)
    start = time.perf_counter()
    part.rename(folder / path.name)
    return start


def time_watching(paths, folder, address):
    """Return the delays of a continuous monitor; exposures arrive one by one."""
    taken, options = [], ["--watch", "--every", "0.1", "--json", "--notify", address]
    command = [*MONITOR, folder, "--ledger", f"sqlite:///{folder.parent}/watch.db", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as monitor:
        for path in paths:
            start, count = deliver(path, folder), len(arrived)
            expected = len(json.loads(monitor.stdout.readline())["confirmed"])
            while len(arrived) < count + expected:
                time.sleep(0.002)
            if expected:
                taken.append(arrived[-1] - start)
        monitor.terminate()
    return taken


def time_restarts(paths, folder, address, confirming):
    """Return the delays of monitors that are started for one exposure each."""
    taken = []
    command = [*MONITOR, folder, "--ledger", f"sqlite:///{folder.parent}/restarts.db", "--notify", address]
    for path in paths:
        start, count = deliver(path, folder), len(arrived)
        if path in confirming:
            subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
            if len(arrived) > count:
                taken.append(arrived[-1] - start)
    return taken


def main(seed):
    """Print the delays; return the exit status."""
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
        rows = [("runs continuously", time_watching(paths, one, address))]
        rows.append(("started for each exposure", time_restarts(paths, two, address, confirming)))
    print("| monitor | notices | median, s | worst, s |\n| --- | --- | --- | --- |")
    for what, taken in rows:
        print(f"| {what} | {len(taken)} | {np.median(taken):.2f} | {max(taken):.2f} |")
    return max(rows[0][1]) > LIMIT


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
