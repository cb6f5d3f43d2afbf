"""The pages: what each shows, read from the ledger, and drawn by a template; served or written as files."""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from blobwatch.images.tiling import PER_SIDE
from blobwatch.monitor import charts
from blobwatch.monitor.analysis import CUTOUT, corner
from blobwatch.monitor.drift import Reference, newest_means, outside, sentence
from blobwatch.monitor.ledger.database import Ledger, Session, now
from blobwatch.monitor.ledger.overrules import overrules_of
from blobwatch.monitor.ledger.queries import (
    PICTURES,
    detections_of,
    models_used,
    newest_exposures,
    newest_judged,
    notices_of,
    old_results,
    span_of,
    traits_over_time,
)
from blobwatch.monitor.ledger.rows import (
    appeared,
    depth_of,
    find_blob,
    light_of,
    list_blobs,
    row_of,
    utc,
    with_error,
)
from blobwatch.monitor.ledger.tables import CANDIDATE, CONFIRMED, REJECTED, Detection, Exposure, Model
from blobwatch.monitor.model_status import Deployed
from blobwatch.monitor.panels import light_chart, rate_of, timeline, trait_chart
from blobwatch.monitor.quality_warning import newest_warning
from blobwatch.monitor.traits import WORDS
from blobwatch.settings import QualitySettings

PER_PAGE = 50  # exposures
STYLE = Path(__file__).parent / "templates" / "style.css"
STATUSES = (CONFIRMED, CANDIDATE, REJECTED)


@dataclass(frozen=True)
class Links:
    """Where the pages lie: on a server, or, with ``static``, as files beside one another."""

    static: bool = False

    def __call__(self, name: str, number: int | str | None = None) -> str:
        """Return the address of a page; blobs and the pages of exposures are numbered."""
        if self.static:
            return f"{name}-{number}.html" if number is not None else f"{name}.html"
        if name == "index":
            return "/"
        if name == "exposures" and number is not None:
            return f"/exposures?page={number}"
        return f"/{name}/{number}" if number is not None else f"/{name}"


@dataclass(frozen=True)
class Reader:
    """The reader of a page: a name after signing in, and whether reviews and overrules are possible here."""

    name: str = ""
    may_review: bool = False
    may_overrule: bool = False


