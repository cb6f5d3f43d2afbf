"""Rows of exposures: storage of results, and the dependencies between exposures."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from sqlalchemy import CursorResult, Row, Update, select, update
from sqlalchemy.orm import Session

from blobwatch.images.quality_measures import MEASURES, Quality
from blobwatch.instrument.calibration import Calibration
from blobwatch.instrument.exposure_files import ExposureFile
from blobwatch.monitor.analysis import ExposureAnalysis
from blobwatch.monitor.ledger.database import now
from blobwatch.monitor.ledger.tables import NO_STACK, UNFIT, Detection, Exposure, Model, OldResult
from blobwatch.monitor.statistics import STATISTICS

CALIBRATION = ("flatcorr", "pflt", "dflt", "lflt", "cal_ver", "cal_date")
FILE = (
    *("rootname", "path", "stamp", "md5", "expstart", "filter", "programme"),
    *("samp_seq", "product", "target"),
)
RESULT = ("rootname", "path", "md5", "outcome", "reason", "probabilities", "judged_at", "model_id", "flats")
REJUDGE = "rejudge"  # reason of a new analysis even if the inputs did not change
COLUMN_OF = {"noise": "own_noise"}  # columns of quality measures whose name differs


@dataclass(frozen=True)
class State:
    """Properties of an exposure that other exposures depend on."""

    expstart: float
    filter: str
    image: tuple
    quality: str


def visible_state(exposure: Exposure) -> State:
    """Return the properties of an exposure that other exposures depend on."""
    rejection = exposure.reason if exposure.outcome == UNFIT else None
    image = (exposure.md5, rejection, exposure.filter, exposure.flats, exposure.product == "raw")
    return State(exposure.expstart, exposure.filter, image, digest_of(quality_of(exposure)))


def quality_of(exposure) -> Quality | None:
    """Return the stored measures of an exposure or row; None if unknown."""
    values = {name: getattr(exposure, COLUMN_OF.get(name, name)) for name in MEASURES}
    if values["light"] is None:
        return None
    return Quality(**{name: np.nan if value is None else value for name, value in values.items()})


def digest_of(quality: Quality | None) -> str:
    """Return the measures as text, for comparison."""
    return "" if quality is None else json.dumps([repr(value) for value in asdict(quality).values()])


def hash_inputs(
    md5: str, flats: str, verdict: str, earlier: list, verdicts: dict[str, str], other_flats: str = ""
) -> str:
    """Return the hash of everything that a result depends on except model and settings.

    Parameters
    ----------
    md5, flats, verdict : str
        Hash of its file, key of its flats, and decision of a person.
    earlier : list of Row or Exposure
        Comparable exposures in the window before it, in the order of time.
    verdicts : dict of str to str
        Decisions of people, by rootname.
    other_flats : str
        Key of the flats before a change of flats.
    """
    rows = [
        [
            *(one.rootname, one.md5, one.expstart, one.samp_seq, one.outcome != UNFIT),
            *(verdicts.get(one.rootname, ""), digest_of(quality_of(one))),
        ]
        for one in earlier
    ]
    return hashlib.sha256(json.dumps([md5, flats, verdict, other_flats, rows]).encode()).hexdigest()


def mark_dependents(session: Session, exposure: Exposure, days: float, before: State | None) -> None:
    """Mark the exposures whose stack or season contains a changed exposure as due.

    Parameters
    ----------
    session : Session
    exposure : Exposure
    days : float
        Length of the window of stacks.
    before : State or None
        Earlier state of the exposure; None for a new exposure.
    """
    after = visible_state(exposure)
    if before is not None and before.quality == "":  # an earlier version of the program did not measure it
        before = replace(before, quality=after.quality)
    if after == before:
        return
    for state in {after, before or after}:
        query = update_later(state.filter, state.expstart, days)
        query = query.where(Exposure.due == "", Exposure.id != exposure.id)
        session.execute(query.values(due=f"earlier exposure {exposure.rootname}"[:100]))


def update_later(filter: str, expstart: float, days: float) -> Update:
    """Return an update of the exposures in a filter that are at most some days later."""
    row = Exposure
    return update(row).where(row.filter == filter, row.expstart > expstart, row.expstart - days <= expstart)


def mark_due(session: Session, why: str, since: float | None = None, rootname: str = "") -> int:
    """Mark exposures as due; return how many.

    These are the exposures since a date (MJD), or a single one.
    """
    query = update(Exposure).values(due=why[:100])
    query = query.where(Exposure.expstart >= since) if since is not None else query
    query = query.where(Exposure.rootname == rootname) if rootname else query
    return cast(CursorResult, session.execute(query)).rowcount


def mark_waiting(session: Session, exposure: Exposure, days: float) -> None:
    """Mark exposures without a stack as due when a missing file returns."""
    row, query = Exposure, update_later(exposure.filter, exposure.expstart, days)
    query = query.where(row.outcome == NO_STACK, row.inputs == "", row.light.is_not(None))
    session.execute(query.values(due=f"file of {exposure.rootname} found again"[:100]))


def is_any_due(session: Session) -> bool:
    """Return whether an exposure must be analyzed again."""
    return session.scalar(select(Exposure.id).where(Exposure.due != "").limit(1)) is not None


def archive_result(session: Session, exposure: Exposure, why: str) -> None:
    """Copy the present result of an exposure to the history."""
    found = session.scalars(select(Detection).filter_by(exposure_id=exposure.id).order_by(Detection.id))
    measures = ("x", "y", "radius", "probability", "snr", "depth")
    blobs = [{"blob": one.blob_id} | {name: getattr(one, name) for name in measures} for one in found]
    copied = {name: getattr(exposure, name) for name in (*RESULT, *CALIBRATION)}
    about = {"exposure_id": exposure.id, "replaced_at": now(), "why": why[:100]}
    session.add(OldResult(**about, **copied, found=json.dumps(blobs)))


def store_result(
    session: Session, exposure: Exposure | None, analysis: ExposureAnalysis, model: Model
) -> Exposure:
    """Store an analysis in the row of its exposure; return the row."""
    listed = analysis.listed
    if exposure is None:
        exposure = Exposure(rootname=listed.rootname)
        session.add(exposure)
    measures = asdict(analysis.quality) if analysis.quality else dict.fromkeys(MEASURES)
    values = {COLUMN_OF.get(name, name): value for name, value in measures.items()}
    values |= analysis.statistics or dict.fromkeys(STATISTICS)
    row = {name: None if value is None or not np.isfinite(value) else value for name, value in values.items()}
    prediction = analysis.prediction
    probabilities = [float(one) for one in prediction.probabilities] if prediction else None
    row |= file_columns(listed, analysis.flats) | {
        "md5": analysis.md5,
        "outcome": analysis.outcome,
        "reason": analysis.reason,
        "stack": " ".join(analysis.members) if prediction else "",
        "probabilities": json.dumps(probabilities) if probabilities else "",
        "judged_at": now(),
        "inputs": analysis.inputs,
        "due": "",
        "model": model,
    }
    for name, value in row.items():
        setattr(exposure, name, value)
    session.flush()
    return exposure


def file_columns(one: ExposureFile, flats: str) -> dict[str, object]:
    """Return the columns from the header of a file, cut to their lengths."""
    own = one.calibration
    calibration = (own.flatcorr[:16], own.pflt, own.dflt, own.lflt, own.version, own.date)
    return {
        "path": str(one.path),
        "stamp": one.stamp,
        "expstart": one.expstart,
        "filter": one.filter,
        "programme": one.programme[:16],
        "samp_seq": one.samp_seq[:16],
        "product": one.product,
        "target": one.target[:64],
        "flats": flats[:200],
    } | {name: value[:64] for name, value in zip(CALIBRATION, calibration, strict=True)}


def exposures_in_filter(session: Session, filter: str, raw: bool, start: float, end: float) -> list[Exposure]:
    """Return the raw or calibrated exposures in a filter with start <= MJD < end."""
    row = Exposure
    query = select(row).where(row.filter == filter, (row.product == "raw") == raw)
    query = query.where(row.expstart >= start, row.expstart < end)
    return list(session.scalars(query.order_by(row.expstart, row.rootname)))


def due_exposures(session: Session) -> list[Exposure]:
    """Return the exposures that must be analyzed again, in the order of time."""
    query = select(Exposure).where(Exposure.due != "")
    return list(session.scalars(query.order_by(Exposure.expstart, Exposure.rootname)))


def find_exposure(session: Session, rootname: str) -> Exposure | None:
    """Return the exposure of a rootname."""
    return session.scalars(select(Exposure).filter_by(rootname=rootname)).first()


def get_exposure(session: Session, rootname: str) -> Exposure:
    """Return the exposure of a rootname that the ledger contains."""
    return session.scalars(select(Exposure).filter_by(rootname=rootname)).one()


def known_files(session: Session) -> list[Row]:
    """Return the columns that describe the file of each exposure, in the order of time."""
    columns = [getattr(Exposure, name) for name in (*FILE, "outcome", *CALIBRATION)]
    return list(session.execute(select(*columns).order_by(Exposure.expstart)))


def rows_without_calibration(session: Session) -> list[Exposure]:
    """Return the exposures that an earlier version stored without calibration."""
    return list(session.scalars(select(Exposure).where(Exposure.flats == "")))


def file_of_row(row) -> ExposureFile:
    """Return the file of an exposure of the ledger."""
    return ExposureFile(
        *(Path(row.path), row.rootname, row.expstart, row.filter, row.programme, row.samp_seq, row.product),
        *(Calibration(*(getattr(row, name) for name in CALIBRATION)), row.stamp, row.target),
    )


def store_quality(session: Session, rootname: str, quality: Quality) -> None:
    """Store the measures of an exposure that an earlier version stored without them."""
    row = find_exposure(session, rootname)
    if row is not None and row.light is None:
        for name, value in asdict(quality).items():
            setattr(row, COLUMN_OF.get(name, name), value if np.isfinite(value) else None)
