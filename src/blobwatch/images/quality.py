"""Is an exposure fit for a stack? Measured: its glow, streaks, noise, and flagged pixels."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from blobwatch.errors import Unfit
from blobwatch.images.blobimage import blob_image, median_without_nan
from blobwatch.images.scaling import deviation
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.exposures import Exposure, read_exposure

SAMPLE = 4  # of each row and column every fourth pixel tells the glow
BLOCK = 4  # pixels on a side of the blocks whose medians tell streaks; a streak is 2-3 px wide
STREAK = 4.0  # sigma of such a median, above which a block is lit


@dataclass(frozen=True)
class Quality:
    """What is measured of one exposure.

    Attributes
    ----------
    gradient : float
        Brightest minus faintest part of the large-scale glow, over its median.
    streaks : float
        Share of the frame that is lit above the glow, as by streaks.
    noise : float
        Per pixel, fraction of the background.
    excess : float
        Noise over what photons and reads make; NaN of a ramp, whose pixels are not flat-fielded.
    flagged : float
        Share of the light-sensitive pixels that are unusable.
    """

    gradient: float
    streaks: float
    noise: float
    excess: float
    flagged: float

    def as_dict(self) -> dict[str, float]:
        """Return the measures by name."""
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """The most of each measure that an exposure may have; the defaults are those of ``params.yaml``."""

    gradient: float = 1.2
    streaks: float = 0.025
    noise: float = 0.0115
    excess: float = 1.2
    flagged: float = 0.1


WORDS = {
    "gradient": "glow gradient",
    "streaks": "share of streaks",
    "noise": "noise",
    "excess": "noise over the expected",
    "flagged": "share of flagged pixels",
}


def measure_quality(exposure: Exposure, image: np.ndarray, box: int = 64) -> Quality:
    """Measure an exposure.

    Parameters
    ----------
    exposure : Exposure
    image : ndarray, shape (1024, 1024), float32, fraction of the glow
        Its blob image.
    box : int
        Pixels on a side of the boxes whose medians make the glow.
    """
    inner = slice(wfc3ir.BORDER, -wfc3ir.BORDER)
    usable = np.isfinite(exposure.image) & (exposure.dq & wfc3ir.DQ_UNUSABLE == 0)
    boxes = boxed(np.where(usable, exposure.image, np.nan)[::SAMPLE, ::SAMPLE], box // SAMPLE)
    glow = boxes[np.isfinite(boxes)]
    level = float(np.median(glow)) if glow.size else np.nan
    noise = pixel_noise(image)
    expected = expected_noise(level * exposure.exptime * exposure.gain)
    return Quality(
        gradient=float((glow.max() - glow.min()) / level) if glow.size else np.nan,
        streaks=lit_share(image, noise),
        noise=float(noise),
        excess=noise / expected if exposure.gain == 1.0 else np.nan,
        flagged=float(1.0 - usable[inner, inner].mean()),
    )


def fault_of(quality: Quality, limits: Limits) -> str:
    """Return in what an exposure is beyond the limits; empty where it is fit.

    A measure that cannot be had counts as a fault, but for the noise over the expected.
    """
    faults = []
    for name, most in asdict(limits).items():
        value = getattr(quality, name)
        if name == "excess" and np.isnan(value):
            continue
        if not value <= most:
            faults.append(f"{WORDS[name]} {value:.3g} above {most:g}")
    return "; ".join(faults)


@dataclass(frozen=True)
class Judged:
    """An exposure that was looked at.

    Attributes
    ----------
    image : ndarray, shape (1024, 1024), float32, fraction of the glow
        Its blob image.
    quality : Quality
    fault : str
        In what it is beyond the limits; empty where it is fit.
    """

    image: np.ndarray
    quality: Quality
    fault: str


def judge(exposure: Exposure, box: int, limits: Limits) -> Judged:
    """Make the blob image of an exposure and tell whether it is fit."""
    image = blob_image(exposure.image, exposure.dq, box)
    quality = measure_quality(exposure, image, box)
    return Judged(image, quality, fault_of(quality, limits))


def fit_image(exposure: Exposure, box: int, limits: Limits) -> np.ndarray:
    """Return the blob image of an exposure that is fit.

    Returns
    -------
    ndarray, shape (1024, 1024), float32, fraction of the glow

    Raises
    ------
    Unfit
        If it is beyond the limits; names the measures.
    """
    judged = judge(exposure, box, limits)
    if judged.fault:
        raise Unfit(f"{exposure.path} is a bad exposure ({judged.fault}); leave it out")
    return judged.image


def read_fit(path: Path, box: int, limits: Limits) -> np.ndarray:
    """Return the blob image of a file; as `fit_image`, and an exposure of another kind is no more fit."""
    return fit_image(read_exposure(path), box, limits)


def unplaced(error: Exception, path: Path) -> str:
    """Return what is wrong with a file by its name alone: what is kept knows no folders of this machine."""
    return str(error).replace(str(path), path.name)


def boxed(image: np.ndarray, box: int) -> np.ndarray:
    """Return the medians of boxes, without NaN; NaN where a box has nothing else."""
    rows, columns = image.shape[0] // box, image.shape[1] // box
    cells = image[: rows * box, : columns * box].reshape(rows, box, columns, box).swapaxes(1, 2)
    return median_without_nan(cells.reshape(rows, columns, box * box))


def pixel_noise(image: np.ndarray) -> float:
    """Return the noise per pixel, out of steps between neighbours, so that no structure counts."""
    steps = image[::4, 1:] - image[::4, :-1]
    steps = steps[np.isfinite(steps)]
    return deviation(steps) / np.sqrt(2.0) if steps.size else np.nan


def expected_noise(electrons: float) -> float:
    """Return the noise of photons and reads, fraction of the background, of so many electrons per pixel."""
    if not electrons > 0:
        return np.nan
    return float(np.sqrt(electrons + wfc3ir.READ_NOISE**2) / electrons)


def block_medians(image: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """Return the medians of the blocks that are known, and the error that Gaussian noise gives each."""
    blocks = boxed(image, BLOCK)
    return blocks[np.isfinite(blocks)], 1.2533 * noise / BLOCK  # of BLOCK**2 pixels


def lit_share(image: np.ndarray, noise: float) -> float:
    """Return the share of blocks whose median lies above the glow by more than noise does."""
    known, spread = block_medians(image, noise)
    if not known.size:
        return np.nan
    return float((known > np.median(known) + STREAK * spread).mean())
