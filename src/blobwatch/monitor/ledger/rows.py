"""The ledger's blobs as plain rows, for JSON, tables, exports, notices and pages."""

from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.tables import Blob, Detection, Exposure, Light, Review

COLUMNS = [
    *("id", "x", "y", "radius", "depth", "snr", "probability"),
    *("first_seen", "first_rootname", "last_seen", "detections", "status", "reviewed_by"),
    *("last_without", "last_without_rootname", "last_rootname", "x_error", "y_error", "depth_error"),
    *("model_version", "model_sha256", "fingerprint"),
]
# Scatter of the measured depth of blobs of SNR 40, where noise is none of it: that of their shapes about the
# typical one, which is fitted (Notes of `measure`).
SHAPES = 0.14
MJD_ZERO = datetime(1858, 11, 17)


class NoBlob(BlobwatchError):
    """The ledger has no blob of the number that was asked for."""


def utc(mjd: float) -> str:
    """Return the UTC date and time of a modified Julian date, to the minute."""
    return f"{MJD_ZERO + timedelta(seconds=round(mjd * 86400)):%Y-%m-%d %H:%M}"


def list_blobs(session: Session) -> list[dict]:
    """Return all blobs of the ledger in the order of their appearance.

    Returns
    -------
    list of dict
        ``id``; ``x``, ``y``, ``radius`` (pixels of the 1024 frame), ``depth`` (fraction of the background),
        ``snr`` and ``probability`` of the best detection; errors of x and y (the scatter of the detections;
        None of one) and of the depth (noise, and the scatter of shapes); ``first_seen``, ``last_without`` and
        ``last_seen`` (MJD, and each with its rootname): it appeared between the second and the first;
        ``detections``; ``status``, and who said so last, if anybody; the model.
    """
    blobs = session.scalars(select(Blob)).all()
    places: dict[int, list[tuple[float, float]]] = {}
    for number, x, y in session.execute(select(Detection.blob_id, Detection.x, Detection.y)):
        places.setdefault(number, []).append((x, y))
    said = dict(session.execute(select(Review.blob_id, Review.who).order_by(Review.id)).all())
    rows = [row_of(blob, places.get(blob.id, []), said.get(blob.id)) for blob in blobs]
    return sorted(rows, key=lambda row: (row["first_seen"], row["id"]))


def row_of(blob: Blob, places: list[tuple[float, float]] | None = None, reviewer: str | None = None) -> dict:
    """Return the row of one blob, as `list_blobs` does.

    Where they are known already, the places of its detections, and who reviewed it, are not asked for.
    """
    if places is None:
        places = [(one.x, one.y) for one in blob.detections]
        reviewer = blob.reviews[-1].who if blob.reviews else None
    x_error, y_error = np.std(places, axis=0, ddof=1).tolist() if len(places) > 1 else (None, None)
    before, model = blob.before, blob.model
    return {
        "id": blob.id,
        "x": round(blob.x, 3),
        "y": round(blob.y, 3),
        "radius": round(blob.radius, 3),
        "depth": round(blob.depth, 6),
        "snr": round(blob.snr, 3),
        "probability": round(blob.probability, 6),
        "first_seen": blob.first.expstart,
        "first_rootname": blob.first.rootname,
        "last_seen": blob.last.expstart,
        "detections": len(places),
        "status": blob.status,
        "reviewed_by": reviewer,
        "last_without": before.expstart if before else None,
        "last_without_rootname": before.rootname if before else None,
        "last_rootname": blob.last.rootname,
        "x_error": None if x_error is None else round(x_error, 3),
        "y_error": None if y_error is None else round(y_error, 3),
        "depth_error": round(float(np.hypot(blob.depth / blob.snr, SHAPES * blob.depth)), 6)
        if blob.snr
        else None,
        "model_version": model.version,
        "model_sha256": model.sha256,
        "fingerprint": model.fingerprint,
    }


def find_blob(session: Session, number: int) -> Blob:
    """Return a blob, or say that there is none."""
    blob = session.get(Blob, number)
    if blob is None:
        raise NoBlob(f"the ledger has no blob {number}; blobwatch blobs lists them")
    return blob


def light_of(session: Session, blob: Blob) -> dict[str, np.ndarray]:
    """Return the light curve of a blob in the order of time, where it could be measured.

    In exposures with the filter and flats of the first that shows it: it is not equally deep in all.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        ``mjd``; ``depth`` and ``error``, the missing light as a fraction of the background.
    """
    first = blob.first
    asked = select(Exposure.expstart, Light.depth, Light.error).join(Light, Light.exposure_id == Exposure.id)
    asked = asked.where(Light.blob_id == blob.id, Light.error.is_not(None))
    rows = session.execute(asked.where(Exposure.filter == first.filter, Exposure.flats == first.flats)).all()
    table = np.array(sorted(tuple(row) for row in rows), dtype=float).reshape(-1, 3)
    return dict(zip(("mjd", "depth", "error"), table.T, strict=True))


def appeared(row: dict) -> str:
    """Return when a blob appeared, in words."""
    first = f"{utc(row['first_seen'])} ({row['first_rootname']})"
    if row["last_without"] is None:
        return f"before {first}"
    return f"between {utc(row['last_without'])} ({row['last_without_rootname']}) and {first}"


def depth_of(row: dict) -> str:
    """Return the depth of a blob with its error, per cent of the background."""
    error = row["depth_error"]
    return with_error(100 * row["depth"], None if error is None else 100 * error, 2)


def with_error(value: float, error: float | None, digits: int = 1) -> str:
    """Return a figure with its error, or without where there is none; with more digits where it is small."""
    if error is None:
        return f"{value:.{digits}f}"
    if error <= 1e-9 * abs(value):
        return f"{value:.4g} ± 0"
    if error < 10.0**-digits:
        digits = int(np.ceil(-np.log10(error))) + 1
    return f"{value:.{digits}f} ± {error:.{digits}f}"
