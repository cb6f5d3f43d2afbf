"""Charts of the pages: coordinates of axes, ticks, points and bands.

The templates draw the charts as SVG, since matplotlib needs more than a quarter of a second for each chart.
Matplotlib only chooses the ticks.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache

import numpy as np

from blobwatch.monitor.drift import Reference
from blobwatch.monitor.ledger.rows import MJD_ZERO, format_value
from blobwatch.monitor.statistics import STATISTICS

MAX_POINTS = 240  # of a chart; neighbours are averaged to stay below it
MONTH = 365.25 / 12  # days


@dataclass(frozen=True)
class Axis:
    """Linear map from ``low``..``high`` to SVG coordinates ``start``..``end``.

    Attributes
    ----------
    low, high, start, end : float
    ticks : tuple of tuple
        SVG coordinate and label of each.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[tuple[float, str], ...] = ()

    def __call__(self, value: float) -> float:
        """Return the SVG coordinate of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def number_axis(
    low: float, high: float, start: float, end: float, count: int = 5, whole: bool = False
) -> Axis:
    """Return an axis of numbers with a margin and about ``count`` ticks.

    With ``whole``, ticks are at whole numbers only.
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
    """Return an axis of dates (MJD) with a margin."""
    margin = 0.03 * (high - low) or 1.0
    low, high = low - margin, high + margin
    axis = Axis(low, high, start, end)
    return Axis(low, high, start, end, tuple((axis(mjd), label) for mjd, label in date_ticks(low, high)))


@lru_cache(maxsize=64)
def date_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Return the MJD and the label of each tick."""
    from matplotlib.dates import AutoDateLocator, num2date

    first, last = (MJD_ZERO + timedelta(days=mjd) for mjd in (low, high))
    form = "%Y" if high - low > 1500 else "%Y-%m" if high - low > 200 else "%Y-%m-%d"
    ticks = [
        num2date(one).replace(tzinfo=None)
        for one in AutoDateLocator(minticks=3, maxticks=6).tick_values(first, last)
    ]
    return tuple((mjd_of(one), one.strftime(form)) for one in ticks if first <= one <= last)


def mjd_of(time: datetime) -> float:
    """Return the modified Julian date of a UTC time."""
    return (time - MJD_ZERO) / timedelta(days=1)


def average_neighbours(mjd: np.ndarray, value: np.ndarray, error: np.ndarray | None = None) -> list[dict]:
    """Average neighbouring points so that at most ``MAX_POINTS`` remain.

    Parameters
    ----------
    mjd, value : ndarray, shape (n,)
        In the order of time.
    error : ndarray, shape (n,), optional
        Errors that weight the means.

    Returns
    -------
    list of dict
        ``mjd``, ``value``, ``error`` (None without errors), ``count``.
    """
    parts = min(len(mjd), MAX_POINTS)
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
    """Return the means of ``together`` consecutive values; shape (n - together + 1,)."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    return (sums[together:] - sums[:-together]) / together


def colour_of_date(mjd: float, low: float, high: float) -> str:
    """Return the colour of a date between the oldest and the newest."""
    colours = date_colours()
    share = (mjd - low) / (high - low) if high > low else 1.0
    return colours[round(share * (len(colours) - 1))]


@cache
def date_colours() -> tuple[str, ...]:
    """Return the colours of dates, oldest first (cividis, for colour-blind readers)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    cividis = colormaps["cividis"]
    return tuple(to_hex(colour) for colour in cividis(np.arange(cividis.N)))


def monthly_rate(count: int, days: float) -> str:
    """Return the number of blobs per month, with its Poisson error."""
    months = max(days / MONTH, 1e-9)
    return format_value(count / months, np.sqrt(max(count, 1)) / months)


def timeline(rows: list[dict], first: float, last: float) -> dict:
    """Return the chart of the number of confirmed blobs over time."""
    x, y = date_axis(first, last, 60, 940), number_axis(0, len(rows), 520, 20, whole=True)
    points = [
        {
            "x": x(row["first_seen"]),
            "before": x(row["last_without"]) if row["last_without"] is not None else None,
            "y": y(count),
            "row": row,
        }
        for count, row in enumerate(rows, start=1)
    ]
    path = f"M{x(first)} {y(0)}" + "".join(f"H{one['x']}V{one['y']}" for one in points) + f"H{x(last)}"
    return {"x": x, "y": y, "points": points, "path": path}


def light_chart(light: dict[str, np.ndarray], row: dict, halfway: float | None) -> dict | None:
    """Return the light curve of a blob as a chart, in per cent."""
    if not len(light["mjd"]):
        return None
    shows = light["mjd"] >= row["first_seen"] - 1e-6
    before, after = (
        average_neighbours(light["mjd"][part], 100 * light["depth"][part], 100 * light["error"][part])
        for part in (~shows, shows)
    )
    points = [*before, *after]
    low = min(0.0, *(one["value"] - one["error"] for one in points))
    high = max(one["value"] + one["error"] for one in points)
    x = date_axis(light["mjd"][0], light["mjd"][-1], 70, 940)
    y = number_axis(low, high, 290, 20)
    drawn = [
        {"x": x(one["mjd"]), "y": y(one["value"]), "low": y(one["value"] - one["error"])}
        | {"high": y(one["value"] + one["error"]), "shows": number >= len(before)}
        for number, one in enumerate(points)
    ]
    without = row["last_without"]
    return {
        "x": x,
        "y": y,
        "points": drawn,
        "band": (x(max(without, x.low)), x(row["first_seen"])) if without is not None else None,
        "halfway": y(100 * halfway) if halfway is not None else None,
        "zero": y(0.0),
        "joined": max(one["count"] for one in points),
        "count": len(light["mjd"]),
    }


def statistic_chart(
    name: str, mjd: np.ndarray, values: np.ndarray, reference: Reference | None
) -> dict | None:
    """Return the chart of one trait over time, with its trailing means.

    None where it was never measured.
    """
    known, measured = reference.ranges[name] if reference else None, np.isfinite(values)
    mjd, values = mjd[measured], values[measured]
    if not len(values):
        return None
    ends = [*values.tolist(), *([known["low"], known["high"]] if known else [])]
    x, y = date_axis(mjd[0], mjd[-1], 80, 940), number_axis(min(ends), max(ends), 190, 16, 4)
    points = [{"x": x(one["mjd"]), "y": y(one["value"])} for one in average_neighbours(mjd, values)]
    together = reference.together if reference else len(values) + 1
    path = ""
    if len(values) >= together:
        means = average_neighbours(mjd[together - 1 :], trailing_means(values, together))
        path = "M" + "L".join(f"{x(one['mjd'])} {y(one['value'])}" for one in means)
    band = (y(known["high"]), y(known["low"]), y(known["mean"])) if known else None
    return {
        "name": name,
        "words": STATISTICS[name],
        "x": x,
        "y": y,
        "points": points,
        "path": path,
        "band": band,
    }


def preload() -> None:
    """Import matplotlib, which takes a quarter of a second."""
    date_axis(0.0, 1.0, 0.0, 1.0)
    number_axis(0.0, 1.0, 0.0, 1.0)
    date_colours()
