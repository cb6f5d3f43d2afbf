"""From a difference image to what the network sees: cleaned, whitened, in units of its own noise."""

from dataclasses import dataclass

import numpy as np

from blobwatch.images.cleaning import CleanFrame, clean_frame
from blobwatch.images.scaling import CLIP
from blobwatch.images.whitening import noise_spectrum, whiten


@dataclass(frozen=True)
class PreparedFrame:
    """A frame for the network.

    Attributes
    ----------
    scaled : ndarray, shape (ny, nx), float32
        Whitened, in units of the noise at the scale of a blob, within +-`CLIP`; 0 where nothing is known.
    clean : CleanFrame
    spectrum : ndarray, shape (n,)
        Of the noise, as `noise_spectrum` gives it.
    """

    scaled: np.ndarray
    clean: CleanFrame
    spectrum: np.ndarray


def prepare_frame(image: np.ndarray, spectrum: np.ndarray | None = None) -> PreparedFrame:
    """Prepare a difference image for the network.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), any unit, new blob positive
    spectrum : ndarray, shape (n,), optional
        Of the noise, in the unit of ``image``; measured where absent.

    Raises
    ------
    BlobwatchError
        If too few pixels are finite, or they have no noise.
    """
    clean = clean_frame(image)
    filled = clean.filled()
    if spectrum is None:
        spectrum = noise_spectrum(filled, np.isfinite(clean.image))
    scaled = whiten(filled, spectrum)
    return PreparedFrame(np.clip(scaled, -CLIP, CLIP, out=scaled), clean, spectrum)
