"""The predictor: it finds new blobs in difference images and exposures.

It needs numpy, astropy and onnxruntime, but not torch, MLflow or DVC.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from blobwatch.artefact import CHAMPION, MANIFEST, STAGING, Model
from blobwatch.detections import FoundBlob, are_residuals, measure_blobs, prepare_for_model
from blobwatch.errors import BlobwatchError, OverruledExposure, RejectedExposure
from blobwatch.history import History
from blobwatch.images.peaks import find_peaks, subframe_probabilities
from blobwatch.images.stack import difference_image
from blobwatch.images.tiling import tiles
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.differences import read_difference
from blobwatch.instrument.exposure_files import ExposureFile, describe_file
from blobwatch.instrument.exposures import read_exposure
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.kinds import is_difference


@dataclass(frozen=True)
class Prediction:
    """The result for one image; `as_json` is its stable form.

    Attributes
    ----------
    image : str
        Path or name of the image.
    rootname, kind : str
        ``kind`` is ``difference``, or ``exposure`` if a stack was subtracted first.
    model : dict
        ``name``, ``version``, ``run_id``, ``sha256``.
    threshold : float
    probabilities : ndarray, shape (16,), float
        Per subframe, row-major from the bottom row.
    blobs : list of FoundBlob
        The most probable first.
    frame : ndarray, shape (1024, 1024), float32
        The difference image.
    masked : ndarray, shape (1024, 1024), bool
        Bad pixels that were found in the image.
    residuals : list of FoundBlob
        Faint residuals of old blobs, whose position or depth changed.
    """

    image: str
    rootname: str
    kind: str
    model: dict
    threshold: float
    probabilities: np.ndarray
    blobs: list[FoundBlob]
    frame: np.ndarray
    masked: np.ndarray
    residuals: list[FoundBlob] = field(default_factory=list)

    def as_json(self) -> dict:
        """Return the result as plain data."""
        subframes = [
            {**asdict(tile), "probability": round(float(p), 6), "blob": bool(p >= self.threshold)}
            for tile, p in zip(tiles(), self.probabilities, strict=True)
        ]
        return {
            "image": self.image,
            "rootname": self.rootname,
            "kind": self.kind,
            "model": self.model,
            "threshold": self.threshold,
            "subframes": subframes,
            "blobs": [blob.as_json() for blob in self.blobs],
            "masked_pixels": int(self.masked.sum()),
            "old_blob_residuals": [blob.as_json() for blob in self.residuals],
        }


def find_model(name: str | Path = "champion") -> Path:
    """Return the folder of a model: ``champion``, or a path.

    The champion of the current project comes first, then the one of the installed package.
    """
    if str(name) != "champion":
        if Path(name).is_dir():
            return Path(name)
        raise BlobwatchError(f"{name}: not a model folder. Pass champion or the path of a folder")
    shipped = Path(__file__).parent / "champion"
    checkout = Path(__file__).parents[2] / CHAMPION  # an editable install in a clone
    # An interrupted promotion can leave the champion in the staging folder.
    staged = [Path(STAGING) / "next"] if (Path(STAGING) / "old").is_dir() else []
    for folder in (Path(CHAMPION), *staged, shipped, checkout):
        if (folder / MANIFEST).is_file():
            return folder
    raise BlobwatchError(f"{CHAMPION}: no such model. Run `make repro`, or pass a model with --model PATH")


class Predictor:
    """Finds new blobs in difference images with one model.

    Examples
    --------
    >>> predictor = Predictor.load("champion")
    >>> (blob,) = predictor.predict_file("examples/one_blob_diff.fits.fz").blobs
    >>> round(blob.x), round(blob.y)
    (905, 957)
    """

    def __init__(self, model: Model):
        self.model = model

    @classmethod
    def load(cls, name: str | Path = "champion") -> "Predictor":
        """Return the predictor of ``champion`` or of a model folder."""
        return cls(Model.load(find_model(name)))

    def __call__(
        self, image: np.ndarray, *, name: str = "", rootname: str = "", kind: str = "difference"
    ) -> Prediction:
        """Find new blobs in one difference image.

        Parameters
        ----------
        image : ndarray, shape (1024, 1024) or (1014, 1014), any unit, new blob positive
        name, rootname, kind : str
            Copied to the result.

        Raises
        ------
        BlobwatchError
            If the shape is wrong, or too few pixels are finite.
        """
        image = wfc3ir.embed(np.ma.filled(np.ma.asarray(image, dtype=np.float32), np.nan))
        prepared = prepare_for_model(self.model, image)
        output = self.model.run(prepared.scaled[None, None])[0]
        stride, threshold = self.model.stride, self.model.threshold
        peaks = find_peaks(output, stride, threshold)
        found = measure_blobs(peaks, prepared.clean)
        left = are_residuals(found)
        return Prediction(
            image=name,
            rootname=rootname,
            kind=kind,
            model=self.model.describe(),
            threshold=threshold,
            probabilities=subframe_probabilities(output, stride, peaks.select(~left), threshold),
            blobs=[blob for blob, old in zip(found, left, strict=True) if not old],
            frame=image,
            masked=prepared.clean.masked,
            residuals=[blob for blob, old in zip(found, left, strict=True) if old],
        )

    def predict_file(
        self,
        path: Path | str,
        stack: np.ndarray | None = None,
        history: History | None = None,
        stack_flats: str = "",
    ) -> Prediction:
        """Find new blobs in a FITS file: a difference image, or an exposure and its stack.

        Parameters
        ----------
        path : Path or str
        stack : ndarray, optional
            Median stack, fractions of the background.
        history : History, optional
            Earlier exposures, to which the quality of the exposure is compared. The stack is made from them
            unless ``stack`` is given.
        stack_flats : str
            `Calibration.flats` of the given stack; empty if unknown.

        Raises
        ------
        RejectedExposure
            If the quality of the exposure is insufficient.
        OverruledExposure
            If a person rejects the exposure.
        BlobwatchError
            If the file cannot be used, there are too few earlier exposures for a stack, or the flats of the
            stack differ.
        """
        with open_fits(path, only_image=True) as hdus:
            if is_difference(hdus, path):
                kind, difference = "difference", read_difference(path, hdus, only_image=True)
                image, rootname = difference.image, difference.rootname
            else:
                kind, listed = "exposure", describe_file(Path(path), hdus)
                exposure = read_exposure(path, hdus)
                rootname = exposure.rootname
                if stack is None and history is None:
                    raise BlobwatchError(
                        f"{path} is an exposure. Pass its median stack with --stack FILE, "
                        "or the folder of earlier exposures with --history DIR"
                    )
                history = history or History()
                with history.including(listed):
                    history.set_exposure(listed, exposure)
                    image = make_difference(listed, history, stack, stack_flats)
        try:
            return self(image, name=str(path), rootname=rootname, kind=kind)
        except BlobwatchError as error:
            raise BlobwatchError(f"{path}: {error}") from None


def make_difference(
    listed: ExposureFile, history: History, stack: np.ndarray | None, stack_flats: str
) -> np.ndarray:
    """Return the difference image of an exposure; without ``stack``, the history makes it."""
    if reason := history.rejection(listed):
        overruled = listed.rootname in history.overrules
        raise (OverruledExposure if overruled else RejectedExposure)(
            f"{listed.path}: rejected ({reason}). Leave it out, or accept it: "
            f"blobwatch overrule {listed.rootname} --accept --reason TEXT"
        )
    flats = history.group(listed)[1]
    if stack is not None and "unknown" not in (flats, stack_flats or "unknown") and flats != stack_flats:
        raise BlobwatchError(
            f"{listed.path}: flats {flats}, but the stack has {stack_flats}, so old blobs would look new. "
            "Pass a stack with the same flats, or --history DIR with --flats DIR"
        )
    return difference_image(history.stack(listed) if stack is None else stack, history.image(listed))
