"""Fit one rate per pixel to a ramp of reads; reject cosmic rays.

Notes
-----
He I glow and light of the bright limb change the background during an exposure, so that a ramp is not a
straight line [WFC3 Data Handbook 7.10]. Each pixel is therefore compared with the background of its
surroundings, interval by interval: their ratio stays the same, a cosmic ray changes it in one interval.

The bias of each read is the mean of the reference pixels in the four innermost of the five columns at the
left and at the right; what remains from pixel to pixel is in the zeroth read too [Data Handbook 7.3].
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from blobwatch.instrument import wfc3ir

# Columns of reference pixels that measure the bias; the outermost column follows a pattern of its own.
REFERENCE_COLUMNS = [*range(1, wfc3ir.BORDER), *range(wfc3ir.SIZE - wfc3ir.BORDER, wfc3ir.SIZE - 1)]
BOX = 64  # pixels on a side of the boxes whose medians make the background of an interval
SAMPLE = 2  # of each row and column of a box every second pixel is used
ROWS = 64  # rows fitted at once; limits the memory
CLIP_SIGMA = 5.5  # sigma; an interval further off its pixel's other intervals contains a cosmic ray
RELATIVE_SCATTER = 0.01  # of the signal: scatter between intervals in addition to photon and read noise
MIN_INTERVAL = 0.25  # of the median background; an interval with less is merged with the next
MIN_READS = 4  # reads; with fewer no interval can be compared


@dataclass(frozen=True)
class Ramp:
    """The reads of an exposure, sorted by time.

    Attributes
    ----------
    signals : list of ndarray, shape (ny, nx)
        Accumulated signal of each read, DN or electrons; the zeroth read first.
    saturated : list of ndarray of bool, or None per read
        Pixels that are flagged as saturated.
    levels : list of float
        Bias of each read, DN.
    times : list of float
        Seconds at the end of each read.
    gain : float
        Electrons per unit of ``signals``.
    """

    signals: list[np.ndarray]
    saturated: list[np.ndarray | None]
    levels: list[float]
    times: list[float]
    gain: float

    @property
    def seconds(self) -> float:
        """Return the time between the zeroth and the last read."""
        return self.times[-1] - self.times[0]

    @property
    def full(self) -> float:
        """Return the signal of a full well."""
        return wfc3ir.SATURATION / self.gain

    def between(self, first: int, last: int, rows: slice = slice(None)) -> np.ndarray:
        """Return the signal that was collected between two reads, float32."""
        early, late = (self.signals[i][rows].astype(np.float32) for i in (first, last))
        return late - early - np.float32(self.levels[last] - self.levels[first])


def fit_rate(ramp: Ramp) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the rate of each pixel, and which pixels are saturated.

    Returns
    -------
    rate : ndarray, shape (ny, nx), float32, units of the signals per second
        Where an interval contains a cosmic ray or is saturated, the others count.
    saturated : ndarray of bool, the same shape
        No interval before saturation, or a steady signal that fills the well.

    None if intervals cannot be compared: too few reads, or no light.
    """
    if len(ramp.signals) < MIN_READS:
        return None
    edges = merge_short_intervals(ramp)
    if len(edges) < 3:
        return None
    maps = np.stack([background_map(ramp.between(i, j)) for i, j in pairwise(edges)])
    if not (maps > 0).all():
        return None
    shape = ramp.signals[0].shape
    rate, saturated = np.empty(shape, np.float32), np.empty(shape, bool)
    across, down = (
        interpolation_weights(size, maps.shape[1 + axis]) for axis, size in enumerate(shape[::-1])
    )
    for start in range(0, shape[0], ROWS):
        rows = slice(start, start + ROWS)
        backgrounds = down[rows] @ maps @ across.T  # (intervals, rows, nx)
        rate[rows], saturated[rows] = fit_rows(ramp, edges, backgrounds, rows)
    return rate, saturated


def merge_short_intervals(ramp: Ramp) -> list[int]:
    """Return the reads that limit comparable intervals.

    Without light, the list is empty.
    """
    thin = (slice(wfc3ir.BORDER, -wfc3ir.BORDER, 8),) * 2
    steps = range(len(ramp.signals) - 1)
    light = [float(np.nanmedian(ramp.between(i, i + 1)[thin])) for i in steps]
    least = MIN_INTERVAL * float(np.median(light))
    if not least > 0:
        return []
    edges, collected = [0], 0.0
    for i, amount in enumerate(light):
        collected += amount
        if collected >= least:
            edges.append(i + 1)
            collected = 0.0
    edges[-1] = len(light)  # a short one at the end belongs to the interval before
    return edges


