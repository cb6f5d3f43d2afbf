"""What a blob is and since when, by its detections and by the light that is missing at its place."""

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from blobwatch.monitor.ledger.tables import CANDIDATE, CONFIRMED, Blob, Detection, Exposure, Light

CONFIRMING = 2  # exposures in which a blob must be found
PAST = 30.0  # days without it after which a candidate is past: so long a stack goes back
WINDOW = 60.0  # days before the first detection in which one looks for the appearance
MEASURES = ("x", "y", "radius", "depth", "snr", "probability")


def is_past(blob: Blob, exposure: Exposure) -> bool:
    """Tell whether a blob was a candidate once that nothing around an exposure shows, so is none there.

    What passed by at a place must neither confirm nor date what appears there years later.
    """
    when = exposure.expstart
    return blob.status == CANDIDATE and max(blob.first.expstart - when, when - blob.last.expstart) > PAST


def settle(session: Session, blob: Blob) -> None:
    """Set what a blob is, and between which exposures it appeared.

    From its first detection one goes back in time, in its filter, as long as at least half of the light that
    it takes is missing. So a blob that the model did not find at once is dated rightly, and one that is in
    the stack by now is still known to be there.
    """
    detections = sorted(blob.detections, key=lambda one: (one.exposure.expstart, one.exposure.rootname))
    best = max(detections, key=lambda one: one.snr)
    for name in MEASURES:
        setattr(blob, name, getattr(best, name))
    blob.status = CONFIRMED if len(detections) >= CONFIRMING else CANDIDATE
    if blob.reviews:
        blob.status = blob.reviews[-1].verdict
    light, blob.halfway = light_around(session, blob, detections)
    blob.before, blob.first = appearance(detections[0].exposure, light, blob.halfway)
    blob.last = max(blob.last, detections[-1].exposure, key=lambda one: one.expstart)


def light_around(
    session: Session, blob: Blob, detections: list[Detection]
) -> tuple[list[tuple[Exposure, float]], float | None]:
    """Return the missing light from before the first detection to the last, the newest first, in its filter.

    Returns
    -------
    light : list of tuple
        Exposure and missing light, fraction of the background, where it could be measured.
    halfway : float or None
        Between what was missing before and what is missing in the detections; None if one is unknown.
    """
    first, last = detections[0].exposure, detections[-1].exposure
    asked = select(Exposure, Light.depth).join(Light, Light.exposure_id == Exposure.id)
    asked = asked.where(Light.blob_id == blob.id, Light.error.is_not(None), Exposure.filter == first.filter)
    asked = asked.where(Exposure.expstart > first.expstart - WINDOW, Exposure.expstart <= last.expstart)
    asked = asked.order_by(Exposure.expstart.desc(), Exposure.rootname.desc())
    light = [(exposure, depth) for exposure, depth in session.execute(asked)]
    found = {one.exposure_id for one in detections}
    without = [depth for exposure, depth in light if exposure.expstart < first.expstart]
    with_it = [depth for exposure, depth in light if exposure.id in found]
    if not without or not with_it:
        return light, None
    return light, float(np.median(without) + np.median(with_it)) / 2


def appearance(
    first: Exposure, light: list[tuple[Exposure, float]], halfway: float | None
) -> tuple[Exposure | None, Exposure]:
    """Return the last exposure without a blob, None if unknown, and the first with it."""
    found = first
    for exposure, depth in light:
        if halfway is not None and exposure.expstart < found.expstart:
            if depth <= halfway:
                return exposure, first
            first = exposure
    return None, first


def shows(blob: Blob, exposure: Exposure, light: Light | None) -> bool:
    """Tell whether at least half of the light that a blob takes is missing in an exposure."""
    comparable = exposure.filter == blob.first.filter and blob.halfway is not None
    return bool(comparable and light and light.error is not None and light.depth > blob.halfway)
