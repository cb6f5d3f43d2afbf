"""HTML pages of a ledger, rendered from templates; served or written as files."""

import json
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from blobwatch.images.tiling import PER_SIDE
from blobwatch.monitor import charts
from blobwatch.monitor.analysis import CUTOUT, corner
from blobwatch.monitor.charts import light_chart, monthly_rate, statistic_chart, timeline
from blobwatch.monitor.drift import Reference, describe_drift, find_drift, mean_statistics
from blobwatch.monitor.ledger.database import Session, now
from blobwatch.monitor.ledger.overrules import overrules_by_exposure
from blobwatch.monitor.ledger.queries import (
    PICTURES,
    exposure_span,
    list_detections,
    list_models,
    list_notices,
    list_statistics,
    newest_exposures,
    newest_judged,
    old_results,
)
from blobwatch.monitor.ledger.rows import (
    blob_row,
    describe_onset,
    format_depth,
    format_utc,
    format_value,
    get_blob,
    light_curve_of,
    list_blobs,
)
from blobwatch.monitor.ledger.tables import CANDIDATE, CONFIRMED, REJECTED, Detection, Exposure, Model
from blobwatch.monitor.model_status import Deployed
from blobwatch.monitor.notices import newest_warning
from blobwatch.monitor.statistics import STATISTICS
from blobwatch.settings import QualitySettings

PER_PAGE = 50  # exposures
STYLE = Path(__file__).parent / "templates" / "style.css"
NO_STATISTICS = np.empty((0, 1 + len(STATISTICS)))
STATUSES = (CONFIRMED, CANDIDATE, REJECTED)


@dataclass(frozen=True)
class Links:
    """Addresses of the pages: on a server, or, with ``static``, as files in one folder."""

    static: bool = False

    def __call__(self, name: str, number: int | str | None = None) -> str:
        """Return the address of a page, with the number of the blob or page of exposures."""
        if self.static:
            return f"{name}-{number}.html" if number is not None else f"{name}.html"
        if name == "index":
            return "/"
        if name == "exposures" and number is not None:
            return f"/exposures?page={number}"
        return f"/{name}/{number}" if number is not None else f"/{name}"


@dataclass(frozen=True)
class Reader:
    """Reader of a page: name after signing in, and whether reviews and overrules are possible."""

    name: str = ""
    may_review: bool = False
    may_overrule: bool = False


@dataclass(frozen=True)
class Pages:
    """The pages of a ledger.

    Attributes
    ----------
    reading : callable
        Returns a context with a session that reads the ledger.
    reference : Reference or None
    deployed : callable
        Returns the deployed model and its audit.
    links : Links
    limits : QualitySettings
        Share of rejected exposures that makes the limits suspect.
    """

    reading: Callable[[], AbstractContextManager[Session]]
    reference: Reference | None
    deployed: Callable[[], Deployed]
    links: Links = field(default_factory=Links)
    limits: QualitySettings = field(default_factory=QualitySettings)

    def preload(self) -> None:
        """Render each page once, so that the first request does not wait for imports."""
        charts.preload()
        for render in (self.index, lambda reader: self.exposures(1, reader), self.drift, self.model):
            render(Reader())
        environment().get_template("blob.html")

    def render(self, name: str, session: Session, reader: Reader, **values) -> str:
        """Return the HTML of a page."""
        common = {"here": name, "link": self.links, "reader": reader, "made": now()}
        warnings = {"drifts": self.drifts(session), "suspect": newest_warning(session, self.limits)}
        return environment().get_template(f"{name}.html").render(**common, **warnings, **values)

    def plain(self, name: str, reader: Reader, **values) -> str:
        """Return a page without data of the ledger except warnings."""
        with self.reading() as session:
            return self.render(name, session, reader, **values)

    def drifts(self, session: Session) -> list[str]:
        """Return the warnings of drift."""
        model, reference = newest_model(session), self.reference
        if model is None or reference is None:
            return []
        return [describe_drift(one, reference) for one in find_drift(session, model, reference)]

    def index(self, reader: Reader) -> str:
        """Return the page of the detector, the blobs over time, and the list of blobs."""
        with self.reading() as session:
            rows = list_blobs(session)
            first, last, seen = exposure_span(session)
            dates = [row["first_seen"] for row in rows]
            span = (min(dates), max(dates)) if dates else (0.0, 0.0)
            confirmed = [row for row in rows if row["status"] == CONFIRMED]
            return self.render(
                "index",
                session,
                reader,
                rows=rows[::-1],
                colour=lambda mjd: charts.colour_of_date(mjd, *span),
                span=span,
                counts={name: sum(row["status"] == name for row in rows) for name in STATUSES},
                seen=seen,
                last=last,
                timeline=timeline(confirmed, first, last) if confirmed else None,
                rate=monthly_rate(len(confirmed), last - first) if seen and last > first else "",
                deployed=self.deployed(),
            )

    def blob(self, number: int, reader: Reader) -> str:
        """Return the page of a blob.

        Raises
        ------
        UnknownBlob
            If the ledger does not have this blob.
        """
        with self.reading() as session:
            blob = get_blob(session, number)
            detections = list_detections(session, number)
            first = detections[0] if detections else None
            row = blob_row(blob)
            return self.render(
                "blob",
                session,
                reader,
                blob=blob,
                row=row,
                appeared=describe_onset(row),
                pictures=encode_pictures(first) if first else {},
                first=first,
                circle=circle_in_picture(first) if first else None,
                size=CUTOUT,
                light=light_chart(light_curve_of(session, blob), row, blob.halfway),
                detections=detections,
                notices=list_notices(session, number),
            )

    def exposures(self, number: int, reader: Reader) -> str:
        """Return a page of exposures, the newest first; pages are numbered from 1."""
        with self.reading() as session:
            last = count_pages(session)
            number = min(number, last)
            rows = newest_exposures(session, PER_PAGE, (number - 1) * PER_PAGE)
            return self.render(
                "exposures",
                session,
                reader,
                rows=[(one, probability_grid(one), found) for one, found in rows],
                overrules=overrules_by_exposure(session, [one.rootname for one, _ in rows]),
                history=old_results(session, [one.id for one, _ in rows]),
                total=exposure_span(session)[2],
                number=number,
                pages=last,
            )

    def drift(self, reader: Reader) -> str:
        """Return the page of drift."""
        with self.reading() as session:
            model = newest_model(session)
            table = list_statistics(session, model) if model else NO_STATISTICS
            reference, means = None, []  # a reference of another model is not compared
            if model and self.reference and self.reference.model == model.sha256:
                reference = self.reference
                found = mean_statistics(session, model, reference.together)
                means = [(one, reference.is_outside(one.name, one.mean)) for one in found]
            columns = zip(STATISTICS, table.T[1:], strict=True)
            panels = [statistic_chart(name, table[:, 0], values, reference) for name, values in columns]
            return self.render(
                "drift",
                session,
                reader,
                panels=[one for one in panels if one],
                known=reference is not None,
                reference=self.reference,
                means=means,
                words=STATISTICS,
                model=model,
            )

    def model(self, reader: Reader) -> str:
        """Return the page of the deployed model and its audit."""
        with self.reading() as session:
            values = {"deployed": self.deployed(), "used": list_models(session)}
            return self.render("model", session, reader, **values)


