"""One exposure looked at: its blob image, stack, difference, what the model says, and what is measured."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from blobwatch.archive.survey import File
from blobwatch.errors import BlobwatchError, Unfit
from blobwatch.files import file_hash
from blobwatch.images.measure import amplitude, cut
from blobwatch.images.quality import Judged, judge, unplaced
from blobwatch.images.stack import difference_image
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import Blob, half_width_at, radius_at
from blobwatch.instrument.exposures import Exposure, read_exposure
from blobwatch.monitor.ledger.tables import JUDGED, NO_STACK, UNFIT
from blobwatch.monitor.traits import Traits, traits_of
from blobwatch.predict import Differencing, FoundBlob, Prediction, Predictor, stack_before

CUTOUT = 96  # pixels on a side of the pictures of a detection
GREY = 5.0  # sigma either way, the ends of their grey scale


@dataclass(frozen=True)
class Sky:
    """The blob image of a fit exposure, in which the light at any place can be measured.

    Attributes
    ----------
    rootname : str
    image : ndarray, shape (1024, 1024), float32, about 1
    noise : float
        Per pixel, fraction of the background.
    """

    rootname: str
    image: np.ndarray
    noise: float

    def missing(self, x: float, y: float, radius: float) -> tuple[float, float | None]:
        """Return how much light is missing at a blob's place, fraction of the background, and its error.

        The error is None where no pixel there is usable.
        """
        trial = Blob(x, y, max(1.5, half_width_at(x, y) * radius / radius_at(x, y)), 1.0)
        part, values = cut(self.image, trial, 1.0)
        depth, snr = amplitude(part, -values, self.noise)  # light that is missing counts upward
        return depth, abs(depth / snr) if snr else None


@dataclass(frozen=True)
class Look:
    """What was found out about one exposure.

    Attributes
    ----------
    file : File
    md5, programme : str
    outcome, reason : str
        ``judged``, ``no stack`` or ``unfit``, and why.
    quality : dict of str to float
        What was measured of it; empty where it is of another kind.
    sky : Sky or None
        Where it is fit.
    stack : tuple of Sky
        The fit exposures of the month before it, in the order of time.
    answer : Prediction or None
    traits : Traits or None
    pictures : tuple of dict
        Of each blob found, PNG: ``before``, ``after``, ``difference``.
    """

    file: File
    md5: str
    programme: str
    outcome: str
    reason: str = ""
    quality: dict | None = None
    sky: Sky | None = None
    stack: tuple[Sky, ...] = ()
    answer: Prediction | None = None
    traits: Traits | None = None
    pictures: tuple[dict[str, bytes], ...] = ()


class Looker:
    """Looks at exposures in the order of time with one model, and keeps the last month's blob images.

    4 MB each.
    """

    def __init__(self, predictor: Predictor, settings: Differencing | None = None):
        self.predictor = predictor
        self.settings = settings or Differencing()
        self.month: dict[tuple[Path, str], Sky | str] = {}

    def __call__(self, file: File, earlier: list[File]) -> Look:
        """Look at an exposure.

        Parameters
        ----------
        file : File
        earlier : list of File
            The exposures of the days before it, in its filter.

        Raises
        ------
        BlobwatchError
            If the file is damaged: it is to be fetched again.
        """
        wanted = {(one.path, one.stamp) for one in (*earlier, file)}
        self.month = {key: kept for key, kept in self.month.items() if key in wanted}
        md5 = file_hash(file.path, "md5")
        try:
            exposure = read_exposure(file.path)
        except Unfit as other:
            return Look(file, md5, "", UNFIT, unplaced(other, file.path))
        judged = judge(exposure, self.settings.box, self.settings.quality)
        sky = self.keep(file, judged)
        about = (file, md5, exposure.proposid)
        measured = judged.quality.as_dict()
        if judged.fault:
            return Look(*about, UNFIT, f"bad: {judged.fault}", measured)
        stack = tuple(one for one in map(self.sky, earlier) if isinstance(one, Sky))
        try:
            answer, pictures = self.answer(exposure, sky, earlier)
        except BlobwatchError as reason:
            said = unplaced(reason, file.path)
            return Look(*about, NO_STACK, said.removeprefix(f"{exposure.rootname}: "), measured, sky, stack)
        return Look(*about, JUDGED, "", measured, sky, stack, answer, traits_of(answer), pictures)

    def answer(
        self, exposure: Exposure, sky: Sky, earlier: list[File]
    ) -> tuple[Prediction, tuple[dict[str, bytes], ...]]:
        """Return what the model says of an exposure against its stack, and pictures of what it found."""
        by_path = {one.path: one for one in earlier}

        def read(path: Path, *_) -> np.ndarray:
            kept = self.sky(by_path[path])
            if isinstance(kept, str):
                raise Unfit(kept)
            return kept.image

        stack = stack_before(exposure, [one.listed for one in earlier], self.settings, read)
        image = difference_image(stack, sky.image)
        path = str(exposure.path)
        answer = self.predictor(image, name=path, rootname=exposure.rootname, kind="exposure")
        planes = {"before": stack - 1.0, "after": sky.image - 1.0, "difference": image}
        return answer, tuple(
            {name: picture(plane, blob, sky.noise) for name, plane in planes.items()} for blob in answer.blobs
        )

    def sky(self, file: File) -> Sky | str:
        """Return the sky of an exposure, or what is wrong with it: that is said when it is looked at."""
        if (file.path, file.stamp) not in self.month:
            try:
                exposure = read_exposure(file.path)
                self.keep(file, judge(exposure, self.settings.box, self.settings.quality))
            except (BlobwatchError, OSError) as error:
                self.month[file.path, file.stamp] = str(error)
        return self.month[file.path, file.stamp]

    def keep(self, file: File, judged: Judged) -> Sky | str:
        """Keep what was made of an exposure, and return it."""
        sky = Sky(file.listed.rootname, judged.image, judged.quality.noise)
        self.month[file.path, file.stamp] = judged.fault or sky
        return self.month[file.path, file.stamp]


def picture(plane: np.ndarray, blob: FoundBlob, noise: float) -> bytes:
    """Return a grey PNG of the pixels around a blob, the first row at the top of the frame.

    Parameters
    ----------
    plane : ndarray, shape (1024, 1024), fraction of the background, about 0
    blob : FoundBlob
    noise : float
        Per pixel; the grey scale goes ``GREY`` of it either way. What is unknown is in the middle of it.
    """
    from PIL import Image

    left, bottom = corner(blob.x), corner(blob.y)
    part = np.nan_to_num(plane[bottom : bottom + CUTOUT, left : left + CUTOUT])
    grey = np.clip((part / (GREY * noise) + 1) * 127.5, 0, 255).astype(np.uint8)
    png = BytesIO()
    Image.fromarray(grey[::-1]).save(png, format="png")
    return png.getvalue()


def corner(centre: float) -> int:
    """Return the first pixel of a cutout around a place, along one side of the frame."""
    return int(np.clip(round(centre) - CUTOUT // 2, 0, wfc3ir.SIZE - CUTOUT))
