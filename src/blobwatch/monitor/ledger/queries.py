"""Queries of the ledger: exposures, statistics, detections, models, notices, reviews."""

from collections.abc import Iterable

import numpy as np
from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import Session, undefer

from blobwatch.monitor.ledger.tables import (
    JUDGED,
    REJECTED,
    SENT,
    Blob,
    Detection,
    Exposure,
    Model,
    Notice,
    OldResult,
    Review,
)
from blobwatch.monitor.statistics import STATISTICS

PICTURES = ("before", "after", "difference")


def unannounced_blobs(session: Session) -> list[Blob]:
    """Return the confirmed blobs without a notice."""
    return list(session.scalars(select(Blob).where(Blob.unannounced).order_by(Blob.id)))


def confirming_exposure(session: Session, blob: Blob, detections: int) -> Exposure | None:
    """Return the exposure whose detection, in the order of time, confirmed a blob."""
    query = select(Exposure).join(Detection, Detection.exposure_id == Exposure.id)
    query = query.where(Detection.blob_id == blob.id).order_by(Exposure.expstart, Exposure.rootname)
    return session.scalars(query.offset(detections - 1).limit(1)).first()


def verdicts_of_newest(session: Session, count: int) -> list[Row]:
    """Return rootname, outcome and reason of the newest exposures, the newest first."""
    query = select(Exposure.rootname, Exposure.outcome, Exposure.reason)
    return list(session.execute(query.order_by(Exposure.expstart.desc(), Exposure.id).limit(count)))


def count_outcomes(session: Session) -> dict[str, int]:
    """Return the number of exposures with each outcome."""
    rows = session.execute(select(Exposure.outcome, func.count()).group_by(Exposure.outcome))
    return {outcome: count for outcome, count in rows}


def old_results(session: Session, exposures: Iterable[int]) -> dict[int, list[OldResult]]:
    """Return the earlier results of some exposures, the oldest first."""
    query = select(OldResult).where(OldResult.exposure_id.in_(list(exposures))).order_by(OldResult.id)
    found: dict[int, list[OldResult]] = {}
    for one in session.scalars(query):
        found.setdefault(one.exposure_id, []).append(one)
    return found


def exposure_span(session: Session) -> tuple[float, float, int]:
    """Return the MJD of the first and the last exposure (0 without exposures), and their number."""
    query = select(func.min(Exposure.expstart), func.max(Exposure.expstart), func.count())
    first, last, count = session.execute(query).one()
    return first or 0.0, last or 0.0, count


def newest_exposures(session: Session, count: int, skip: int = 0) -> list[tuple[Exposure, list[int]]]:
    """Return exposures with their blobs, the newest first, after the ``skip`` newest ones."""
    query = select(Exposure).order_by(Exposure.expstart.desc(), Exposure.id).limit(count).offset(skip)
    rows = session.scalars(query).all()
    found: dict[int, list[int]] = {one.id: [] for one in rows}
    pairs = select(Detection.exposure_id, Detection.blob_id).where(Detection.exposure_id.in_(found))
    for exposure, blob in session.execute(pairs.order_by(Detection.blob_id)):
        found[exposure].append(blob)
    return [(one, found[one.id]) for one in rows]


def list_statistics(
    session: Session, model: Model, count: int | None = None, before: float | None = None
) -> np.ndarray:
    """Return MJD and statistics of a model's exposures in time order, shape (n, 1 + statistics).

    With ``count``, only of the newest ones; with ``before`` (MJD), only of those taken earlier.
    """
    columns = [getattr(Exposure, name) for name in ("expstart", *STATISTICS)]
    query = select(*columns).where(Exposure.outcome == JUDGED, Exposure.model_id == model.id)
    if before is not None:
        query = query.where(Exposure.expstart < before)
    rows = session.execute(query.order_by(Exposure.expstart.desc()).limit(count)).all()
    return np.array(rows[::-1], dtype=float).reshape(-1, len(columns))


def newest_judged(session: Session) -> Exposure | None:
    """Return the newest exposure with a prediction."""
    query = select(Exposure).where(Exposure.outcome == JUDGED).order_by(Exposure.expstart.desc()).limit(1)
    return session.scalars(query).first()


def list_detections(session: Session, blob: int) -> list[Detection]:
    """Return the detections of a blob, sorted by time.

    Only the first detection is loaded with its pictures.
    """
    query = select(Detection).where(Detection.blob_id == blob).join(Exposure, Detection.exposure)
    found = session.scalars(query.order_by(Exposure.expstart)).all()
    if not found:
        return []
    pictured = select(Detection).where(Detection.id == found[0].id)
    pictured = pictured.options(*(undefer(getattr(Detection, name)) for name in PICTURES))
    session.scalars(pictured.execution_options(populate_existing=True)).one()
    return list(found)


def list_models(session: Session) -> list[Row]:
    """Return each model with its number of exposures and their first and last MJD."""
    newest = func.max(Exposure.expstart)
    query = select(Model, func.count(), func.min(Exposure.expstart), newest)
    return list(session.execute(query.join(Exposure).group_by(Model.id).order_by(newest.desc())))


def list_notices(session: Session, blob: int) -> list[Notice]:
    """Return the notices of a blob."""
    return list(session.scalars(select(Notice).filter_by(blob_id=blob).order_by(Notice.id)))


def channels_notified(session: Session, subject: str) -> set[str]:
    """Return the keys of the channels that have a notice with a subject."""
    return set(session.scalars(select(Notice.channel).filter_by(subject=subject)))


def unsent_notices(session: Session, channel: str) -> list[Notice]:
    """Return the unsent notices of a channel, except those of rejected blobs.

    Notices with the fewest attempts come first, so that a failing one does not block the others.
    """
    query = select(Notice).outerjoin(Notice.blob).where(Notice.state != SENT, Notice.channel == channel)
    query = query.where(or_(Blob.id.is_(None), Blob.status != REJECTED))
    return list(session.scalars(query.order_by(Notice.attempts, Notice.id)))


def unlabelled_reviews(session: Session) -> list[Review]:
    """Return the reviews without labels, the oldest first."""
    return list(session.scalars(select(Review).where(~Review.labelled).order_by(Review.id)))


def unannounced_reviews(session: Session) -> list[Review]:
    """Return the reviews whose notices are not queued yet, the oldest first."""
    return list(session.scalars(select(Review).where(~Review.told).order_by(Review.id)))
