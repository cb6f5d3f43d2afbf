"""Exposures in the order of time: their quality, their rejection and their stacks."""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.images.flatten import blob_image
from blobwatch.images.quality_limits import outlier_reason, unusable_reason
from blobwatch.images.quality_measures import Quality, measure_difference, measure_exposure
from blobwatch.images.stack import median_stack
from blobwatch.instrument.exposure_files import ExposureFile
from blobwatch.instrument.exposures import Exposure, read_exposure
from blobwatch.instrument.flats import FlatFields
from blobwatch.overrules import ACCEPT, Overrule
from blobwatch.settings import DifferenceSettings

CACHED = 64  # blob images, 4 MB each


class History:
    """Exposures in the order of time, with their blob images and quality.

    Files are read when needed. The verdict of an exposure depends only on earlier exposures, so later ones do
    not change it.

    Parameters
    ----------
    exposures : iterable of ExposureFile
    settings : DifferenceSettings
    overrules : mapping of str to Overrule
        Decisions of people by rootname.
    flats : FlatFields, optional
        Reference files; with them the flats of each exposure are undone, so that all can be combined.
    """

    def __init__(
        self,
        exposures: Iterable[ExposureFile] = (),
        settings: DifferenceSettings | None = None,
        overrules: Mapping[str, Overrule] | None = None,
        flats: FlatFields | None = None,
    ):
        self.settings = settings or DifferenceSettings()
        self.overrules = overrules or {}
        self.flats = flats
        self.exposures: dict[str, ExposureFile] = {}
        self.times: list[tuple[float, str]] = []
        self._own: dict[str, Quality] = {}
        self._preliminary: dict[str, Quality] = {}
        self._qualities: dict[str, Quality] = {}
        self._errors: dict[str, Exception] = {}
        self._images: OrderedDict[str, np.ndarray] = OrderedDict()
        for exposure in exposures:
            self.add(exposure)

    def add(
        self, exposure: ExposureFile, quality: Quality | None = None, error: Exception | None = None
    ) -> None:
        """Insert an exposure, or replace the one with its rootname.

        Parameters
        ----------
        exposure : ExposureFile
        quality : Quality, optional
            If already measured against the same earlier exposures.
        error : Exception, optional
            If the file could not be read.
        """
        self.remove(exposure.rootname)
        self._forget_later(exposure)
        self.exposures[exposure.rootname] = exposure
        insort(self.times, (exposure.expstart, exposure.rootname))
        if quality is not None:
            self._own[exposure.rootname] = self._qualities[exposure.rootname] = quality
        if error is not None:
            self._errors[exposure.rootname] = error

    def remove(self, name: str) -> None:
        """Remove the exposure of a rootname if it exists."""
        exposure = self.exposures.pop(name, None)
        if exposure is None:
            return
        self.times.remove((exposure.expstart, name))
        for known in (self._own, self._preliminary, self._qualities, self._errors, self._images):
            known.pop(name, None)
        self._forget_later(exposure)

    @contextmanager
    def including(self, exposure: ExposureFile) -> Iterator[None]:
        """Include an exposure, or replace its file, for the duration of the block."""
        before = self.exposures.get(exposure.rootname)
        if before == exposure:
            yield
            return
        self.add(exposure)
        try:
            yield
        finally:
            self.remove(exposure.rootname)
            if before is not None:
                self.add(before)

    def _forget_later(self, exposure: ExposureFile) -> None:
        """Drop the measures of later exposures that may depend on one."""
        for _, name in self._between(exposure.expstart, exposure.expstart + 2 * self.settings.days):
            self._preliminary.pop(name, None)
            self._qualities.pop(name, None)

    def _between(self, start: float, end: float) -> list[tuple[float, str]]:
        """Return times and rootnames in the interval [start, end)."""
        return self.times[bisect_left(self.times, (start, "")) : bisect_left(self.times, (end, ""))]

    def group(self, exposure: ExposureFile) -> tuple[str, str, bool]:
        """Return filter, flats and unit, which must agree in exposures that are combined."""
        calibration = exposure.calibration
        undone = self.flats is not None and bool(calibration.flat_files)
        return exposure.filter, "none" if undone else calibration.flats, exposure.product == "raw"

    def earlier(self, exposure: ExposureFile) -> list[ExposureFile]:
        """Return the comparable exposures of the window before one, in the order of time."""
        name, group = exposure.rootname, self.group(exposure)
        return [one for one in self._window(exposure) if one.rootname != name and self.group(one) == group]

    def _window(self, exposure: ExposureFile) -> list[ExposureFile]:
        """Return the exposures of the window before one, in the order of time."""
        names = self._between(exposure.expstart - self.settings.days, exposure.expstart)
        return [self.exposures[name] for _, name in names]

    def image(self, exposure: ExposureFile) -> np.ndarray:
        """Return the blob image of an exposure.

        Returns
        -------
        ndarray, shape (1024, 1024), float32, fraction of the glow

        Raises
        ------
        BlobwatchError
            If the file cannot be used.
        """
        name = exposure.rootname
        if name in self._errors:
            raise self._errors[name]
        if name not in self._images:
            try:
                self.set_exposure(exposure, read_exposure(exposure.path))
            except (BlobwatchError, OSError) as error:
                self._errors[name] = error
                raise
        self._images.move_to_end(name)
        return self._images[name]

    def set_exposure(self, exposure: ExposureFile, content: Exposure) -> None:
        """Set the content of an exposure of this history that was read already."""
        if self.flats is not None and content.calibration.flatcorr == "COMPLETE":
            content = self.flats.undo(content)
        image = blob_image(content.image, content.dq, self.settings.box)
        if exposure.rootname not in self._own:
            self._own[exposure.rootname] = measure_exposure(content, image, self.settings.box)
        self._images[exposure.rootname] = image
        while len(self._images) > CACHED:
            self._images.popitem(last=False)

    def own_quality(self, exposure: ExposureFile) -> Quality:
        """Return the measures that need no other exposure."""
        if exposure.rootname not in self._own:
            self.image(exposure)
        return self._own[exposure.rootname]

    def unusable_reason(self, exposure: ExposureFile) -> str:
        """Return why an exposure is unusable in any season; empty if it is usable."""
        overrule = self.overrules.get(exposure.rootname)
        if overrule is not None and overrule.verdict != ACCEPT:
            return f"overruled by {overrule.who}: {overrule.reason}"
        try:
            own = self.own_quality(exposure)
        except (BlobwatchError, OSError) as error:
            return str(error)
        return "" if overrule else unusable_reason(own, exposure.target, self.settings.quality)

    def quality(self, exposure: ExposureFile) -> Quality:
        """Return the measures of an exposure, compared with the latest good ones before it.

        Raises
        ------
        BlobwatchError
            If the file cannot be used.
        """
        if exposure.rootname not in self._qualities:
            references = self._latest(exposure, self.is_reference)
            self._qualities[exposure.rootname] = self._measure(exposure, references)
        return self._qualities[exposure.rootname]

    def is_reference(self, exposure: ExposureFile) -> bool:
        """Return whether an exposure is good enough as a reference for others.

        It is compared with the usable exposures before it and judged by the prior, so that the result depends
        on at most two windows.
        """
        if self.unusable_reason(exposure):
            return False
        if exposure.rootname not in self._preliminary:
            usable = self._latest(exposure, lambda other: not self.unusable_reason(other))
            self._preliminary[exposure.rootname] = self._measure(exposure, usable)
        return not outlier_reason(self._preliminary[exposure.rootname], [], self.settings.quality)

    def _measure(self, exposure: ExposureFile, references: list[ExposureFile]) -> Quality:
        """Return the measures of an exposure relative to references."""
        own = self.own_quality(exposure)
        if unusable_reason(own, exposure.target, self.settings.quality):
            return own
        images = [self.image(other) for other in references]
        lights = [self.own_quality(other).light for other in references]
        return measure_difference(own, self.image(exposure), images, lights)

    def _latest(self, exposure: ExposureFile, suits: Callable[[ExposureFile], bool]) -> list[ExposureFile]:
        """Return the latest suitable exposures before one, at most the number of references."""
        return list(islice(filter(suits, reversed(self.earlier(exposure))), self.settings.quality.references))

    def rejection(self, exposure: ExposureFile) -> str:
        """Return why an exposure is rejected; empty if it is accepted."""
        reason = self.unusable_reason(exposure)
        if reason or exposure.rootname in self.overrules:
            return reason
        season = [other for other in self.earlier(exposure) if other.samp_seq == exposure.samp_seq]
        qualities = [self.quality(other) for other in season if not self.unusable_reason(other)]
        return outlier_reason(self.quality(exposure), qualities, self.settings.quality)

    def members(self, exposure: ExposureFile) -> list[ExposureFile]:
        """Return the accepted exposures of a stack, in the order of time.

        Raises
        ------
        BlobwatchError
            If there are fewer than ``settings.minimum``.
        """
        earlier, days, minimum = self.earlier(exposure), self.settings.days, self.settings.minimum
        rejected = [other.rootname for other in earlier if self.rejection(other)]
        members = [other for other in earlier if other.rootname not in rejected]
        if len(members) >= minimum:
            return members
        message = f"{exposure.rootname}: {len(members)} accepted exposures in the {days:g} days before it, "
        message += f"a stack needs {minimum}; "
        if rejected:
            message += f"{len(rejected)} more are rejected or unreadable ({', '.join(rejected)}); "
        if other_flats := self.other_flats(exposure):
            message += f"the flats changed from {other_flats} to {self.group(exposure)[1]}, so a new stack "
            message += "begins; pass --flats DIR or raw files to combine them"
        raise BlobwatchError(message if other_flats else f"{message}add earlier exposures")

    def stack(self, exposure: ExposureFile, members: Sequence[ExposureFile] | None = None) -> np.ndarray:
        """Return the median stack for an exposure.

        Returns
        -------
        ndarray, shape (1024, 1024), float32, fraction of the background
        """
        return median_stack([self.image(other) for other in members or self.members(exposure)])

    def other_flats(self, exposure: ExposureFile) -> str:
        """Return the flats of the latest earlier exposure with other flats.

        Only exposures in the same filter count. Without one, return an empty string.
        """
        filter_, flats, raw = self.group(exposure)
        for other in map(self.group, reversed(self._window(exposure))):
            if (other[0], other[2]) == (filter_, raw) and other[1] != flats:
                return other[1]
        return ""


def strip_directory(message: str, exposure: ExposureFile) -> str:
    """Return an error message without the directory, so that stored messages are portable."""
    return message.replace(str(exposure.path), exposure.path.name)
