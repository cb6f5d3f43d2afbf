"""Ingest of the analysis of one exposure: update exposures, blobs and light curves.

The result depends only on the exposures in the ledger, not on the order of their ingest.
"""

from dataclasses import replace
from itertools import starmap

import numpy as np
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from blobwatch.images.peaks import SEPARATION
from blobwatch.monitor.analysis import ExposureAnalysis
from blobwatch.monitor.ledger.association import Find, match_pairs
from blobwatch.monitor.ledger.blobs import BlobUpdate, IngestResult
from blobwatch.monitor.ledger.exposures import (
    REJUDGE,
    archive_result,
    find_exposure,
    mark_dependents,
    store_result,
    visible_state,
)
from blobwatch.monitor.ledger.lightcurves import Images, LightCurves
from blobwatch.monitor.ledger.tables import Detection, Exposure, Model
from blobwatch.predict import Predictor
from blobwatch.settings import Settings


def model_row(session: Session, predictor: Predictor) -> Model:
    """Return the row of a model; create it at the first use."""
    model = predictor.model
    values = {
        "version": model.version,
        "sha256": model.sha256,
        "fingerprint": str(model.manifest.get("fingerprint", {}).get("sha256", "")),
        "threshold": model.threshold,
    }
    known = session.scalars(select(Model).filter_by(**values)).first()
    if known is None:
        known = Model(**values)
        session.add(known)
        session.flush()
    return known


def ingest(
    session: Session,
    analysis: ExposureAnalysis,
    model: Model,
    images: Images,
    settings: Settings,
    why: str = "",
) -> IngestResult:
    """Store the analysis of an exposure; replace an earlier one of the same rootname.

    Parameters
    ----------
    session : Session
    analysis : ExposureAnalysis
    model : Model
        Model of the analysis.
    images : callable
        Returns the image of another exposure, for the light curves of new blobs.
    settings : Settings
    why : str
        Reason of a new analysis.
    """
    days = settings.difference.days
    exposure = find_exposure(session, analysis.listed.rootname)
    before = None if exposure is None else visible_state(exposure)
    finds = stored_finds(session)
    if exposure is not None:
        archive_result(session, exposure, why)
    exposure = store_result(session, exposure, analysis, model)
    after = visible_state(exposure)
    mark_dependents(session, exposure, days, before)
    changed = before is None or before.image != after.image or why.startswith(REJUDGE)
    curves = LightCurves(
        session,
        lambda row: analysis.image if row.id == exposure.id else images(row),
        days,
        settings.monitor,
        finds,
        exposure.id if changed else None,
    )
    here = replace_finds(session, exposure, analysis, finds)
    cutouts = {(one.x, one.y): pictures for one, pictures in zip(here, analysis.cutouts, strict=True)}
    update = BlobUpdate(session, curves, settings, exposure, model, changed, before is None)
    result = update.run(finds, here, cutouts)
    return replace(result, why=why, unreadable=tuple(sorted(curves.unreadable)))


def stored_finds(session: Session) -> list[Find]:
    """Return all detections of the ledger."""
    one, exposure = Detection, Exposure
    query = select(
        *(exposure.id, exposure.expstart, exposure.rootname),
        *(one.x, one.y, one.radius, one.probability, one.snr, one.depth, one.blob_id, one.id),
    ).join(exposure, one.exposure_id == exposure.id)
    return list(starmap(Find, session.execute(query)))


def replace_finds(
    session: Session, exposure: Exposure, analysis: ExposureAnalysis, finds: list[Find]
) -> list[Find]:
    """Return the new detections.

    Each keeps the blob of the old detection at the same position.
    """
    old = [one for one in finds if one.exposure_id == exposure.id]
    session.execute(delete(Detection).where(Detection.exposure_id == exposure.id))
    seen = analysis.prediction.blobs if analysis.prediction else []
    origin = exposure.id, exposure.expstart, exposure.rootname
    new = [Find(*origin, one.x, one.y, one.radius, one.probability, one.snr, one.depth) for one in seen]
    pairs = [
        (distance, number, place)
        for number, one in enumerate(new)
        for place, other in enumerate(old)
        if (distance := float(np.hypot(one.x - other.x, one.y - other.y))) <= SEPARATION
    ]
    places = match_pairs(pairs, [None] * len(new))
    return [
        one if place is None else replace(one, blob_id=old[place].blob_id)
        for one, place in zip(new, places, strict=True)
    ]
