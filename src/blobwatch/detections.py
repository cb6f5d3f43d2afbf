"""Blobs in a frame: what is measured at the peaks of a network's map, and which are left by old blobs."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from blobwatch.artefact import Model
from blobwatch.images.blob_fit import fit_blob
from blobwatch.images.cleaning import CleanFrame
from blobwatch.images.peaks import Peaks
from blobwatch.images.preparation import PreparedFrame, prepare_frame
from blobwatch.images.scaling import scale_frame
from blobwatch.images.tiling import tiles
from blobwatch.instrument.blobs import old_snr_at

RESIDUAL = 0.2  # of the SNR of an old blob; what is fainter there is its residual


@dataclass(frozen=True)
class FoundBlob:
    """A new blob: place and radius in pixels of the 1024 frame, depth as a fraction of the background."""

    x: float
    y: float
    radius: float
    probability: float
    snr: float
    depth: float

    def as_json(self) -> dict:
        """Return the blob as plain data."""
        return {key: round(value, 6) for key, value in asdict(self).items()}


def prepare_for_model(model: Model, image: np.ndarray) -> PreparedFrame:
    """Prepare a difference image as a model expects it; before version 7 frames were only scaled."""
    prepared = prepare_frame(image)
    return prepared if model.whitened else replace(prepared, scaled=scale_frame(image))


def measure_blobs(peaks: Peaks, clean: CleanFrame) -> list[FoundBlob]:
    """Return the blobs of a frame: its peaks, with what is measured at each."""
    found = []
    for x, y, probability in zip(peaks.x, peaks.y, peaks.probability, strict=True):
        fit = fit_blob(clean.image, float(x), float(y), 0.0, clean.noise)
        # The refined place stays in the subframe of the peak: so the two answers cannot disagree.
        tile = next(tile for tile in tiles() if tile.contains(x, y))
        low = np.array([tile.x0, tile.y0]) - 0.5
        x, y = np.clip((fit.x, fit.y), low, low + tile.size - 1e-3).tolist()
        found.append(FoundBlob(x, y, fit.radius, float(probability), fit.snr, fit.depth))
    return found


def are_residuals(blobs: list[FoundBlob]) -> np.ndarray:
    """Return which blobs are left by old ones that moved or changed their depth, shape (n,), bool.

    Notes
    -----
    Blobs move by up to a pixel with the Channel Select Mechanism. What that leaves of the 108 measured blobs
    has up to a fifth of the SNR of the whole blob, which is counted in the usual noise of a difference image.
    A new blob that faint is lost at an old one: below SNR 10 at 16 of them, below 6 at 43 of them. The areas
    of all of them are 5 % of the frame.
    """
    return np.array([blob.snr < RESIDUAL * old_snr_at(blob.x, blob.y) for blob in blobs], dtype=bool)
