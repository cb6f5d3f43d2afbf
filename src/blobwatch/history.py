"""Exposures in the order of time: what an exposure is compared with, and whether it is accepted."""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.images.flatten import blob_image
from blobwatch.images.quality import Quality, measure_difference, measure_exposure
from blobwatch.images.rejection import outlier_reason, unusable_reason
from blobwatch.images.stack import median_stack
from blobwatch.instrument.exposure_files import Listed
from blobwatch.instrument.exposures import Exposure, read_exposure
from blobwatch.instrument.flats import FlatFields
from blobwatch.overrules import ACCEPT, Overrule
from blobwatch.settings import DifferenceSettings

CACHED = 64  # blob images, 4 MB each


class History:
    """Exposures in the order of time, their blob images and quality.

    Files are read when needed. A verdict depends on the exposures before it alone, so it is the same
    whatever comes later.

    Parameters
    ----------
    exposures : iterable of Listed
    settings : DifferenceSettings
    overrules : mapping of str to Overrule
        Decisions of people by rootname.
    flats : FlatFields, optional
        Reference files by which the flats of each exposure are undone, so that all can be combined.
    """

    def __init__(
        self,
        exposures: Iterable[Listed] = (),
        settings: DifferenceSettings | None = None,
        overrules: Mapping[str, Overrule] | None = None,
        flats: FlatFields | None = None,
    ):
        self.settings = settings or DifferenceSettings()
        self.overrules = overrules or {}
        self.flats = flats
        self.exposures: dict[str, Listed] = {}
        self.times: list[tuple[float, str]] = []
        self._facts: dict[str, Quality] = {}
        self._first: dict[str, Quality] = {}
        self._qualities: dict[str, Quality] = {}
        self._errors: dict[str, Exception] = {}
        self._images: OrderedDict[str, np.ndarray] = OrderedDict()
        for one in exposures:
            self.add(one)

    def add(self, one: Listed, quality: Quality | None = None, error: Exception | None = None) -> None:
        """Insert an exposure, or replace the one of its rootname.

        Parameters
        ----------
        one : Listed
        quality : Quality, optional
            Where it was measured before, against the same earlier exposures.
        error : Exception, optional
            The error of reading the file, where that is known.
        """
        self.remove(one.rootname)
        self._forget_later(one)
        self.exposures[one.rootname] = one
        insort(self.times, (one.expstart, one.rootname))
        if quality is not None:
            self._facts[one.rootname] = self._qualities[one.rootname] = quality
        if error is not None:
            self._errors[one.rootname] = error

    def remove(self, name: str) -> None:
        """Remove the exposure of a rootname, if it is there."""
        one = self.exposures.pop(name, None)
        if one is None:
            return
        self.times.remove((one.expstart, name))
        for known in (self._facts, self._first, self._qualities, self._errors, self._images):
            known.pop(name, None)
        self._forget_later(one)

    @contextmanager
    def including(self, one: Listed) -> Iterator[None]:
        """Include an exposure, or another file of it, until the end of the block."""
        before = self.exposures.get(one.rootname)
        if before == one:
            yield
            return
        self.add(one)
        try:
            yield
        finally:
            self.remove(one.rootname)
            if before is not None:
                self.add(before)

    def _forget_later(self, one: Listed) -> None:
        """Drop the measures of later exposures that may have been measured against one."""
        for _, name in self._between(one.expstart, one.expstart + 2 * self.settings.days):
            self._first.pop(name, None)
            self._qualities.pop(name, None)

    def _between(self, start: float, end: float) -> list[tuple[float, str]]:
        """Return times and rootnames from ``start`` on and before ``end``."""
        return self.times[bisect_left(self.times, (start, "")) : bisect_left(self.times, (end, ""))]

    def group(self, one: Listed) -> tuple[str, str, bool]:
        """Return what exposures must have in common to be combined: filter, flats, and unit."""
        return one.filter, "none" if self.is_undone(one) else one.calibration.flats, one.product == "raw"

    def is_undone(self, one: Listed) -> bool:
        """Return whether the flats of an exposure are undone."""
        return self.flats is not None and bool(one.calibration.flat_files)

    def earlier(self, one: Listed) -> list[Listed]:
        """Return the comparable exposures of the days before one, in the order of time."""
        window = self._between(one.expstart - self.settings.days, one.expstart)
        found = (self.exposures[name] for _, name in window)
        group = self.group(one)
        return [other for other in found if other.rootname != one.rootname and self.group(other) == group]

    def image(self, one: Listed) -> np.ndarray:
        """Return the blob image of an exposure.

        Returns
        -------
        ndarray, shape (1024, 1024), float32, fraction of the glow

        Raises
        ------
        BlobwatchError
            If the file cannot be used.
        """
        name = one.rootname
        if name in self._errors:
            raise self._errors[name]
        if name not in self._images:
            try:
                self.use(one, read_exposure(one.path))
            except (BlobwatchError, OSError) as error:
                self._errors[name] = error
                raise
        self._images.move_to_end(name)
        return self._images[name]

    def use(self, one: Listed, exposure: Exposure) -> None:
        """Take over an exposure that was read already.

        Parameters
        ----------
        one : Listed
            As it was added.
        exposure : Exposure
        """
        if self.flats is not None and exposure.calibration.flatcorr == "COMPLETE":
            exposure = self.flats.undo(exposure)
        image = blob_image(exposure.image, exposure.dq, self.settings.box)
        if one.rootname not in self._facts:
            self._facts[one.rootname] = measure_exposure(exposure, image, self.settings.box)
        self._images[one.rootname] = image
        while len(self._images) > CACHED:
            self._images.popitem(last=False)

    def facts(self, one: Listed) -> Quality:
        """Return what an exposure shows by itself."""
        if one.rootname not in self._facts:
            self.image(one)
        return self._facts[one.rootname]

    def unusable(self, one: Listed) -> str:
        """Return why an exposure is unusable whatever its season; empty where it is usable."""
        overrule = self.overrules.get(one.rootname)
        if overrule is not None and overrule.verdict != ACCEPT:
            return f"overruled by {overrule.who}: {overrule.reason}"
        try:
            facts = self.facts(one)
        except (BlobwatchError, OSError) as error:
            return str(error)
        return "" if overrule else unusable_reason(facts, one.target, self.settings.quality)

    def quality(self, one: Listed) -> Quality:
        """Return the measures of an exposure, against the latest good ones before it.

        Raises
        ------
        BlobwatchError
            If the file cannot be used.
        """
        if one.rootname not in self._qualities:
            references = self._latest(one, self.is_reference)
            self._qualities[one.rootname] = self._measured(one, references)
        return self._qualities[one.rootname]

    def is_reference(self, one: Listed) -> bool:
        """Return whether others are measured against an exposure: it must be no outlier at first sight.

        At first sight an exposure is measured against whatever is usable before it, and compared with the
        prior alone. So the answer reaches no further back than two windows.
        """
        if self.unusable(one):
            return False
        if one.rootname not in self._first:
            usable = self._latest(one, lambda other: not self.unusable(other))
            self._first[one.rootname] = self._measured(one, usable)
        return not outlier_reason(self._first[one.rootname], [], self.settings.quality)

    def _measured(self, one: Listed, references: list[Listed]) -> Quality:
        """Return the measures of an exposure against some references."""
        facts = self.facts(one)
        if unusable_reason(facts, one.target, self.settings.quality):
            return facts
        images = [self.image(other) for other in references]
        lights = [self.facts(other).light for other in references]
        return measure_difference(facts, self.image(one), images, lights)

    def _latest(self, one: Listed, suits: Callable[[Listed], bool]) -> list[Listed]:
        """Return the latest suitable exposures before one, as many as references are wanted."""
        return list(islice(filter(suits, reversed(self.earlier(one))), self.settings.quality.references))

    def rejection(self, one: Listed) -> str:
        """Return why an exposure is rejected; empty where it is accepted."""
        overrule = self.overrules.get(one.rootname)
        if reason := self.unusable(one):
            return reason
        if overrule is not None:
            return ""
        season = [other for other in self.earlier(one) if other.samp_seq == one.samp_seq]
        qualities = [self.quality(other) for other in season if not self.unusable(other)]
        return outlier_reason(self.quality(one), qualities, self.settings.quality)

    def members(self, one: Listed) -> list[Listed]:
        """Return the accepted exposures of the stack of one, in the order of time.

        Raises
        ------
        BlobwatchError
            If there are too few.
        """
        earlier = self.earlier(one)
        rejected = [other.rootname for other in earlier if self.rejection(other)]
        members = [other for other in earlier if other.rootname not in rejected]
        if len(members) < self.settings.minimum:
            raise BlobwatchError(self._too_few(one, len(members), rejected))
        return members

    def stack(self, one: Listed, members: Sequence[Listed] | None = None) -> np.ndarray:
        """Return the median stack for an exposure.

        Returns
        -------
        ndarray, shape (1024, 1024), float32, fraction of the background
        """
        return median_stack([self.image(other) for other in members or self.members(one)])

    def _too_few(self, one: Listed, count: int, rejected: list[str]) -> str:
        """Return the message where a stack has too few members."""
        settings = self.settings
        parts = [
            f"{one.rootname}: {count} accepted exposures in the {settings.days:g} days before it, "
            f"a stack needs {settings.minimum}"
        ]
        if rejected:
            parts.append(f"{len(rejected)} more are rejected or unreadable ({', '.join(rejected)})")
        other_flats = self._other_flats(one)
        if other_flats:
            flats = self.group(one)[1]
            parts.append(
                f"the flats changed from {other_flats} to {flats}, so the stack starts anew; "
                "pass --flats DIR or raw files to combine them"
            )
        else:
            parts.append("add earlier exposures")
        return "; ".join(parts)

    def _other_flats(self, one: Listed) -> str:
        """Return the flats of the latest exposure of the window in the same filter, if they are others."""
        filter_, flats, raw = self.group(one)
        for _, name in reversed(self._between(one.expstart - self.settings.days, one.expstart)):
            other_filter, other_flats, other_raw = self.group(self.exposures[name])
            if other_filter == filter_ and other_raw == raw and other_flats != flats:
                return other_flats
        return ""


def strip_directory(message: str, one: Listed) -> str:
    """Return an error message without the directory, so that stored messages are portable."""
    return message.replace(str(one.path), one.path.name)
