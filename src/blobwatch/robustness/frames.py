"""The robustness sets: frames with blobs of known SNR, each set with one kind of contaminant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from blobwatch.robustness import defects, noise, stray_light
from blobwatch.robustness.shapes import TEMPLATE_SHARE, Stamp, draw_shape, render, render_template

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
        True blobs; positions in pixels. The SNR is the amplitude of the unit-norm shape.
    stamps : list of Stamp
        Shapes of the blobs.
    spectrum : ndarray, shape (1024, 513), float32
        Power spectrum of the stationary part of the noise, whose rms per pixel is 1.
    """

    image: np.ndarray
    blobs: np.ndarray
    stamps: list[Stamp] = field(repr=False)
    spectrum: np.ndarray = field(repr=False)


Generator = np.random.Generator
Amount = float | Callable[[Generator], float]  # a number, or a function that draws it
Spectrum = Callable[[Generator], np.ndarray]
Contaminate = Callable[[Generator, np.ndarray], None]


def draw_log_uniform(rng: Generator, low: float, high: float) -> float:
    """Draw a number with a uniformly distributed logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def uniform(low: float, high: float) -> Amount:
    """Return an amount that is drawn uniformly."""
    return lambda rng: rng.uniform(low, high)


def log_uniform(low: float, high: float) -> Amount:
    """Return an amount whose logarithm is drawn uniformly."""
    return lambda rng: draw_log_uniform(rng, low, high)


def count(low: int, high: int) -> Amount:
    """Return an integer amount from ``low`` to ``high - 1``."""
    return lambda rng: int(rng.integers(low, high))


def draw_amounts(rng: Generator, amounts: tuple[Amount, ...]) -> list[float]:
    """Draw amounts in their order."""
    return [amount(rng) if callable(amount) else amount for amount in amounts]


def spectrum(create: Callable[..., np.ndarray], *amounts: Amount) -> Spectrum:
    """Return a function that draws a noise spectrum with these amounts."""
    return lambda rng: create(*draw_amounts(rng, amounts))


def some(add: Callable[..., None], *amounts: Amount, share: float = 1.0) -> Contaminate:
    """Return a function that adds a contaminant to a share of the frames."""

    def contaminate(rng: Generator, image: np.ndarray) -> None:
        if share == 1.0 or rng.uniform() < share:
            add(rng, image, *draw_amounts(rng, amounts))

    return contaminate


def correlated_spectrum(rng: Generator) -> np.ndarray:
    """Draw the spectrum of correlated noise: partly smoothed, coupled or resampled."""
    kind = rng.integers(3)
    if kind == 0:
        return noise.smoothed_spectrum(rng.uniform(0.25, 0.45), rng.uniform(0.6, 0.9))
    if kind == 1:
        return noise.coupled_spectrum(rng.uniform(0.01, 0.04))
    # Half of the noise is resampled, because exposure and stack are aligned.
    return noise.normalize_spectrum(0.5 + 0.5 * noise.resampled_spectrum(*rng.uniform(0.1, 0.5, 2)))


WHITE = spectrum(noise.white_spectrum)
SETS: dict[str, tuple[Spectrum, tuple[Contaminate, ...]]] = {
    "white_noise": (WHITE, ()),
    "correlated_noise": (correlated_spectrum, ()),
    "row_noise": (
        spectrum(noise.row_noise_spectrum, log_uniform(0.002, 0.03), uniform(0.04, 0.25), uniform(0.03, 0.1)),
        (some(stray_light.add_bands, count(2, 12), 0.4), some(stray_light.add_steps, 0.15)),
    ),
    "bad_pixels": (
        WHITE,
        (
            some(defects.add_fixed_pattern, uniform(0.0, 0.2)),
            some(defects.add_clusters, count(5, 60)),
            some(defects.add_bad_pixels, uniform(0.0, 0.015), uniform(0.02, 0.2)),
        ),
    ),
    "old_blobs": (WHITE, (some(defects.add_old_blobs, log_uniform(0.1, 1.0), uniform(0.0, 0.04)),)),
    "streaks": (
        WHITE,
        (some(stray_light.add_streaks, uniform(0.6, 1.5)), some(stray_light.add_trails, count(0, 4))),
    ),
    "triplets": (WHITE, (some(stray_light.add_triplets, count(3, 12), np.pi),)),
    "stars": (
        WHITE,
        (some(stray_light.add_stars, count(20, 120)), some(stray_light.add_persistence, count(0, 30))),
    ),
    "glow": (
        WHITE,
        (some(stray_light.add_glow, log_uniform(0.2, 1.5)), some(stray_light.add_steps, 0.1)),
    ),
    "structures": (WHITE, (some(defects.add_structures, uniform(0.5, 1.5)),)),
    "all_together": (
        spectrum(noise.smoothed_spectrum, 0.37, 0.7),  # as measured
        (
            some(stray_light.add_glow, log_uniform(0.1, 0.5)),
            some(stray_light.add_steps, 0.05),
            some(stray_light.add_bands, count(0, 4), 0.2),
            some(defects.add_old_blobs, log_uniform(0.1, 0.4), 0.02),
            some(stray_light.add_streaks, uniform(0.5, 1.0), share=0.35),
            some(stray_light.add_triplets, count(1, 5), 0.02, share=0.5),
            some(stray_light.add_trails, 1, share=0.2),
            some(stray_light.add_stars, count(0, 20)),
            some(stray_light.add_persistence, count(0, 5)),
            some(defects.add_fixed_pattern, uniform(0.0, 0.1)),
            some(defects.add_clusters, count(2, 25)),
            some(defects.add_bad_pixels, uniform(0.007, 0.0145), uniform(0.02, 0.1)),
            some(defects.add_structures, uniform(0.3, 1.0)),
        ),
    ),
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
    draw_spectrum, contaminants = SETS[name]
    power = draw_spectrum(rng)
    image = noise.draw_noise(rng, power)
    scene = np.zeros_like(image)
    for contaminate in contaminants:
        contaminate(rng, scene)
    image += scene
    defects.mask_border(image)
    free = np.isfinite(image) & ~defects.inside_ring(image.shape)
    stamps = draw_stamps(rng, free, blobs, templates)
    table = np.zeros(len(stamps), dtype=BLOB)
    for row, stamp in zip(table, stamps, strict=True):
        snr = draw_log_uniform(rng, *FAINT) if rng.uniform() < FAINT_SHARE else rng.uniform(*BRIGHT)
        row["x"], row["y"], row["snr"] = stamp.x, stamp.y, snr
        row["half_width"], row["kind"] = stamp.half_width, stamp.kind
        defects.add_stamp(image, stamp, snr)
    return RobustnessFrame(image, table, stamps, power)


def draw_stamps(
    rng: Generator, finite: np.ndarray, number: int, templates: Sequence[np.ndarray]
) -> list[Stamp]:
    """Draw shapes at separate positions, with most of their power on finite pixels."""
    stamps: list[Stamp] = []
    for _ in range(50 * number):
        if len(stamps) == number:
            break
        x, y = rng.uniform(INSIDE, finite.shape[1] - 1 - INSIDE, 2)
        if any(np.hypot(x - other.x, y - other.y) < APART for other in stamps):
            continue
        if templates and rng.uniform() < TEMPLATE_SHARE:
            stamp = render_template(templates[int(rng.integers(len(templates)))], x, y)
        else:
            stamp = render(draw_shape(rng), x, y)
        region, part = stamp.clip(finite.shape)
        if float((part**2 * finite[region]).sum()) >= USABLE:
            stamps.append(stamp)
    return stamps
