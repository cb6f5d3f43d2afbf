"""Measure the processor time that cleaning a difference image takes.

Run ``python benchmarks/cleaning.py``. It prints rows for docs/performance.md: the median of 20 calls after a
warm-up. One frame has as many bad pixels as a difference image of the pipeline. The bad pixels of the other
frame are not flagged. Other programs affect processor time less than wall time.
"""

import platform
from functools import partial
from time import process_time

import numpy as np
from measure import median_milliseconds

from blobwatch.images.cleaning import clean_frame, fill_unknown
from blobwatch.instrument.wfc3ir import BORDER, SIZE

RUNS = 20
LIMIT = 15.0  # ms


def make_frame(rng: np.random.Generator, unknown: float, bad: float) -> np.ndarray:
    """Return white noise with stripes, shares of unknown and of bad pixels, and an unknown border."""
    image = rng.normal(0.0, 1.0, (SIZE, SIZE)) + rng.normal(0.0, 0.05, SIZE)
    outliers = rng.uniform(size=image.shape) < bad
    image[outliers] += rng.choice([-1, 1], outliers.sum()) * (5 + rng.exponential(20.0, outliers.sum()))
    image[rng.uniform(size=image.shape) < unknown] = np.nan
    inner = np.full(image.shape, np.nan, dtype=np.float32)
    inner[BORDER:-BORDER, BORDER:-BORDER] = image[BORDER:-BORDER, BORDER:-BORDER]
    return inner


def main() -> None:
    """Print the measurements."""
    rng = np.random.default_rng(0)
    print(f"machine: {platform.processor() or platform.machine()}; limit {LIMIT:.0f} ms")
    print("| operation | measured |\n| --- | --- |")
    for unknown, bad in ((0.02, 0.001), (0.0, 0.015)):
        image = make_frame(rng, unknown, bad)
        cleaned = clean_frame(image)
        cleaning = median_milliseconds(partial(clean_frame, image), RUNS, process_time)
        filling = median_milliseconds(partial(fill_unknown, cleaned.image), RUNS, process_time)
        masked = cleaned.masked.sum()
        print(
            f"| cleaning a frame, {masked:,} pixels masked; filling | {cleaning:.1f} ms; {filling:.1f} ms |"
        )


if __name__ == "__main__":
    main()
