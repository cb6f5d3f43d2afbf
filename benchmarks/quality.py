"""Measure the quality check on independent seasons.

Run ``python benchmarks/quality.py [--seed N] [--short]``. The seasons come from ``tests/seasons``, which
shares no code with the simulator and was not fitted to the limits. 42 seasons of 5 to 200 good exposures,
in all conditions, contain 16 bad exposures of eleven kinds per 100 good ones. Prints a table by season and
one by kind. Wrong decisions and their measures go to stderr. The exit status is 1 if a good exposure is
rejected, or if fewer than 95 % of the bad ones are rejected.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from seasons.faults import FAULTS
from seasons.judge import Verdict, describe, judge_season
from seasons.series import deal_faults, write_season
from seasons.sky import Conditions, draw_conditions

LENGTHS = 2 * (5, 5, 6, 8, 10, 12, 14, 16, 18, 20, 20, 22, 25, 25, 30, 30, 40, 50, 60, 100, 200)
SHARE, ENOUGH = 0.16, 0.95  # bad exposures per good one; required share of rejected bad ones
SEASON = (
    "| season | filter | flat error, % | noise | background | flats | NSAMP | good | rejected | bad "
    f"| missed | s/exposure |\n{'| --- ' * 12}|"
)
KIND = f"| kind | bad | rejected | most frequent reason |\n{'| --- ' * 4}|"


def run_season(own: Conditions, faults: list[str]) -> tuple[list[Verdict], str]:
    """Write and check a season; return the verdicts and a table row."""
    with tempfile.TemporaryDirectory() as folder:
        taken = write_season(Path(folder), own, faults)
        start = time.perf_counter()
        verdicts = judge_season(taken)
        seconds = (time.perf_counter() - start) / len(taken)
    good = [one for one in verdicts if not one.taken.fault]
    bad = [one for one in verdicts if one.taken.fault]
    wrong = [sum(not one.right for one in several) for several in (good, bad)]
    background = "0.3-3" if own.restless else f"{own.level:.2f}"
    cells = own.seed, own.filter, f"{100 * own.fixed:.2f}", f"{own.noise:.2f}", background
    cells += 2020 if own.modern else 2010, "/".join(map(str, own.nsamps)), len(good), wrong[0]
    return verdicts, format_row(*cells, len(bad), wrong[1], f"{seconds:.2f}")


def format_row(*cells: object) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def tabulate_kinds(verdicts: list[Verdict]) -> list[str]:
    """Return the table by kind of bad exposure."""
    rows = [KIND]
    for kind in FAULTS:
        found = [one for one in verdicts if one.taken.fault == kind]
        reasons = Counter(" ".join(one.reason.replace(one.taken.rootname, "").split()[:5]) for one in found)
        usual = next((reason for reason, _ in reasons.most_common() if reason), "")
        rows.append(format_row(kind, len(found), sum(one.right for one in found), usual))
    return rows


def main(seed: int, short: bool) -> int:
    """Run all seasons; return the exit status."""
    lengths = [length for length in LENGTHS if length <= 30] if short else list(LENGTHS)
    dealt = deal_faults(np.random.default_rng([45, seed]), [max(round(SHARE * n), 1) for n in lengths])
    every: list[Verdict] = []
    print(SEASON, flush=True)
    for number, (length, faults) in enumerate(zip(lengths, dealt, strict=True)):
        verdicts, cells = run_season(draw_conditions(100 * seed + number, length), faults)
        print(cells, flush=True)
        for one in verdicts:
            if not one.right:
                print(describe(one, verdicts), file=sys.stderr, flush=True)
        every += verdicts
    print("\n".join(["", *tabulate_kinds(every)]))
    good = [one.right for one in every if not one.taken.fault]
    bad = [one.right for one in every if one.taken.fault]
    print(f"\n{len(good) - sum(good)} of {len(good)} good ones rejected, {sum(bad)} of {len(bad)} bad ones")
    return int(not (all(good) and np.mean(bad) >= ENOUGH))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="Use only seasons of up to 30 exposures.")
    arguments = parser.parse_args()
    sys.exit(main(arguments.seed, arguments.short))
