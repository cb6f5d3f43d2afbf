"""Kill ``blobwatch monitor`` at random moments, and see that nothing is lost and nothing is there twice.

Run ``python benchmarks/monitor_kills.py [KILLS [SEED]]`` (default: 200 1). In each round a fresh ledger sees
eleven exposures of real size, and tells a webhook of the blob that appears in them; the program is killed up
to five times, at moments drawn evenly over the time that a whole run takes, from its start on, and then left
to finish. The ledger must then be that of an undisturbed run, in all but our own moments, and the notice must
have come: once, or again with the words that it may be a repeat. The status is 1 if anything is amiss.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from monitor.hook import webhook
from monitor.sky import COUNT, contents, write_sky
from synthetic import write_model

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.progress import print_message

MOST = 5  # kills of one round
REPEAT = "may be a repeat"
HEAD = f"""\
| kills | before the first exposure was entered | between | after the last | rounds | notices | said to be \
repeats | lost | doubled | ledgers that differ |\n{"| --- " * 10}|"""


def run(command, moment=None):
    """Run the program until its end, or kill it at a moment (s); return how long it took, inf if killed."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        said = process.communicate(timeout=moment)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return np.inf
    if process.returncode:
        raise RuntimeError(f"the monitor ended with status {process.returncode}: {said}")
    return time.monotonic() - start


def kept(url):
    """Return what a ledger holds, without its notices, and how many exposures; nothing where it is none."""
    with suppress(BlobwatchError):
        ledger = open_ledger(url)
        tables = contents(ledger)
        ledger.engine.dispose()
        return {name: rows for name, rows in tables.items() if name != "notices"}, len(tables["exposures"])
    return {}, 0


def judge(hook):
    """Return of the notices of a round how many came and were said to be repeats, were lost, were doubled."""
    came = hook.by_number()
    said = sum(REPEAT in one for messages in came.values() for one in messages)
    doubled = sum(REPEAT not in one for messages in came.values() for one in messages[1:])
    return len(hook.messages), said, int(len(came) < 1), doubled + max(0, len(came) - 1)


def main(kills=200, seed=1):
    """Kill, judge, print; return the exit status."""
    rng, places, rounds, differing = np.random.default_rng([11, seed]), np.zeros(3, dtype=int), 0, 0
    totals = np.zeros(4, dtype=int)
    with tempfile.TemporaryDirectory() as name, webhook() as hook:
        folder = Path(name)
        model, sky = write_model(folder / "box"), write_sky(folder / "sky")
        command = [sys.executable, "-m", "blobwatch.cli", "monitor", sky, "--model", model]
        command += ["--notify", hook.address, "--ledger"]
        whole = run([*command, f"sqlite:///{folder}/whole.db"])
        undisturbed, _ = kept(f"sqlite:///{folder}/whole.db")
        while places.sum() < kills:
            hook.messages.clear()
            url = f"sqlite:///{folder}/{rounds}.db"
            for number in range(min(MOST, kills - places.sum())):
                seconds = run([*command, url], rng.uniform(0, whole))
                if np.isfinite(seconds):
                    whole = whole if number else seconds  # the machine may have other work than before
                    break
                entered = kept(url)[1]
                places[(entered > 0) + (entered == COUNT)] += 1
            print_message(f"{places.sum()} kills")
            run([*command, url])
            differing += kept(url)[0] != undisturbed
            totals += judge(hook)
            rounds += 1
    notices, said, lost, doubled = totals.tolist()
    row = (places.sum(), *places, rounds, notices, said, lost, doubled, differing)
    print(HEAD, "| " + " | ".join(map(str, row)) + " |", sep="\n")
    return int(lost + doubled + differing > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
