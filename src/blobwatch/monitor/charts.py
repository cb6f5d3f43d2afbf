"""Where things lie in the charts of the pages: axes, ticks, steps, means of many points.

The charts are SVG drawn by the templates, since a page must be there at once: matplotlib takes a quarter of
a second and more for each. It chooses the ticks.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache

import numpy as np

from blobwatch.monitor.ledger.rows import MJD_ZERO

MOST = 240  # points of a chart; of more, neighbours are joined


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high`` that is drawn from ``start`` to ``end``, in units of the SVG.

    Attributes
    ----------
    low, high, start, end : float
    ticks : tuple of tuple
        Place in the SVG, and label.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[tuple[float, str], ...] = ()

    def __call__(self, value: float) -> float:
        """Return where a value lies in the SVG."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def number_axis(
    low: float, high: float, start: float, end: float, count: int = 5, whole: bool = False
) -> Axis:
    """Return an axis of numbers with about ``count`` ticks, a little longer than asked for.

    With ``whole``, only at whole numbers.
    """
    from matplotlib.ticker import MaxNLocator

    margin = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - margin, high + margin
    axis = Axis(low, high, start, end)
    locator = MaxNLocator(count, steps=[1, 2, 5, 10], integer=whole)
    values = [value for value in locator.tick_values(low, high) if low <= value <= high]
    digits = max(0, int(np.ceil(-np.log10(values[1] - values[0]) - 1e-9))) if len(values) > 1 else 2
    return Axis(low, high, start, end, tuple((axis(v), f"{v:.{digits}f}".replace("-", "−")) for v in values))


def date_axis(low: float, high: float, start: float, end: float) -> Axis:
    """Return an axis of dates, MJD, a little longer than asked for."""
    margin = 0.03 * (high - low) or 1.0
    low, high = low - margin, high + margin
    axis = Axis(low, high, start, end)
    return Axis(low, high, start, end, tuple((axis(mjd), label) for mjd, label in date_ticks(low, high)))


@lru_cache(maxsize=64)
def date_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Return the MJD and the label of each tick of some days."""
    from matplotlib.dates import AutoDateLocator, num2date

    first, last = (MJD_ZERO + timedelta(days=mjd) for mjd in (low, high))
    form = "%Y" if high - low > 1500 else "%Y-%m" if high - low > 200 else "%Y-%m-%d"
    ticks = [
        num2date(one).replace(tzinfo=None)
        for one in AutoDateLocator(minticks=3, maxticks=6).tick_values(first, last)
    ]
    return tuple((mjd_of(one), one.strftime(form)) for one in ticks if first <= one <= last)


def mjd_of(moment: datetime) -> float:
    """Return the modified Julian date of a moment (UTC)."""
    return (moment - MJD_ZERO) / timedelta(days=1)


def joined(mjd: np.ndarray, value: np.ndarray, error: np.ndarray | None = None) -> list[dict]:
    """Return points of a chart: as they are where they are few, else means of as many neighbours each.

    Parameters
    ----------
    mjd, value : ndarray, shape (n,)
        In the order of time.
    error : ndarray, shape (n,), optional
        A mean weighs each by its error.

    Returns
    -------
    list of dict
        ``mjd``, ``value``, ``error`` (None where none was given), ``count``.
    """
    parts = min(len(mjd), MOST)
    if not parts:
        return []
    starts = np.arange(parts) * len(mjd) // parts
    weights = np.ones(len(mjd)) if error is None else np.maximum(error, 1e-12) ** -2.0
    counts, weight = np.diff(starts, append=len(mjd)), np.add.reduceat(weights, starts)
    columns = {
        "mjd": (np.add.reduceat(mjd, starts) / counts).tolist(),
        "value": (np.add.reduceat(weights * value, starts) / weight).tolist(),
        "error": [None] * parts if error is None else (weight**-0.5).tolist(),
        "count": counts.tolist(),
    }
    return [dict(zip(columns, point, strict=True)) for point in zip(*columns.values(), strict=True)]


def trailing_means(values: np.ndarray, together: int) -> np.ndarray:
    """Return the mean of each value and those before it, ``together`` in all; shape (n - together + 1,)."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    return (sums[together:] - sums[:-together]) / together


def colour_of_date(mjd: float, low: float, high: float) -> str:
    """Return a colour between the oldest and the newest date."""
    colours = date_colours()
    share = (mjd - low) / (high - low) if high > low else 1.0
    return colours[round(share * (len(colours) - 1))]


@cache
def date_colours() -> tuple[str, ...]:
    """Return the colours of dates, the oldest first: those of cividis, for the colour-blind."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return tuple(to_hex(colour) for colour in colormaps["cividis"].colors)


def warm() -> None:
    """Have imported what draws charts, a quarter of a second."""
    date_axis(0.0, 1.0, 0.0, 1.0)
    number_axis(0.0, 1.0, 0.0, 1.0)
    date_colours()
