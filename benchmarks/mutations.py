"""Measure which share of random faults the tests catch: `python benchmarks/mutations.py --faults 60`.

Each fault changes one operator or constant, or deletes one call, in a random place of a package. The tests of
that package run on a copy of the repository until one fails.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from astropy.stats import binom_conf_interval
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/blobwatch"
TIMEOUT = 900  # seconds per fault; a fault that makes the tests hang counts as caught
NO_TESTS = 5  # exit status of pytest if it collects no test
SWAPS = {
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.And: "or",
    ast.Or: "and",
}


@dataclass(frozen=True)
class Fault:
    """One change of one source file: ``new`` replaces ``old`` at a position in bytes."""

    path: Path
    line: int
    start: int
    old: bytes
    new: bytes

    @property
    def package(self) -> str:
        """Return the package; ``blobwatch`` for top-level modules."""
        return self.path.relative_to(SOURCE).parts[0] if self.path.parent != SOURCE else "blobwatch"

    def apply(self, root: Path) -> None:
        """Write the faulty file into a copy of the repository."""
        content = self.path.read_bytes()
        assert content[self.start : self.start + len(self.old)] == self.old
        changed = content[: self.start] + self.new + content[self.start + len(self.old) :]
        (root / self.path.relative_to(ROOT)).write_bytes(changed)

    def restore(self, root: Path) -> None:
        """Write the original file again."""
        shutil.copyfile(self.path, root / self.path.relative_to(ROOT))


def list_faults(path: Path) -> list[Fault]:
    """Return the possible faults in the functions of a module."""
    content = path.read_bytes()
    starts = np.cumsum([0, *(len(line) for line in content.splitlines(keepends=True))])

    def span(node: ast.AST) -> tuple[int, int]:
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def between(left: ast.AST, right: ast.AST, operator: type, line: int) -> None:
        """Replace the operator between two operands."""
        start, end = span(left)[1], span(right)[0]
        gap = content[start:end]
        brackets = gap.count(b")"), gap.count(b"(")  # of operands in brackets
        new = b")" * brackets[0] + f" {SWAPS[operator]} ".encode() + b"(" * brackets[1]
        if b"#" not in gap:
            faults.append(Fault(path, line, int(start), gap, new))

    faults: list[Fault] = []
    functions = [n for n in ast.walk(ast.parse(content)) if isinstance(n, ast.FunctionDef)]
    for node in {inner for f in functions for statement in f.body for inner in ast.walk(statement)}:
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            between(node.left, node.comparators[0], type(node.ops[0]), node.lineno)
        elif isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
            between(node.left, node.right, type(node.op), node.lineno)
        elif isinstance(node, ast.BoolOp):
            between(node.values[0], node.values[1], type(node.op), node.lineno)
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            start, end = span(node)
            new = repr(node.value + 1).encode()
            faults.append(Fault(path, node.lineno, int(start), content[start:end], new))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            start, end = span(node)
            faults.append(Fault(path, node.lineno, int(start), content[start:end], b"pass"))
    return [fault for fault in faults if compiles(fault)]


def compiles(fault: Fault) -> bool:
    """Return whether a faulty module is valid Python."""
    content = fault.path.read_bytes()
    changed = content[: fault.start] + fault.new + content[fault.start + len(fault.old) :]
    try:
        compile(changed, str(fault.path), "exec")
    except (SyntaxError, SyntaxWarning):
        return False
    return True


def draw_faults(rng: np.random.Generator, count: int) -> list[Fault]:
    """Draw faults, the packages in turn and every line at most once."""
    packages: dict[str, list[Fault]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if "migrations" in path.parts:
            continue
        for fault in sorted(list_faults(path), key=lambda fault: (fault.start, fault.new)):
            packages.setdefault(fault.package, []).append(fault)
    shuffled = [[faults[i] for i in rng.permutation(len(faults))] for _, faults in sorted(packages.items())]
    turns = [fault for turn in range(count) for faults in shuffled for fault in faults[turn : turn + 1]]
    return turns[:count]


def tests_of(fault: Fault) -> list[str]:
    """Return the test paths of the package of a fault."""
    tests = ROOT / "tests"
    own = [tests / fault.package, tests / f"test_{fault.path.stem}.py"]
    found = [path for path in own if path.exists()]
    # Modules without tests of their own are tested through the command line.
    return [str(path.relative_to(ROOT)) for path in found or sorted(tests.glob("test_*.py"))]


def is_caught(fault: Fault, root: Path) -> bool:
    """Run the tests of a faulty package in a copy of the repository; return whether one fails."""
    fault.apply(root)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not pipeline"]
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    try:
        run = subprocess.run(
            [*command, *tests_of(fault)], cwd=root, env=environment, capture_output=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        fault.restore(root)
    if run.returncode == NO_TESTS:
        raise SystemExit(f"{fault.package}: no tests in {tests_of(fault)}")
    return run.returncode != 0


def main() -> None:
    """Print each fault, and the share of caught faults by package with its interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    faults = draw_faults(np.random.default_rng(options.seed), options.faults)
    console = Console()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.workers) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.workers):
            copy = Path(folder) / str(number)
            subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(copy)], check=True)
            copies.put(copy)

        def judge(fault: Fault) -> bool:
            copy = copies.get()
            caught = is_caught(fault, copy)
            copies.put(copy)
            where = f"{fault.path.relative_to(SOURCE)}:{fault.line}"
            change = f"{fault.old.decode().strip()} -> {fault.new.decode().strip()}"
            console.print(f"{'caught  ' if caught else 'survived'} {where}: {change}", markup=False)
            return caught

        caught = list(pool.map(judge, faults))
    total = Counter(fault.package for fault in faults)
    found = Counter(fault.package for fault, hit in zip(faults, caught, strict=True) if hit)
    table = Table("package", "caught", "faults")
    for package in sorted(total):
        table.add_row(package, str(found[package]), str(total[package]))
    low, high = binom_conf_interval(sum(caught), len(caught), 0.95, interval="wilson")
    table.add_row("all", f"{sum(caught)} ({low:.0%} to {high:.0%})", str(len(caught)))
    console.print(table)


if __name__ == "__main__":
    main()