def background_map(signal: np.ndarray) -> np.ndarray:
    """Return the median signal of an interval in 16 x 16 boxes."""
    inner = signal.copy()
    if signal.shape[0] == wfc3ir.SIZE:  # the reference pixels see no light
        frame = np.ones(signal.shape, bool)
        frame[wfc3ir.BORDER : -wfc3ir.BORDER, wfc3ir.BORDER : -wfc3ir.BORDER] = False
        inner[frame] = np.nan
    size = -(-signal.shape[0] // BOX)
    padded = np.full((size * BOX, size * BOX), np.nan, np.float32)
    padded[: signal.shape[0], : signal.shape[1]] = inner
    cells = padded[::SAMPLE, ::SAMPLE].reshape(size, BOX // SAMPLE, size, BOX // SAMPLE).swapaxes(1, 2)
    cells = np.sort(cells.reshape(size, size, -1), axis=2)  # NaN last
    known = np.isfinite(cells).sum(axis=2)
    middle = np.maximum(known - 1, 0) // 2
    medians = np.take_along_axis(cells, middle[:, :, None], axis=2)[:, :, 0]
    return np.where(known > 0, medians, np.nanmedian(medians) if known.any() else 0.0).astype(np.float32)


def interpolation_weights(size: int, boxes: int) -> np.ndarray:
    """Return the weights of linear interpolation from boxes to pixels, shape (size, boxes), float32."""
    place = np.clip((np.arange(size) + 0.5) / BOX - 0.5, 0, boxes - 1)
    return np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(boxes))).astype(np.float32)


def fit_rows(
    ramp: Ramp, edges: list[int], backgrounds: np.ndarray, rows: slice
) -> tuple[np.ndarray, np.ndarray]:
    """Return rate and saturation of some rows; ``backgrounds`` of shape (intervals, rows, nx)."""
    signals = np.stack([ramp.between(i, j, rows) for i, j in pairwise(edges)])
    total = ramp.between(0, edges[-1], rows)
    usable = np.isfinite(signals) & ~saturated_intervals(ramp, edges, rows)
    fraction = np.sort(np.where(usable, signals / backgrounds, np.inf), axis=0)
    count = usable.sum(axis=0)
    # The lower median: cosmic rays only add signal.
    middle = np.take_along_axis(fraction, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
    middle = np.where(count > 0, middle, 0.0).astype(np.float32)
    expected = middle * backgrounds
    light = np.maximum(expected, 0.0)
    variance = light / ramp.gain + (RELATIVE_SCATTER * light) ** 2 + (wfc3ir.READ_NOISE / ramp.gain) ** 2
    clean = usable & ((signals - expected) ** 2 <= CLIP_SIGMA**2 * variance)
    share = np.where(clean, backgrounds, 0.0).sum(axis=0)
    whole = backgrounds.sum(axis=0)
    kept = np.where(clean, signals, 0.0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        fitted = np.where(share > 0, kept / share * whole, total)
    steady = np.where(clean.all(axis=0), total, fitted)  # exact if all intervals are used
    return steady / np.float32(ramp.seconds), (count == 0) | (middle * whole >= ramp.full)


def saturated_intervals(ramp: Ramp, edges: list[int], rows: slice) -> np.ndarray:
    """Return which pixels are saturated at the end of each interval, shape (intervals, rows, nx)."""
    full = np.zeros((len(edges), *ramp.signals[0][rows].shape), bool)
    for number, read in enumerate(edges):
        flagged = ramp.saturated[read]
        if number:
            full[number] = full[number - 1] | (ramp.between(0, read, rows) >= ramp.full)
        if flagged is not None:
            full[number] |= flagged[rows]
    return full[1:]


def bias_level(read: np.ndarray, dq: np.ndarray) -> float:
    """Return the mean of a read's good reference pixels; 0 where the frame has none."""
    if read.shape != (wfc3ir.SIZE, wfc3ir.SIZE):
        return 0.0
    inner = slice(wfc3ir.BORDER, -wfc3ir.BORDER)
    level = read[inner, REFERENCE_COLUMNS]
    level = level[np.isfinite(level) & (dq[inner, REFERENCE_COLUMNS] & wfc3ir.DQ_UNUSABLE == 0)]
    return float(level.mean(dtype=np.float64)) if level.size else 0.0