@cache
def environment() -> Environment:
    """Return the template environment."""
    result = Environment(
        loader=PackageLoader("blobwatch.monitor"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    result.filters |= {"utc": format_utc, "time": format_time, "format_value": format_value}
    result.filters |= {"depth": format_depth, "quality": list_measures}
    return result


def count_pages(session: Session) -> int:
    """Return the number of pages of exposures."""
    return max(1, -(-exposure_span(session)[2] // PER_PAGE))


def format_time(time: str) -> str:
    """Format an ISO 8601 time of the ledger for readers."""
    return time.replace("T", " ").replace("+00:00", " UTC")


def newest_model(session: Session) -> Model | None:
    """Return the model that judged the newest exposure."""
    found = newest_judged(session)
    return found.model if found else None


def encode_pictures(detection: Detection) -> dict[str, str]:
    """Return the pictures of a detection as base64."""
    return {name: b64encode(getattr(detection, name)).decode() for name in PICTURES}


def circle_in_picture(first: Detection) -> tuple[float, float]:
    """Return the place of a detection in its pictures, which start at the top row."""
    return first.x - corner(first.x) + 0.5, CUTOUT - 0.5 - (first.y - corner(first.y))


def list_measures(exposure: Exposure) -> list[tuple[str, str]]:
    """Return name and value of the known quality measures of an exposure."""
    measures = [
        ("e-", exposure.light, 1.0, 0),
        ("gradient", exposure.gradient, 1.0, 2),
        ("residual noise, %", exposure.residual, 100.0, 2),
        ("over expected", exposure.excess, 1.0, 2),
        ("flagged, %", exposure.flagged, 100.0, 1),
        ("streaks, %", exposure.streaks, 100.0, 2),
        ("sources, %", exposure.sources, 100.0, 3),
        ("banding", exposure.banding, 1.0, 2),
    ]
    return [
        (name, f"{scale * value:.{digits}f}") for name, value, scale, digits in measures if value is not None
    ]


def probability_grid(exposure: Exposure) -> list[list[tuple[float, bool]]]:
    """Return rows of probabilities, top row first, each with whether it passes the threshold."""
    if not exposure.probabilities:
        return []
    values = json.loads(exposure.probabilities)
    rows = [values[row * PER_SIDE : (row + 1) * PER_SIDE] for row in reversed(range(PER_SIDE))]
    return [[(value, value >= exposure.model.threshold) for value in row] for row in rows]
