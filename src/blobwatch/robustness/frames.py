"""The robustness sets: frames with blobs of known SNR, each set with one kind of contaminant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from blobwatch.robustness import defects, noise, stray_light
from blobwatch.robustness.shapes import (
    TEMPLATE_SHARE,
    Stamp,
    draw_shape,
    render,
    render_template,
)

BLOB = np.dtype([("x", "f8"), ("y", "f8"), ("snr", "f8"), ("half_width", "f8"), ("kind", "U16")])
APART = 45.0  # smallest distance of two blobs, pixels
INSIDE = 16  # smallest distance of a blob from the edge of the frame, pixels
USABLE = 0.8  # smallest share of finite pixels under a blob
FAINT_SHARE = 0.8  # share of blobs with an SNR in FAINT; the others are in BRIGHT
FAINT, BRIGHT = (3.0, 20.0), (10.0, 40.0)


@dataclass(frozen=True)
class RobustnessFrame:
    """One frame of a robustness set.

    Attributes
    ----------
    image : ndarray, shape (1024, 1024), float32, new blob positive
        Border and flagged pixels are NaN.
    blobs : ndarray of BLOB
        True blobs; positions in pixels. The SNR is the amplitude of the unit-norm shape / ``noise_rms``.
    stamps : list of Stamp
        Shapes of the blobs.
    spectrum : ndarray, shape (1024, 513), float32
        Power spectrum of the stationary part of the noise, 1 on average.
    noise_rms : float
        Rms per pixel of the stationary part.
    """

    image: np.ndarray
    blobs: np.ndarray
    stamps: list[Stamp] = field(repr=False)
    spectrum: np.ndarray = field(repr=False)
    noise_rms: float = 1.0


Generator = np.random.Generator
Contaminate = Callable[[Generator, np.ndarray], None]


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """Draw a number with a uniformly distributed logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def correlated_spectrum(rng: Generator) -> np.ndarray:
    """Draw the spectrum of correlated noise: partly smoothed, coupled or resampled."""
    kind = rng.integers(3)
    if kind == 0:
        return noise.smoothed_spectrum(rng.uniform(0.25, 0.45), rng.uniform(0.6, 0.9))
    if kind == 1:
        return noise.coupled_spectrum(rng.uniform(0.01, 0.04))
    # Half of the noise is resampled, because exposure and stack are aligned.
    return noise.normalize_spectrum(0.5 + 0.5 * noise.resampled_spectrum(*rng.uniform(0.1, 0.5, 2)))


def banding_spectrum(rng: Generator) -> np.ndarray:
    """Draw the spectrum of row noise and stripes."""
    return noise.row_noise_spectrum(
        log_uniform(rng, 0.002, 0.03), rng.uniform(0.04, 0.25), rng.uniform(0.03, 0.1)
    )


def add_banding(rng: Generator, image: np.ndarray) -> None:
    """Add bands of rows and columns, and steps between quadrants."""
    stray_light.add_bands(rng, image, int(rng.integers(2, 12)), 0.4)
    stray_light.add_steps(rng, image, 0.15)


def add_bad_pixels(rng: Generator, image: np.ndarray) -> None:
    """Add bad pixels, clusters and a fixed pattern."""
    defects.add_fixed_pattern(rng, image, rng.uniform(0.0, 0.2))
    defects.add_clusters(rng, image, int(rng.integers(5, 60)))
    defects.add_bad_pixels(rng, image, rng.uniform(0.0, 0.015), rng.uniform(0.02, 0.2))


def add_old_blobs(rng: Generator, image: np.ndarray) -> None:
    """Add residuals of old blobs."""
    defects.add_old_blobs(rng, image, log_uniform(rng, 0.1, 1.0), rng.uniform(0.0, 0.04))


def add_streaks(rng: Generator, image: np.ndarray) -> None:
    """Add streaks and satellite trails."""
    stray_light.add_streaks(rng, image, rng.uniform(0.6, 1.5))
    stray_light.add_trails(rng, image, int(rng.integers(0, 4)))


def add_triplets(rng: Generator, image: np.ndarray) -> None:
    """Add triplets at any angle."""
    stray_light.add_triplets(rng, image, int(rng.integers(3, 12)), np.pi)


def add_stars(rng: Generator, image: np.ndarray) -> None:
    """Add stars and persistence."""
    stray_light.add_stars(rng, image, int(rng.integers(20, 120)))
    stray_light.add_persistence(rng, image, int(rng.integers(0, 30)))


def add_glow(rng: Generator, image: np.ndarray) -> None:
    """Add residual glow, light of the limb, and steps between quadrants."""
    stray_light.add_glow(rng, image, log_uniform(rng, 0.2, 1.5))
    stray_light.add_steps(rng, image, 0.1)


def add_structures(rng: Generator, image: np.ndarray) -> None:
    """Add residuals of the fixed structures, and mask the dead zones."""
    defects.add_structures(rng, image, rng.uniform(0.5, 1.5))
    defects.mask_dead_zones(image)


