"""Effects on whole training frames: noise, stripes, glow and outliers.

The ranges are far wider than measured, so that the network does not learn the simulator's noise.
"""

from collections.abc import Callable

import numpy as np

from blobwatch.dataset.injection import draw_log_uniform, draw_sign


def add_frame_effects(rng: np.random.Generator, image: np.ndarray, noise: float) -> None:
    """Add noise and random frame effects to an image in place.

    Parameters
    ----------
    rng : Generator
    image : ndarray, shape (1024, 1024), float64, fraction of the background
    noise : float
        Per pixel, fraction of the background.
    """
    scene = np.zeros_like(image)  # in units of the noise
    scene += rng.uniform(0.3, 1.7) * draw_noise(rng, image.shape)
    unit = np.hypot(1.0, scene.std())
    for effect, share in FRAME_EFFECTS.items():
        if rng.uniform() < share:
            scene += unit * effect(rng, image.shape)
    image += noise * scene


def draw_noise(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw one kind of noise with unit scatter, or zeros."""
    from scipy.ndimage import gaussian_filter, gaussian_filter1d, shift

    kind = rng.choice(["none", "white", "smooth", "coupled", "resampled", "tails", "drift"], p=NOISE_SHARES)
    if kind == "none":
        return np.zeros(shape)
    white: np.ndarray = rng.standard_normal(shape, dtype=np.float32)
    if kind == "smooth":
        white = gaussian_filter(white, rng.uniform(0.3, 1.2), mode="wrap")
    elif kind == "coupled":
        smooth = gaussian_filter(white, rng.uniform(0.5, 1.5), mode="wrap")
        white = smooth / smooth.std() * rng.uniform(0.2, 1.0) + rng.standard_normal(shape, dtype=np.float32)
    elif kind == "resampled":
        white = shift(white, rng.uniform(0.1, 0.5, 2), order=1, mode="grid-wrap")
    elif kind == "tails":
        white = rng.standard_t(rng.uniform(3, 8), shape)
    elif kind == "drift":
        axis, length = int(rng.integers(2)), draw_log_uniform(rng, 4, 100)
        drift = gaussian_filter1d(white, length, axis=axis, mode="wrap")
        white = rng.standard_normal(shape, dtype=np.float32) + rng.uniform(0.1, 0.4) * drift / drift.std()
    return white / white.std()


def draw_stripes(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw offsets of rows and columns in each half, and steps between quadrants."""
    middle = shape[0] // 2
    scene = np.zeros(shape)
    for half in (np.s_[:middle], np.s_[middle:]):
        rows, columns = (rng.normal(0.0, draw_log_uniform(rng, 0.01, 0.5), size) for size in shape)
        scene[:, half] += rows[:, None]
        scene[half] += columns[None, :]
        scene[half] += rng.normal(0.0, 0.15)
    return scene


def draw_glow(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw residual glow: waves across the frame and light at one side."""
    v, u = (np.linspace(-1, 1, size) for size in shape)
    terms = sum(
        rng.normal(0.0, 0.5)
        * np.outer(np.cos(rng.uniform(0, 9) * v + rng.uniform(0, 6)), np.cos(rng.uniform(0, 9) * u))
        for _ in range(3)
    )
    side = rng.normal(0.0, 1.0) * np.exp(-(1 + rng.choice([-1, 1]) * u) / rng.uniform(0.05, 0.4))
    return terms + side[None, :]


def draw_outliers(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw bad pixels with heavy tails and hard-edged clusters up to 4 x 4."""
    scene = np.zeros(shape)
    count = int(draw_log_uniform(rng, 1e-4, 1e-2) * scene.size)
    positions = rng.integers(0, scene.size, count)
    signs = rng.choice([-1.0, 1.0], count, p=[0.6, 0.4])
    scene.flat[positions] = signs * rng.exponential(draw_log_uniform(rng, 2.0, 20.0), count)
    for _ in range(int(draw_log_uniform(rng, 2, 80))):
        y, x = (int(rng.integers(0, side - 4)) for side in shape)
        height, width = rng.choice([1, 2, 3, 4], 2, p=[0.35, 0.4, 0.2, 0.05])
        value = draw_sign(rng, 0.5) * draw_log_uniform(rng, 2.0, 60.0)
        mask = rng.uniform(size=(height, width)) < rng.choice([1.0, 0.7])
        scene[y : y + height, x : x + width] += value * rng.uniform(0.5, 1.0, (height, width)) * mask
    return scene


FRAME_EFFECTS: dict[Callable[[np.random.Generator, tuple[int, int]], np.ndarray], float] = {
    draw_stripes: 0.4,
    draw_glow: 0.3,
    draw_outliers: 0.6,
}
NOISE_SHARES = (0.2, 0.1, 0.25, 0.2, 0.1, 0.05, 0.1)
