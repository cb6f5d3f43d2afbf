"""What is asked of the ledger: exposures, their traits, detections, models, notices, reviews."""

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

PICTURES = ("before", "after", "difference")


def unannounced_blobs(session: Session) -> list[Blob]:
    """Return the confirmed blobs for which no notice is written yet."""
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
    """Return how many exposures have each outcome."""
    rows = session.execute(select(Exposure.outcome, func.count()).group_by(Exposure.outcome))
    return {outcome: count for outcome, count in rows}


def old_results(session: Session, exposures: Iterable[int]) -> dict[int, list[OldResult]]:
    """Return the earlier results of some exposures, the oldest first."""
    query = select(OldResult).where(OldResult.exposure_id.in_(list(exposures))).order_by(OldResult.id)
    found: dict[int, list[OldResult]] = {}
    for one in session.scalars(query):
        found.setdefault(one.exposure_id, []).append(one)
    return found


def span_of(session: Session) -> tuple[float | None, float | None, int]:
    """Return the MJD of the first and the last exposure, and how many there are."""
    asked = select(func.min(Exposure.expstart), func.max(Exposure.expstart), func.count())
    return tuple(session.execute(asked).one())


def newest_exposures(session: Session, count: int, after: int = 0) -> list[tuple[Exposure, list[int]]]:
    """Return some exposures, the newest first, beginning behind so many, each with the blobs found in it."""
    asked = select(Exposure).order_by(Exposure.expstart.desc(), Exposure.id).limit(count).offset(after)
    rows = session.scalars(asked).all()
    found: dict[int, list[int]] = {one.id: [] for one in rows}
    pairs = select(Detection.exposure_id, Detection.blob_id).where(Detection.exposure_id.in_(found))
    for exposure, blob in session.execute(pairs.order_by(Detection.blob_id)):
        found[exposure].append(blob)
    return [(one, found[one.id]) for one in rows]


def traits_over_time(session: Session, model: Model, names: Iterable[str]) -> np.ndarray:
    """Return MJD and traits of what a model judged, in the order of time, shape (n, 1 + traits)."""
    columns = [getattr(Exposure, name) for name in names]
    asked = select(Exposure.expstart, *columns)
    asked = asked.where(Exposure.outcome == JUDGED, Exposure.model_id == model.id)
    rows = session.execute(asked.order_by(Exposure.expstart)).all()
    return np.array([tuple(row) for row in rows], dtype=float).reshape(-1, 1 + len(columns))


def newest_traits(
    session: Session, model: Model, names: Iterable[str], count: int, before: float | None = None
) -> np.ndarray:
    """Return the traits of the newest exposures that a model judged, at most ``count``, shape (n, traits).

    Those taken before a moment (MJD), where one is given.
    """
    columns = [getattr(Exposure, name) for name in names]
    asked = select(*columns).where(Exposure.outcome == JUDGED, Exposure.model_id == model.id)
    if before is not None:
        asked = asked.where(Exposure.expstart < before)
    rows = session.execute(asked.order_by(Exposure.expstart.desc()).limit(count)).all()
    return np.array(rows, dtype=float).reshape(-1, len(columns))


def newest_judged(session: Session) -> Exposure | None:
    """Return the newest exposure that was judged."""
    asked = select(Exposure).where(Exposure.outcome == JUDGED).order_by(Exposure.expstart.desc()).limit(1)
    return session.scalars(asked).first()


def detections_of(session: Session, blob: int) -> list[Detection]:
    """Return the detections of a blob in the order of time, with the pictures of the first."""
    asked = select(Detection).where(Detection.blob_id == blob).join(Exposure, Detection.exposure)
    found = session.scalars(asked.order_by(Exposure.expstart)).all()
    if not found:
        return []
    pictured = select(Detection).where(Detection.id == found[0].id)
    pictured = pictured.options(*(undefer(getattr(Detection, name)) for name in PICTURES))
    session.scalars(pictured.execution_options(populate_existing=True)).one()
    return list(found)


def models_used(session: Session) -> list[Row]:
    """Return each model with how many exposures it judged, and the MJD of the first and the last of them."""
    newest = func.max(Exposure.expstart)
    asked = select(Model, func.count(), func.min(Exposure.expstart), newest)
    return list(session.execute(asked.join(Exposure).group_by(Model.id).order_by(newest.desc())))


def notices_of(session: Session, blob: int) -> list[Notice]:
    """Return the notices of a blob."""
    return list(session.scalars(select(Notice).filter_by(blob_id=blob).order_by(Notice.id)))


def channels_with(session: Session, subject: str) -> set[str]:
    """Return the channels that have a notice of a subject already."""
    return set(session.scalars(select(Notice.channel).filter_by(subject=subject)))


def unsent_notices(session: Session, channel: str) -> list[Notice]:
    """Return the notices to a channel that are not sent yet, without those of rejected blobs.

    First those that were tried least, so that one that is never taken holds up no other.
    """
    asked = select(Notice).outerjoin(Notice.blob).where(Notice.state != SENT, Notice.channel == channel)
    asked = asked.where(or_(Blob.id.is_(None), Blob.status != REJECTED))
    return list(session.scalars(asked.order_by(Notice.attempts, Notice.id)))


def unlabelled_reviews(session: Session) -> list[Review]:
    """Return the reviews that have not become labels yet, the oldest first."""
    return list(session.scalars(select(Review).where(~Review.labelled).order_by(Review.id)))


def untold_reviews(session: Session) -> list[Review]:
    """Return the reviews that no monitor knows of yet, the oldest first."""
    return list(session.scalars(select(Review).where(~Review.told).order_by(Review.id)))
