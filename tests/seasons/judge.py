"""The product's judgement of a season, compared with what each exposure is."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from seasons.series import Taken

from blobwatch.errors import BlobwatchError
from blobwatch.history import History
from blobwatch.instrument.exposure_files import ExposureFile, describe_file

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


def judge_season(taken: Iterable[Taken], settings=None) -> list[Verdict]:
    """Return the verdict on each exposure, in the order of time; an unreadable one counts as rejected."""
    history, verdicts = History(settings=settings), []
    for one in sorted(taken, key=lambda one: one.expstart):
        try:
            exposure = describe_file(one.path)
        except BlobwatchError as error:
            verdicts.append(Verdict(one, str(error), {}))
            continue
        history.add(exposure)
        verdicts.append(verdict(history, one, exposure))
    return verdicts


def verdict(history: History, taken: Taken, exposure: ExposureFile) -> Verdict:
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
