"""Measure the processor time that cleaning a difference image takes.

Run ``python benchmarks/cleaning.py``. Prints rows for docs/performance.md: the median of 20 calls after a
warm-up, for a frame with as many bad pixels as a difference image of the pipeline has, and for one whose
bad pixels are not flagged. Processor time depends less than wall time on other work on the machine.
"""

import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

from blobwatch.images.cleaning import clean_frame, fill_unknown
from blobwatch.instrument.wfc3ir import BORDER, SIZE

RUNS = 20
LIMIT = 15.0  # ms


def frame(rng: np.random.Generator, unknown: float, bad: float) -> np.ndarray:
    """Return white noise with stripes, shares of unknown and of bad pixels, and an unknown border."""
    image = rng.normal(0.0, 1.0, (SIZE, SIZE)) + rng.normal(0.0, 0.05, SIZE)
    places = rng.uniform(size=image.shape) < bad
    image[places] += rng.choice([-1, 1], places.sum()) * (5 + rng.exponential(20.0, places.sum()))
    image[rng.uniform(size=image.shape) < unknown] = np.nan
    inner = np.full(image.shape, np.nan, dtype=np.float32)
    inner[BORDER:-BORDER, BORDER:-BORDER] = image[BORDER:-BORDER, BORDER:-BORDER]
    return inner


def timed(work: Callable[[], object]) -> float:
    """Return the median milliseconds of a call."""
    work()
    spans = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        spans.append(1000 * (time.process_time() - start))
    return statistics.median(spans)


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    print(f"machine: {platform.processor() or platform.machine()}; limit {LIMIT:.0f} ms")
    print("| what | measured |\n| --- | --- |")
    for unknown, bad in ((0.02, 0.001), (0.0, 0.015)):
        image = frame(rng, unknown, bad)
        cleaning = timed(lambda image=image: clean_frame(image))
        clean = clean_frame(image).image
        filling = timed(lambda clean=clean: fill_unknown(clean))
        masked = clean_frame(image).masked.sum()
        print(
            f"| cleaning a frame, {masked:,} pixels masked; filling | {cleaning:.1f} ms; {filling:.1f} ms |"
        )


if __name__ == "__main__":
    main()
