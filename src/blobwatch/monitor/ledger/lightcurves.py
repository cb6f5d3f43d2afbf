"""Light curves of blobs: the missing light in each comparable exposure, measured once."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from sqlalchemy import Row, delete, select
from sqlalchemy.orm import Session

from blobwatch.monitor.ledger.association import Find
from blobwatch.monitor.ledger.tables import UNFIT, Blob, Exposure, LightCurvePoint
from blobwatch.settings import MonitorSettings

Point = tuple[float, float | None]  # missing light as a fraction of the background, and its error


class Image(Protocol):
    """An image in which the missing light at a place can be measured."""

    def missing(self, x: float, y: float, radius: float) -> Point:
        """Return the missing light at a place, and its error."""


Images = Callable[[Exposure], Image | None]  # None if the file is no longer readable


class LightCurves:
    """The light curves of a ledger during the ingest of one exposure.

    Points in the ledger are not measured again.

    Parameters
    ----------
    session : Session
    images : callable
        Returns the image of an exposure.
    days : float
        Days before the first detection at which a light curve begins.
    settings : MonitorSettings
    finds : sequence of Find
        All detections before the ingest. Curves were measured at the first detection of each blob.
    stale : int or None
        Exposure whose points must be measured again.
    """

    def __init__(
        self,
        session: Session,
        images: Images,
        days: float,
        settings: MonitorSettings,
        finds: Sequence[Find],
        stale: int | None,
    ):
        self.session, self.images, self.days, self.settings = session, images, days, settings
        self.stale = stale
        self.owners: dict[tuple, int] = {}
        seen: set[int] = set()
        for find in sorted(finds, key=lambda one: one.order):
            if find.blob_id is not None and find.blob_id not in seen:
                seen.add(find.blob_id)
                self.owners[find.place] = find.blob_id
        self.points: dict[tuple, dict[int, Point]] = {}
        self.unreadable: set[str] = set()

    def exposures(self, first: Find, after: float = -np.inf, until: float = np.inf) -> list[Row]:
        """Return the accepted exposures, comparable with a detection's, in a span of time (after, until]."""
        own = self.session.get_one(Exposure, first.exposure_id)
        row = Exposure
        query = select(row.id, row.expstart, row.rootname).where(
            row.filter == own.filter, row.flats == own.flats, row.outcome != UNFIT
        )
        query = query.where(row.expstart >= first.expstart - self.days)
        for limit, condition in ((after, row.expstart > after), (until, row.expstart <= until)):
            query = query.where(condition) if np.isfinite(limit) else query
        return list(self.session.execute(query.order_by(row.expstart, row.rootname)))

    def known(self, first: Find) -> dict[int, Point]:
        """Return the points that are measured at the place of a detection, by exposure."""
        if first.place not in self.points:
            owner = self.owners.get(first.place)
            found = {} if owner is None else self.stored(owner)
            self.points[first.place] = {key: point for key, point in found.items() if key != self.stale}
        return self.points[first.place]

    def stored(self, blob_id: int) -> dict[int, Point]:
        """Return the stored light curve of a blob, by exposure."""
        row = LightCurvePoint
        query = select(row.exposure_id, row.depth, row.error).where(row.blob_id == blob_id)
        return {number: (depth, error) for number, depth, error in self.session.execute(query)}

    def point(self, first: Find, exposure_id: int) -> Point | None:
        """Return the missing light in an exposure at a detection, or None.

        None means that the exposure is unreadable.
        """
        known = self.known(first)
        if exposure_id not in known:
            point = self.measure(first, exposure_id)
            if point is None:
                return None
            known[exposure_id] = point
        return known[exposure_id]

    def measure(self, first: Find, exposure_id: int) -> Point | None:
        """Measure the missing light in an exposure at a detection.

        Return None if the exposure is unreadable.
        """
        exposure = self.session.get_one(Exposure, exposure_id)
        image = self.images(exposure)
        if image is None:
            self.unreadable.add(exposure.rootname)
            return None
        return image.missing(first.x, first.y, first.radius)

    def curve(self, cluster: Sequence[Find]) -> dict[int, Point]:
        """Return the light curve of a blob; for a candidate, up to its expiry."""
        first = cluster[0]
        until = np.inf if self.is_confirmed(cluster) else self.last_seen(cluster) + self.settings.expiry
        points = {one.id: self.point(first, one.id) for one in self.exposures(first, until=until)}
        return {number: point for number, point in points.items() if point is not None}

    def is_confirmed(self, cluster: Sequence[Find]) -> bool:
        """Return whether enough exposures show a blob."""
        return len(cluster) >= self.settings.detections

    def has_expired(self, cluster: Sequence[Find], when: float) -> bool:
        """Return whether a blob was an expired candidate at a time (MJD)."""
        if self.is_confirmed(cluster) or when - cluster[-1].expstart <= self.settings.expiry:
            return False
        return when - self.last_seen(cluster, when) > self.settings.expiry

    def last_seen(self, cluster: Sequence[Find], when: float = np.inf) -> float:
        """Return the last time before ``when`` at which the light curve shows a candidate (MJD)."""
        first, last = cluster[0], cluster[-1].expstart
        limit = self.halfway(cluster)
        if limit is None:
            return last
        after = last
        while later := self.exposures(first, after, min(last + self.settings.expiry, np.nextafter(when, 0))):
            for one in later:
                point = self.point(first, one.id)
                if point is not None and point[1] is not None and point[0] > limit:
                    last = max(last, one.expstart)
            after = later[-1].expstart
        return last

    def halfway(self, cluster: Sequence[Find]) -> float | None:
        """Return the missing light halfway between before a blob and in its detections."""
        first = cluster[0]
        found = {one.exposure_id for one in cluster}
        exposures = self.exposures(first, until=cluster[-1].expstart)
        exposures = [one for one in exposures if one.id in found or one.expstart < first.expstart]
        points = [(one, self.point(first, one.id)) for one in exposures]
        return middle(
            [(one.expstart, one.id, *point) for one, point in points if point is not None],
            first.expstart - self.settings.lookback,
            first.expstart,
            found,
        )

    def store(self, blob: Blob, curve: dict[int, Point], model_id: int) -> None:
        """Store the light curve of a blob; replace the points that differ."""
        row, stored = LightCurvePoint, self.stored(blob.id)
        for number, point in stored.items():
            if curve.get(number) != point:
                self.session.execute(delete(row).where(row.blob_id == blob.id, row.exposure_id == number))
        for number, (depth, error) in curve.items():
            if stored.get(number) != (depth, error):
                key = {"blob_id": blob.id, "exposure_id": number, "model_id": model_id}
                self.session.add(row(**key, depth=depth, error=error))
        self.session.flush()


def middle(
    points: Sequence[tuple[float, int, float, float | None]], start: float, first: float, found: set[int]
) -> float | None:
    """Return the value halfway between the medians before a blob and in its detections.

    Parameters
    ----------
    points : sequence of tuple
        Time, exposure, missing light, error.
    start, first : float
        MJD; the points between these precede the blob.
    found : set of int
        Exposures in which the blob was found.
    """
    usable = [one for one in points if one[3] is not None]
    before = [depth for when, _, depth, _ in usable if start < when < first]
    with_it = [depth for _, number, depth, _ in usable if number in found]
    if not before or not with_it:
        return None
    return float(np.median(before) + np.median(with_it)) / 2
