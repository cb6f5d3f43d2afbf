"""Kill ``blobwatch monitor`` at random times, and check for lost and duplicate results.

Run ``python benchmarks/monitor_kills.py [KILLS [SEED]]`` (default: 200 1). In each round, the monitor
stores eleven exposures of real size in a new ledger and sends a webhook the notice of a new blob. It is
killed up to five times, at random times distributed evenly over a run. The last run is completed. Then the
ledger must equal that of an undisturbed run, except for times of storage. The notice must have arrived
once, or again with the remark that it may be a repeat. The exit status is 1 if a check fails.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from monitor.example_exposures import COUNT, contents, write_sky
from monitor.notice_servers import Webhook, running
from synthetic import write_model

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.progress import print_message

MOST = 5  # kills of one round
REPEAT = "may be a repeat"
HEAD = f"""\
| kills | before the first exposure was stored | between | after the last | rounds | notices | marked as \
repeats | lost | duplicates | different ledgers |\n{"| --- " * 10}|"""


def run_monitor(command, moment=None):
    """Return the run time (s) of the monitor, or inf if it was killed after ``moment`` seconds."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        errors = process.communicate(timeout=moment)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return np.inf
    if process.returncode:
        raise RuntimeError(f"the monitor ended with status {process.returncode}: {errors}")
    return time.monotonic() - start


def read_ledger(url):
    """Return the tables of a ledger without notices, and its number of exposures; empty without a ledger."""
    with suppress(BlobwatchError):
        ledger = open_ledger(url)
        tables = contents(ledger)
        ledger.engine.dispose()
        return {name: rows for name, rows in tables.items() if name != "notices"}, len(tables["exposures"])
    return {}, 0


def count_notices(hook):
    """Return the numbers of notices, marked repeats, lost notices and duplicates of a round."""
    notices = hook.by_number()
    repeats = sum(REPEAT in one for messages in notices.values() for one in messages)
    duplicates = sum(REPEAT not in one for messages in notices.values() for one in messages[1:])
    return len(hook.control.got), repeats, int(len(notices) < 1), duplicates + max(0, len(notices) - 1)


def main(kills=200, seed=1):
    """Kill and check the monitor repeatedly; return the exit status."""
    rng, places, rounds, differing = np.random.default_rng([11, seed]), np.zeros(3, dtype=int), 0, 0
    totals = np.zeros(4, dtype=int)
    with tempfile.TemporaryDirectory() as name, running(Webhook()) as hook:
        folder = Path(name)
        model, sky = write_model(folder / "model"), write_sky(folder / "sky")
        command = [sys.executable, "-m", "blobwatch.cli", "monitor", sky, "--model", model]
        command += ["--notify", hook.address, "--ledger"]
        duration = run_monitor([*command, f"sqlite:///{folder}/whole.db"])
        undisturbed, _ = read_ledger(f"sqlite:///{folder}/whole.db")
        while places.sum() < kills:
            hook.control.got.clear()
            url = f"sqlite:///{folder}/{rounds}.db"
            for number in range(min(MOST, kills - places.sum())):
                seconds = run_monitor([*command, url], rng.uniform(0, duration))
                if np.isfinite(seconds):
                    duration = duration if number else seconds  # the load of the machine may have changed
                    break
                stored = read_ledger(url)[1]
                places[(stored > 0) + (stored == COUNT)] += 1
            print_message(f"{places.sum()} kills")
            run_monitor([*command, url])
            differing += read_ledger(url)[0] != undisturbed
            totals += count_notices(hook)
            rounds += 1
    notices, repeats, lost, duplicates = totals.tolist()
    row = (places.sum(), *places, rounds, notices, repeats, lost, duplicates, differing)
    print(HEAD, "| " + " | ".join(map(str, row)) + " |", sep="\n")
    return int(lost + duplicates + differing > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
