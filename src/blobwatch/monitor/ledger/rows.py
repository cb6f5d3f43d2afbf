"""The ledger's blobs as plain rows, for JSON, tables, exports, notices and pages."""

from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.tables import Blob, Detection, Exposure, LightCurvePoint, Review

COLUMNS = [
    *("id", "x", "y", "radius", "depth", "snr", "probability"),
    *("first_seen", "first_rootname", "last_seen", "detections", "status", "reviewed_by"),
    *("last_without", "last_without_rootname", "last_rootname", "x_error", "y_error", "depth_error"),
    *("model_version", "model_sha256", "fingerprint"),
]
# Relative scatter of the measured depth of blobs of SNR 40, where noise is negligible. It comes from their
# shapes, which differ from the fitted typical shape (Notes of `measure`).
SHAPE_SCATTER = 0.14
MJD_ZERO = datetime(1858, 11, 17)


class UnknownBlob(BlobwatchError):
    """The ledger has no blob with this id."""


def format_utc(mjd: float) -> str:
    """Format a modified Julian date as UTC, rounded to minutes."""
    return f"{MJD_ZERO + timedelta(seconds=round(mjd * 86400)):%Y-%m-%d %H:%M}"


def list_blobs(session: Session) -> list[dict]:
    """Return the rows of all blobs in the order of their appearance.

    Returns
    -------
    list of dict
        ``id``; ``x``, ``y``, ``radius`` (pixels of the 1024 frame), ``depth`` (fraction of the background),
        ``snr`` and ``probability`` of the best detection; errors of x and y (scatter of the detections; None
        for a single one) and of the depth (noise and scatter of shapes); ``first_seen``, ``last_without`` and
        ``last_seen`` (MJD and rootname): the blob appeared between ``last_without`` and ``first_seen``;
        ``detections``; ``status`` and the last reviewer, if any; the model.
    """
    blobs = session.scalars(select(Blob)).all()
    places: dict[int, list[tuple[float, float]]] = {}
    for number, x, y in session.execute(select(Detection.blob_id, Detection.x, Detection.y)):
        places.setdefault(number, []).append((x, y))
    reviewers = dict(session.execute(select(Review.blob_id, Review.who).order_by(Review.id)).all())
    rows = [blob_row(blob, places.get(blob.id, []), reviewers.get(blob.id)) for blob in blobs]
    return sorted(rows, key=lambda row: (row["first_seen"], row["id"]))


def blob_row(
    blob: Blob, places: list[tuple[float, float]] | None = None, reviewer: str | None = None
) -> dict:
    """Return the row of one blob (see `list_blobs`).

    The places of its detections and its reviewer are queried if they are not passed.
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
        "depth_error": depth_error(blob),
        "model_version": model.version,
        "model_sha256": model.sha256,
        "fingerprint": model.fingerprint,
    }


def depth_error(blob: Blob) -> float | None:
    """Return the error of the depth from noise and shape; None without an SNR."""
    if not blob.snr:
        return None
    return round(float(np.hypot(blob.depth / blob.snr, SHAPE_SCATTER * blob.depth)), 6)


def get_blob(session: Session, number: int) -> Blob:
    """Return a blob; raise `UnknownBlob` if there is none."""
    blob = session.get(Blob, number)
    if blob is None:
        raise UnknownBlob(f"the ledger has no blob {number}. `blobwatch blobs` lists them")
    return blob


def light_curve_of(session: Session, blob: Blob) -> dict[str, np.ndarray]:
    """Return the measured light curve of a blob in the order of time.

    It uses exposures with the filter and flats of the first exposure that shows the blob, since the depth
    depends on these.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        ``mjd``; ``depth`` and ``error``, the missing light as a fraction of the background.
    """
    first, point = blob.first, LightCurvePoint
    query = select(Exposure.expstart, point.depth, point.error).join(point, point.exposure_id == Exposure.id)
    query = query.where(point.blob_id == blob.id, point.error.is_not(None))
    rows = session.execute(query.where(Exposure.filter == first.filter, Exposure.flats == first.flats)).all()
    table = np.array(sorted(tuple(row) for row in rows), dtype=float).reshape(-1, 3)
    return dict(zip(("mjd", "depth", "error"), table.T, strict=True))


def describe_onset(row: dict) -> str:
    """Return when a blob appeared, as text."""
    first = f"{format_utc(row['first_seen'])} ({row['first_rootname']})"
    if row["last_without"] is None:
        return f"before {first}"
    return f"between {format_utc(row['last_without'])} ({row['last_without_rootname']}) and {first}"


def format_depth(row: dict) -> str:
    """Format the depth of a blob with its error, per cent of the background."""
    error = row["depth_error"]
    return format_value(100 * row["depth"], None if error is None else 100 * error, 2)


def format_value(value: float, error: float | None, digits: int = 1) -> str:
    """Format a value with its error, if any; small errors get more digits."""
    if error is None:
        return f"{value:.{digits}f}"
    if error <= 1e-9 * abs(value):
        return f"{value:.4g} ± 0"
    if error < 10.0**-digits:
        digits = int(np.ceil(-np.log10(error))) + 1
    return f"{value:.{digits}f} ± {error:.{digits}f}"
