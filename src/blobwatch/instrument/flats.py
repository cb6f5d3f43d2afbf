"""Undo flat-fielding: multiply exposures by the flats that were applied."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.exposures import Exposure
from blobwatch.instrument.file_search import find_fits_files
from blobwatch.instrument.fitsfile import first_image, open_fits, read_plane


class FlatFields:
    """Flat fields in a folder, found by the names in the headers of exposures.

    Parameters
    ----------
    folder : Path or str
        Nested folders are searched. Files may be compressed (``.fits.gz``).

    Raises
    ------
    BlobwatchError
        If the folder is absent.

    Examples
    --------
    >>> flats = FlatFields("data/raw/archive/flats")  # doctest: +SKIP
    >>> flats.undo(read_exposure("ich219i8q_flt.fits")).calibration.flats  # doctest: +SKIP
    'none'
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.paths = {path.name.lower(): path for path in find_fits_files(folder, flats=True)[0]}
        self._planes: dict[Path, np.ndarray] = {}

    def __getstate__(self) -> dict:
        """Return the state without the pixels, so that pickling for workers stays cheap."""
        return self.__dict__ | {"_planes": {}}

    def undo(self, exposure: Exposure) -> Exposure:
        """Return the exposure as it was before flat-fielding.

        Parameters
        ----------
        exposure : Exposure

        Returns
        -------
        Exposure
            ``image`` is multiplied by each flat; NaN where one is 0 or not finite. The calibration has
            FLATCORR ``OMIT``, so that ``calibration.flats`` is ``none``. An exposure without flats, and
            one whose header has neither FLATCORR nor flats, is returned unchanged.

        Raises
        ------
        BlobwatchError
            If a flat is absent or unreadable, or the header names none though one was applied.
        """
        calibration = exposure.calibration
        names = () if exposure.product == "raw" else calibration.flat_files
        if calibration.flatcorr == "COMPLETE" and not names:
            raise BlobwatchError(
                f"{exposure.path}: FLATCORR is COMPLETE and no flat is named. Restore PFLTFILE, or set "
                "FLATCORR to OMIT if no flat was applied"
            )
        if not names:
            return exposure
        image = exposure.image
        for name in names:
            image = image * self.plane(name, exposure.path)
        return replace(exposure, image=image, calibration=replace(calibration, flatcorr="OMIT"))

    def path(self, name: str, exposure: Path) -> Path:
        """Return the path of a reference file that an exposure's header names."""
        short = PurePosixPath(name).name.lower()
        for ending in ("", ".gz", ".fz"):
            if short + ending in self.paths:
                return self.paths[short + ending]
        raise BlobwatchError(
            f"{self.folder / short}: flat not found, {exposure} was divided by it. Get it with `blobwatch "
            "fetch --flats`, or set FLATCORR of the exposure to OMIT if it was not applied"
        )

    def plane(self, name: str, exposure: Path) -> np.ndarray:
        """Return a flat by its name, shape (1024, 1024), float32, NaN where unknown."""
        path = self.path(name, exposure)
        if path not in self._planes:
            self._planes[path] = read_flat(path)
        return self._planes[path]


def read_flat(path: Path | str) -> np.ndarray:
    """Read a flat field.

    Parameters
    ----------
    path : Path or str
        A reference file with a SCI extension of 1014 x 1014 or 1024 x 1024 pixels.

    Returns
    -------
    ndarray, shape (1024, 1024), float32
        About 1; NaN in the border of a 1014 frame and where the flat is 0 or not finite.

    Raises
    ------
    BlobwatchError
        If the file is unreadable, of another shape, or has no usable pixel.
    """
    path = Path(path)
    with open_fits(path) as hdus:
        hdu = hdus["SCI", 1] if ("SCI", 1) in hdus else first_image(hdus)
        if hdu is None:
            raise BlobwatchError(f"{path}: no image in this flat. Fetch it again")
        pixels = np.asarray(read_plane(hdu, path), dtype=np.float32)
    flat = wfc3ir.embed(pixels, name=f"{path}: the flat")
    flat = np.where(np.isfinite(flat) & (flat != 0), flat, np.float32(np.nan))
    if not np.isfinite(flat).any():
        raise BlobwatchError(f"{path}: no usable pixel in this flat. Fetch it again")
    return flat
