"""Preparation of a difference image for the network: cleaned, whitened, in units of its noise."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from blobwatch.images.cleaning import CleanFrame, clean_frame, fill_unknown
from blobwatch.images.flatten import cubic_interpolation, median_without_nan
from blobwatch.images.scaling import CLIP
from blobwatch.images.whitening import noise_spectrum, whiten

BOX = 64  # pixels; side of the boxes whose means define the background, several times a blob
CLIP_SIGMA = 2.5  # clips pixels, so that a blob or a streak changes a mean little


@dataclass(frozen=True)
class PreparedFrame:
    """A frame for the network.

    Attributes
    ----------
    scaled : ndarray, shape (ny, nx), float32 (float64 if the input is)
        Whitened, in units of the noise at the scale of a blob, within +-`CLIP`; about 0 in unknown areas.
    clean : CleanFrame
    spectrum : ndarray, shape (128, 65)
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
    spectrum : ndarray, shape (128, 65), optional
        Of the noise, in the unit of ``image``; measured by default.

    Raises
    ------
    BlobwatchError
        If too few pixels are finite, or they have no noise.
    """
    clean = clean_frame(image)
    flat = fill_unknown(clean.image - background(clean))
    if spectrum is None:
        spectrum = noise_spectrum(flat, np.isfinite(clean.image), CLIP_SIGMA * clean.noise)
    scaled = whiten(flat, spectrum)
    return PreparedFrame(np.clip(scaled, -CLIP, CLIP, out=scaled), clean, spectrum)


def background(clean: CleanFrame) -> np.ndarray:
    """Return the large-scale background of a cleaned frame: clipped means of boxes joined by cubics.

    The median of 3 x 3 boxes removes large blobs from the background.
    """
    image, clip = clean.image, CLIP_SIGMA * clean.noise
    rows, columns = (side // BOX for side in image.shape)
    known = np.isfinite(image).reshape(rows, BOX, columns, BOX)
    values = np.nan_to_num(image).reshape(known.shape)
    count = known.sum(axis=(1, 3))
    level = np.zeros((rows, columns), dtype=image.dtype)
    for _ in range(2):
        off = values - level[:, None, :, None]
        np.clip(off, -clip, clip, out=off)
        level += (off * known).sum(axis=(1, 3)) / np.maximum(count, 1)
    level[count < BOX**2 // 4] = np.nan
    around = sliding_window_view(np.pad(level, 1, mode="edge"), (3, 3)).reshape(rows, columns, 9)
    level = np.nan_to_num(median_without_nan(around)).astype(image.dtype)
    down, across = (
        cubic_interpolation(side, BOX, extrapolate=False).astype(image.dtype) for side in image.shape
    )
    return down @ level @ across.T
