"""What a worker keeps from one file of a scan to the next: the blob images that their stacks share."""

from pathlib import Path

import numpy as np

from blobwatch.archive.survey import File
from blobwatch.errors import BlobwatchError, Unfit
from blobwatch.images.quality import Limits, read_fit


class Kept:
    """Blob images of the exposures that the stacks of a chunk are made of, and no others.

    So a worker holds a month and a chunk, 4 MB each, however long it lives: no more than the stack of
    its last file and what the files before it had beyond that.
    """

    def __init__(self):
        self.stamps: dict[Path, str] = {}
        self.images: dict[tuple, np.ndarray | str] = {}

    def turn_to(self, earlier: tuple[File, ...]) -> None:
        """Forget what these exposures are not, and those that have changed since they were read."""
        self.stamps = {one.path: one.stamp for one in earlier}
        self.images = {key: kept for key, kept in self.images.items() if self.stamps.get(key[0]) == key[1]}

    def read(self, path: Path, box: int, limits: Limits) -> np.ndarray:
        """Return the blob image of an exposure, as `read_fit` does.

        Raises
        ------
        Unfit
            If it is a bad exposure, or a damaged file: the row of that file says so, and it must not
            cost the rows of those whose stack it would be in.
        """
        key = (path, self.stamps[path], box, limits)
        if key not in self.images:
            try:
                self.images[key] = read_fit(path, box, limits)
            except BlobwatchError as error:
                self.images[key] = str(error)
        kept = self.images[key]
        if isinstance(kept, str):
            raise Unfit(kept)
        return kept
