"""What was seen in an exposure, entered into the ledger: detections, blobs, their light and their dates."""

import json
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from blobwatch.images.peaks import APART
from blobwatch.monitor.ledger.database import now
from blobwatch.monitor.ledger.dating import MEASURES, is_past, settle, shows
from blobwatch.monitor.ledger.tables import CANDIDATE, CONFIRMED, Blob, Detection, Exposure, Light, Model
from blobwatch.monitor.look import Look
from blobwatch.predict import FoundBlob, Predictor


@dataclass(frozen=True)
class Entered:
    """What an exposure changed: the blobs found in it, and those of them that are new or now confirmed."""

    exposure: Exposure
    found: list[Blob]
    new: list[Blob]
    confirmed: list[Blob]


def model_of(session: Session, predictor: Predictor) -> Model:
    """Return the ledger's row of a model; the first use makes it."""
    model = predictor.model
    about = {
        "version": model.version,
        "sha256": model.sha256,
        "fingerprint": str(model.manifest.get("fingerprint", {}).get("sha256", "")),
        "threshold": model.threshold,
    }
    known = session.scalars(select(Model).filter_by(**about)).first()
    if known is None:
        known = Model(**about)
        session.add(known)
        session.flush()
    return known


def enter(session: Session, look: Look, model: Model) -> Entered:
    """Enter an exposure with all that follows from it.

    Parameters
    ----------
    session : Session
        That writes; all of it is there together, or nothing.
    look : Look
    model : Model
        That judged.
    """
    exposure = row_of(session, look, model)
    found, new, confirmed = [], [], []
    blobs = list(session.scalars(select(Blob).order_by(Blob.id).with_for_update(of=Blob)))
    there = [blob for blob in blobs if not is_past(blob, exposure)]
    answers = look.answer.blobs if look.answer else []
    for seen, pictures, blob in zip(answers, look.pictures, matched(there, answers), strict=True):
        if blob is None:
            blob = begin(session, seen, exposure, model)
            blobs.append(blob)
            new.append(blob)
        found.append(blob)
        measures = {name: float(getattr(seen, name)) for name in MEASURES}
        session.add(Detection(blob=blob, exposure=exposure, model=model, **measures, **pictures))
    session.flush()
    light = enter_light(session, look, exposure, blobs, new, model)
    for blob in blobs:
        was = blob.status
        if blob in found or exposure.expstart < blob.last.expstart:  # late, it may mend the date
            settle(session, blob)
            confirmed += [blob] if blob.status == CONFIRMED != was else []
        elif blob in there and shows(blob, exposure, light.get(blob.id)):
            blob.last = exposure
    session.flush()
    return Entered(exposure, found, new, confirmed)


def row_of(session: Session, look: Look, model: Model) -> Exposure:
    """Return the row of an exposure, new or, where it had no stack before, made anew."""
    listed = look.file.listed
    exposure = session.scalars(select(Exposure).filter_by(rootname=listed.rootname)).first()
    if exposure is None:
        exposure = Exposure(rootname=listed.rootname)
        session.add(exposure)
    measured = {"own_noise" if name == "noise" else name: v for name, v in (look.quality or {}).items()}
    measured |= look.traits.as_dict() if look.traits else {}
    values = {name: value for name, value in measured.items() if np.isfinite(value)}
    chances = [float(p) for p in look.answer.probabilities] if look.answer else None
    row = {
        "path": str(look.file.path),
        "stamp": look.file.stamp,
        "md5": look.md5,
        "expstart": listed.expstart,
        "filter": listed.filter,
        "programme": look.programme[:16],
        "outcome": look.outcome,
        "reason": look.reason,
        "stack": " ".join(one.rootname for one in look.stack) if look.answer else "",
        "probabilities": json.dumps(chances) if chances else "",
        "judged_at": now(),
        "model": model,
    }
    for name, value in (row | values).items():
        setattr(exposure, name, value)
    session.flush()
    return exposure


def matched(blobs: list[Blob], found: list[FoundBlob]) -> list[Blob | None]:
    """Return for each find of an exposure the blob of the ledger that it is, or None.

    Within ``APART``, as the detector tells none apart that are nearer; the nearest pairs are made first, and
    no blob is found twice in one exposure.
    """
    answer: list[Blob | None] = [None] * len(found)
    pairs = [
        (float(np.hypot(blob.x - seen.x, blob.y - seen.y)), number, blob)
        for number, seen in enumerate(found)
        for blob in blobs
    ]
    for distance, number, blob in sorted(pairs, key=lambda pair: pair[0]):
        if distance <= APART and answer[number] is None and blob not in answer:
            answer[number] = blob
    return answer


def begin(session: Session, seen: FoundBlob, exposure: Exposure, model: Model) -> Blob:
    """Return a new candidate."""
    blob = Blob(status=CANDIDATE, first=exposure, last=exposure, model=model)
    for name in MEASURES:
        setattr(blob, name, float(getattr(seen, name)))
    session.add(blob)
    session.flush()
    return blob


def enter_light(
    session: Session, look: Look, exposure: Exposure, blobs: list[Blob], new: list[Blob], model: Model
) -> dict[int, Light]:
    """Measure the light at every blob's place in this exposure, and at new ones in those of its stack too.

    Returns
    -------
    dict of int to Light
        That of this exposure, by blob.
    """
    if look.sky is None:
        return {}
    names = [sky.rootname for sky in look.stack]
    numbers = dict(
        session.execute(select(Exposure.rootname, Exposure.id).where(Exposure.rootname.in_(names))).all()
    )
    known = select(Light).filter_by(exposure_id=exposure.id)
    known = known.where(Light.blob_id.in_([blob.id for blob in blobs]))  # by the key; there is no other index
    here = {one.blob_id: one for one in session.scalars(known)}
    todo = [(blob, look.sky, exposure.id) for blob in blobs if blob.id not in here]
    todo += [
        (blob, sky, numbers[sky.rootname]) for blob in new for sky in look.stack if sky.rootname in numbers
    ]
    for blob, sky, number in todo:
        depth, error = sky.missing(blob.x, blob.y, blob.radius)
        light = Light(blob_id=blob.id, exposure_id=number, depth=depth, error=error, model_id=model.id)
        session.add(light)
        if number == exposure.id:
            here[blob.id] = light
    session.flush()
    return here
