"""The product's judgement of a season, compared with what each exposure is."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from seasons.series import Taken

from blobwatch.errors import BlobwatchError
from blobwatch.history import History
from blobwatch.instrument.calibration import read_calibration
from blobwatch.instrument.folder import Listed

ELSEWHERE = "wrong filter"  # the kind that is kept from the stack by its header, and not by its pixels


@dataclass(frozen=True)
class Verdict:
    """What the product makes of one exposure: the reason of its rejection, empty if it is accepted."""

    taken: Taken
    reason: str
    measures: dict[str, float]

    @property
    def right(self) -> bool:
        """Return whether a good exposure is accepted, or a bad one rejected."""
        return bool(self.taken.fault) == bool(self.reason)


def listed(path: Path) -> Listed:
    """Return an exposure as its primary header describes it."""
    header = fits.getheader(path)
    return Listed(
        path=path,
        rootname=header["ROOTNAME"],
        expstart=header["EXPSTART"],
        filter=header["FILTER"],
        programme=str(header["PROPOSID"]),
        samp_seq=header["SAMP_SEQ"],
        product=path.stem.rpartition("_")[2],
        calibration=read_calibration(header),
        target=header["TARGNAME"],
    )


def judge_season(taken: Iterable[Taken], settings=None) -> list[Verdict]:
    """Return the verdict on each exposure, in the order of time."""
    taken = sorted(taken, key=lambda one: one.expstart)
    exposures = [listed(one.path) for one in taken]
    history = History(exposures, settings)
    return [verdict(history, one, exposure) for one, exposure in zip(taken, exposures, strict=True)]


def verdict(history: History, taken: Taken, exposure: Listed) -> Verdict:
    """Return the verdict on one exposure; one without comparable exposures before it enters no stack."""
    reason = history.rejection(exposure)
    if not reason and taken.fault == ELSEWHERE:
        try:
            history.members(exposure)
        except BlobwatchError as error:
            reason = str(error)
    try:
        measures = history.quality(exposure).as_dict()
    except BlobwatchError:
        measures = {}
    return Verdict(taken, reason, measures)


def describe(one: Verdict, verdicts: list[Verdict]) -> str:
    """Return a line on a wrong verdict: each measure beside median and scatter of the good exposures."""
    parts = []
    for name, value in one.measures.items():
        known = [other.measures[name] for other in verdicts if not other.taken.fault and other.measures]
        middle = np.nanmedian(known) if np.isfinite(known).any() else np.nan
        spread = 1.48 * np.nanmedian(np.abs(known - middle)) if np.isfinite(middle) else np.nan
        parts.append(f"{name} {value:.4g} ({middle:.4g} +- {spread:.2g})")
    what = one.taken.fault or "good"
    return f"{what} {one.taken.path.name}: {one.reason or 'accepted'}; " + ", ".join(parts)