@dataclass(frozen=True)
class Pages:
    """The pages of a ledger.

    Attributes
    ----------
    ledger : Ledger
    reference : Reference or None
        What the traits of exposures are held against.
    deployed : callable
        Gives what is known of the deployed model and its audit.
    links : Links
    limits : QualitySettings
        By which many rejected exposures are suspect.
    """

    ledger: Ledger
    reference: Reference | None
    deployed: Callable[[], Deployed]
    links: Links = field(default_factory=Links)
    limits: QualitySettings = field(default_factory=QualitySettings)

    def warm(self) -> None:
        """Do once what the first reader of each page would wait for."""
        charts.warm()
        for draw in (self.index, lambda reader: self.exposures(1, reader), self.drift, self.model):
            draw(Reader())
        environment().get_template("blob.html")

    def render(self, name: str, session: Session, reader: Reader, **shown) -> str:
        """Return the HTML of a page."""
        return (
            environment()
            .get_template(f"{name}.html")
            .render(
                here=name,
                link=self.links,
                reader=reader,
                drifts=self.drifts(session),
                suspect=newest_warning(session, self.limits),
                made=now(),
                **shown,
            )
        )

    def plain(self, name: str, reader: Reader, **shown) -> str:
        """Return a page that shows nothing of the ledger but what is to be warned of."""
        with self.ledger.reading() as session:
            return self.render(name, session, reader, **shown)

    def drifts(self, session: Session) -> list[str]:
        """Return what is to be warned of on every page."""
        model = newest_model(session)
        found = outside(session, model, self.reference) if model else []
        return [sentence(one, self.reference) for one in found]

    def index(self, reader: Reader) -> str:
        """Return the first page: the detector, blobs over time, and the list of blobs."""
        with self.ledger.reading() as session:
            rows = list_blobs(session)
            first, last, seen = span_of(session)
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
                rate=rate_of(len(confirmed), last - first) if seen and last > first else "",
                deployed=self.deployed(),
            )

    def blob(self, number: int, reader: Reader) -> str:
        """Return the page of a blob.

        Raises
        ------
        BlobwatchError
            If the ledger has none of that number.
        """
        with self.ledger.reading() as session:
            blob = find_blob(session, number)
            detections = detections_of(session, number)
            first = detections[0] if detections else None
            row = row_of(blob)
            return self.render(
                "blob",
                session,
                reader,
                blob=blob,
                row=row,
                appeared=appeared(row),
                pictures={name: b64encode(getattr(first, name)).decode() for name in PICTURES}
                if first
                else {},
                first=first,
                circle=ring_of(first) if first else None,
                size=CUTOUT,
                light=light_chart(light_of(session, blob), row, blob.halfway),
                detections=detections,
                notices=notices_of(session, number),
            )

    def exposures(self, number: int, reader: Reader) -> str:
        """Return a page of exposures, the newest first; pages count from 1."""
        with self.ledger.reading() as session:
            total = span_of(session)[2]
            last = max(1, -(-total // PER_PAGE))
            number = min(number, last)
            rows = newest_exposures(session, PER_PAGE, (number - 1) * PER_PAGE)
            return self.render(
                "exposures",
                session,
                reader,
                rows=[(one, sixteen(one), found) for one, found in rows],
                overrules=overrules_of(session, [one.rootname for one, _ in rows]),
                history=old_results(session, [one.id for one, _ in rows]),
                total=total,
                number=number,
                pages=last,
            )

    def drift(self, reader: Reader) -> str:
        """Return the page of drift."""
        with self.ledger.reading() as session:
            model = newest_model(session)
            known = bool(self.reference and model and self.reference.model == model.sha256)
            table = traits_over_time(session, model, WORDS) if model else np.empty((0, 1 + len(WORDS)))
            means = newest_means(session, model, self.reference.together) if known else []
            panels = [
                trait_chart(name, table[:, 0], table[:, column], self.reference if known else None)
                for column, name in enumerate(WORDS, start=1)
            ]
            return self.render(
                "drift",
                session,
                reader,
                panels=[one for one in panels if one],
                known=known,
                reference=self.reference,
                means=[(one, self.reference.outside(one.name, one.mean)) for one in means],
                words=WORDS,
                model=model,
            )

    def model(self, reader: Reader) -> str:
        """Return the page of the deployed model, with its audit."""
        with self.ledger.reading() as session:
            used = models_used(session)
            return self.render("model", session, reader, deployed=self.deployed(), used=used)


@cache
def environment() -> Environment:
    """Return what draws the templates."""
    made = Environment(
        loader=PackageLoader("blobwatch.monitor"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"utc": utc, "with_error": with_error, "depth": depth_of, "moment": moment}
    made.filters["quality"] = quality_words
    return made


def moment(kept: str) -> str:
    """Return a moment of ours, as the ledger keeps it, in words."""
    return kept.replace("T", " ").replace("+00:00", " UTC")


def newest_model(session: Session) -> Model | None:
    """Return the model that judged the newest exposure."""
    found = newest_judged(session)
    return found.model if found else None


def ring_of(first: Detection) -> tuple[float, float]:
    """Return the place of a detection in its pictures, whose first row is at the top."""
    return first.x - corner(first.x) + 0.5, CUTOUT - 0.5 - (first.y - corner(first.y))


def quality_words(exposure: Exposure) -> list[tuple[str, str]]:
    """Return the measures of an exposure's quality that are known, each with its name."""
    shown = [
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
        (words, f"{scale * value:.{digits}f}") for words, value, scale, digits in shown if value is not None
    ]


def sixteen(exposure: Exposure) -> list[list[tuple[float, bool]]]:
    """Return the probabilities of an exposure as they lie in the frame, top row first, each with its flag."""
    if not exposure.probabilities:
        return []
    chances = json.loads(exposure.probabilities)
    rows = [chances[row * PER_SIDE : (row + 1) * PER_SIDE] for row in reversed(range(PER_SIDE))]
    return [[(chance, chance >= exposure.model.threshold) for chance in row] for row in rows]
