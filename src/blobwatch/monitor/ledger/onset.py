"""Onset of a blob: its status, and the exposures between which it appeared."""

from collections.abc import Sequence

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from blobwatch.monitor.ledger.association import Find
from blobwatch.monitor.ledger.lightcurves import middle
from blobwatch.monitor.ledger.tables import CANDIDATE, CONFIRMED, Blob, Exposure, LightCurvePoint
from blobwatch.settings import MonitorSettings

MEASURES = ("x", "y", "radius", "depth", "snr", "probability")


def update_blob(session: Session, blob: Blob, cluster: Sequence[Find], settings: MonitorSettings) -> None:
    """Set the status and the dates of a blob from its detections and light curve."""
    blob.status = CONFIRMED if len(cluster) >= settings.detections else CANDIDATE
    if blob.reviews:
        blob.status = blob.reviews[-1].verdict
    points = light_curve(session, blob, session.get_one(Exposure, cluster[0].exposure_id))
    first, last = cluster[0].expstart, cluster[-1].expstart
    found = {one.exposure_id for one in cluster}
    blob.halfway = middle(
        [(one.expstart, one.id, one.depth, one.error) for one in points if one.expstart <= last],
        first - settings.lookback,
        first,
        found,
    )
    before, begin = estimate_onset(cluster[0], points, blob.halfway, settings.lookback)
    blob.before = None if before is None else session.get_one(Exposure, before)
    blob.first = session.get_one(Exposure, begin)
    shown = [one.id for one in points if shows(blob.halfway, one.depth, one.error) and one.expstart > last]
    blob.last = session.get_one(Exposure, shown[-1] if shown else cluster[-1].exposure_id)


def light_curve(session: Session, blob: Blob, first: Exposure) -> list[Row]:
    """Return the light curve of a blob in one filter and flats, in the order of time."""
    row, point = Exposure, LightCurvePoint
    query = select(row.id, row.expstart, row.rootname, point.depth, point.error)
    query = query.join(point, point.exposure_id == row.id).where(point.blob_id == blob.id)
    query = query.where(row.filter == first.filter, row.flats == first.flats)
    return list(session.execute(query.order_by(row.expstart, row.rootname)))


def estimate_onset(
    first: Find, points: Sequence[Row], halfway: float | None, lookback: float
) -> tuple[int | None, int]:
    """Return the last exposure without a blob and the first exposure with it.

    Backward in time from the first detection, the blob is present while at least half of its missing light
    is missing. This dates blobs that the model found late.

    Parameters
    ----------
    first : Find
        The first detection.
    points : sequence of Row
        The light curve in the order of time.
    halfway : float or None
        Missing light above which an exposure shows the blob.
    lookback : float
        Days before the first detection that are searched.

    Returns
    -------
    before : int or None
        None if unknown.
    begin : int
    """
    begin = first.exposure_id
    if halfway is None:
        return None, begin
    for one in reversed(points):
        if one.error is None or not first.expstart - lookback < one.expstart < first.expstart:
            continue
        if one.depth <= halfway:
            return one.id, begin
        begin = one.id
    return None, begin


def shows(halfway: float | None, depth: float, error: float | None) -> bool:
    """Return whether at least half of the light of a blob is missing."""
    return halfway is not None and error is not None and depth > halfway