def add_everything(rng: Generator, image: np.ndarray) -> None:
    """Add a moderate amount of all contaminants."""
    stray_light.add_glow(rng, image, log_uniform(rng, 0.1, 0.5))
    stray_light.add_steps(rng, image, 0.05)
    stray_light.add_bands(rng, image, int(rng.integers(0, 4)), 0.2)
    defects.add_old_blobs(rng, image, log_uniform(rng, 0.1, 0.4), 0.02)
    if rng.uniform() < 0.35:
        stray_light.add_streaks(rng, image, rng.uniform(0.5, 1.0))
    if rng.uniform() < 0.5:
        stray_light.add_triplets(rng, image, int(rng.integers(1, 5)), 0.02)
    stray_light.add_trails(rng, image, int(rng.uniform() < 0.2))
    stray_light.add_stars(rng, image, int(rng.integers(0, 20)))
    stray_light.add_persistence(rng, image, int(rng.integers(0, 5)))
    defects.add_fixed_pattern(rng, image, rng.uniform(0.0, 0.1))
    defects.add_clusters(rng, image, int(rng.integers(2, 25)))
    defects.add_bad_pixels(rng, image, rng.uniform(0.007, 0.0145), rng.uniform(0.02, 0.1))
    defects.add_structures(rng, image, rng.uniform(0.3, 1.0))
    defects.mask_dead_zones(image)


def white_spectrum(rng: Generator) -> np.ndarray:
    """Return the spectrum of white noise."""
    return noise.white_spectrum()


SETS: dict[str, tuple[Callable[[Generator], np.ndarray], Contaminate | None]] = {
    "white_noise": (white_spectrum, None),
    "correlated_noise": (correlated_spectrum, None),
    "row_noise": (banding_spectrum, add_banding),
    "bad_pixels": (white_spectrum, add_bad_pixels),
    "old_blobs": (white_spectrum, add_old_blobs),
    "streaks": (white_spectrum, add_streaks),
    "triplets": (white_spectrum, add_triplets),
    "stars": (white_spectrum, add_stars),
    "glow": (white_spectrum, add_glow),
    "structures": (white_spectrum, add_structures),
    "all_together": (lambda rng: noise.smoothed_spectrum(0.37, 0.7), add_everything),  # spectrum as measured
}


def draw_frame(
    name: str, rng: Generator, blobs: int = 20, templates: Sequence[np.ndarray] = ()
) -> RobustnessFrame:
    """Draw one frame of a set.

    Parameters
    ----------
    name : str
        Key of ``SETS``.
    rng : Generator
    blobs : int
        Number of blobs; 0 for a frame that measures false alarms.
    templates : sequence of ndarray
        Measured profiles, centred on their middle pixel, used in addition to the drawn shapes.
    """
    draw_spectrum, contaminate = SETS[name]
    spectrum = draw_spectrum(rng)
    image = noise.draw_noise(rng, spectrum)
    scene = np.zeros_like(image)
    if contaminate:
        contaminate(rng, scene)
    image += scene
    defects.mask_border(image)
    free = np.isfinite(image) & ~defects.inside_ring(image.shape)
    stamps = draw_stamps(rng, free, blobs, templates)
    table = np.zeros(len(stamps), dtype=BLOB)
    for row, stamp in zip(table, stamps, strict=True):
        snr = log_uniform(rng, *FAINT) if rng.uniform() < FAINT_SHARE else rng.uniform(*BRIGHT)
        row["x"], row["y"], row["snr"] = stamp.x, stamp.y, snr
        row["half_width"], row["kind"] = stamp.half_width, stamp.kind
        defects.add_stamp(image, stamp, snr)
    return RobustnessFrame(image, table, stamps, spectrum)


def draw_stamps(
    rng: Generator, finite: np.ndarray, count: int, templates: Sequence[np.ndarray]
) -> list[Stamp]:
    """Draw shapes at separate positions with usable pixels."""
    stamps: list[Stamp] = []
    for _ in range(50 * count):
        if len(stamps) == count:
            break
        x, y = rng.uniform(INSIDE, finite.shape[1] - 1 - INSIDE, 2)
        if any(np.hypot(x - other.x, y - other.y) < APART for other in stamps):
            continue
        if templates and rng.uniform() < TEMPLATE_SHARE:
            stamp = render_template(templates[int(rng.integers(len(templates)))], x, y)
        else:
            stamp = render(draw_shape(rng), x, y)
        if is_usable(finite, stamp):
            stamps.append(stamp)
    return stamps


def is_usable(finite: np.ndarray, stamp: Stamp) -> bool:
    """Return whether most of the power of a shape is on finite pixels."""
    region, part = stamp.clip(finite.shape)
    return float((part**2 * finite[region]).sum()) >= USABLE
