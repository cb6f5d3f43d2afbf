"""The charts of the pages: where each of their points, lines and bands lies."""

import numpy as np

from blobwatch.monitor import charts
from blobwatch.monitor.drift import Reference
from blobwatch.monitor.ledger.rows import with_error
from blobwatch.monitor.traits import WORDS

MONTH = 365.25 / 12  # days


def rate_of(count: int, days: float) -> str:
    """Return how many appeared a month, with the error of counting."""
    months = max(days / MONTH, 1e-9)
    return with_error(count / months, np.sqrt(max(count, 1)) / months)


def timeline(rows: list[dict], first: float, last: float) -> dict:
    """Return the chart of how many confirmed blobs there were at each time."""
    x, y = charts.date_axis(first, last, 60, 940), charts.number_axis(0, len(rows), 520, 20, whole=True)
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
    """Return the chart of the light that is missing at a blob's place over time, per cent."""
    if not len(light["mjd"]):
        return None
    shows = light["mjd"] >= row["first_seen"] - 1e-6
    before, after = (
        charts.joined(light["mjd"][part], 100 * light["depth"][part], 100 * light["error"][part])
        for part in (~shows, shows)
    )
    points = [*before, *after]
    low = min(0.0, *(one["value"] - one["error"] for one in points))
    high = max(one["value"] + one["error"] for one in points)
    x = charts.date_axis(light["mjd"][0], light["mjd"][-1], 70, 940)
    y = charts.number_axis(low, high, 290, 20)
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


def trait_chart(name: str, mjd: np.ndarray, values: np.ndarray, reference: Reference | None) -> dict | None:
    """Return the chart of one trait over time, with the means that are held against the training data.

    None where it was never measured.
    """
    known, measured = reference.ranges[name] if reference else None, np.isfinite(values)
    mjd, values = mjd[measured], values[measured]
    if not len(values):
        return None
    ends = [*values.tolist(), *([known["low"], known["high"]] if known else [])]
    x, y = charts.date_axis(mjd[0], mjd[-1], 80, 940), charts.number_axis(min(ends), max(ends), 190, 16, 4)
    points = [{"x": x(one["mjd"]), "y": y(one["value"])} for one in charts.joined(mjd, values)]
    together = reference.together if reference else len(values) + 1
    path = ""
    if len(values) >= together:
        means = charts.joined(mjd[together - 1 :], charts.trailing_means(values, together))
        path = "M" + "L".join(f"{x(one['mjd'])} {y(one['value'])}" for one in means)
    band = (y(known["high"]), y(known["low"]), y(known["mean"])) if known else None
    return {"name": name, "words": WORDS[name], "x": x, "y": y, "points": points, "path": path, "band": band}
