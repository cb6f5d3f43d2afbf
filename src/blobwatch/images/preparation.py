"""From a difference image to what the network sees: cleaned, whitened, in units of its own noise."""

from dataclasses import dataclass

import numpy as np

from blobwatch.images.blobimage import interpolation
from blobwatch.images.cleaning import CleanFrame, clean_frame, fill_unknown
from blobwatch.images.scaling import CLIP
from blobwatch.images.whitening import noise_spectrum, whiten

BOX = 64  # pixels; side of the boxes whose means are the background, several times a blob
CLIP_SIGMA = 2.5  # pixels further off count as this far, so that a blob or a streak changes a mean little


@dataclass(frozen=True)
class PreparedFrame:
    """A frame for the network.

    Attributes
    ----------
    scaled : ndarray, shape (ny, nx), float32 (float64 if the input is)
        Whitened, in units of the noise at the scale of a blob, within +-`CLIP`; 0 where nothing is known.
    clean : CleanFrame
    spectrum : ndarray, shape (n,)
        Of the noise, from `noise_spectrum`.
    """

    scaled: np.ndarray
    clean: CleanFrame
    spectrum: np.ndarray


def prepare_frame(image: np.ndarray, spectrum: np.ndarray | None = None) -> PreparedFrame:
    """Prepare a difference image for the network.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), any unit, new blob positive
        Both sides are multiples of 128.
    spectrum : ndarray, shape (n,), optional
        Of the noise, in the unit of ``image``; measured where absent.

    Raises
    ------
    BlobwatchError
        If too few pixels are finite, or they have no noise.
    """
    clean = clean_frame(image)
    flat = fill_unknown(clean.image - background(clean))
    if spectrum is None:
        spectrum = noise_spectrum(flat, np.isfinite(clean.image))
    scaled = whiten(flat, spectrum)
    return PreparedFrame(np.clip(scaled, -CLIP, CLIP, out=scaled), clean, spectrum)


def background(clean: CleanFrame) -> np.ndarray:
    """Return the large-scale background of a cleaned frame: clipped means of boxes joined by cubics."""
    rows, columns = (side // BOX for side in clean.image.shape)
    boxes = clean.image.reshape(rows, BOX, columns, BOX)
    count = np.isfinite(boxes).sum(axis=(1, 3))
    level = np.zeros((rows, columns), dtype=boxes.dtype)
    for _ in range(2):
        off = np.clip(boxes - level[:, None, :, None], -CLIP_SIGMA * clean.noise, CLIP_SIGMA * clean.noise)
        level += np.nansum(off, axis=(1, 3)) / np.maximum(count, 1)
    level[count < BOX**2 // 4] = 0.0
    down, across = (interpolation(side, BOX, beyond=False).astype(np.float32) for side in clean.image.shape)
    return down @ level @ across.T
