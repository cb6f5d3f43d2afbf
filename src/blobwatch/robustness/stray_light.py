"""Light from other sources: streaks, trails, triplets, stars, persistence, glow and banding.

Each function adds to an image in place, in units of the noise per pixel; excess light is negative. Light
that remains in the stack has the opposite sign and is faint.
"""

import numpy as np


def add_line(
    image: np.ndarray,
    middle: tuple[float, float],
    length: float,
    angle: float,
    fwhm: float,
    amplitude: float,
    bend: float = 0.0,
) -> None:
    """Add a line with a Gaussian cross-section.

    ``middle`` is the position x, y, ``angle`` the angle from the x axis in radians, and ``bend`` the distance
    of the middle of the line from its chord. Lengths are in pixels.
    """
    cos, sin, margin = np.cos(angle), np.sin(angle), 3 * fwhm + abs(bend)
    half = abs(length / 2 * cos) + margin, abs(length / 2 * sin) + margin
    ends = [
        (max(0, int(place - reach)), min(side, int(place + reach) + 2))
        for place, reach, side in zip(middle, half, image.shape[::-1], strict=True)
    ]
    (left, right), (bottom, top) = ends
    if right <= left or top <= bottom:
        return
    u = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(middle[0])
    v = np.arange(bottom, top, dtype=np.float32)[:, None] - np.float32(middle[1])
    along, across = u * np.float32(cos) + v * np.float32(sin), v * np.float32(cos) - u * np.float32(sin)
    if bend:
        across = across - np.float32(bend) * (1 - (2 * along / np.float32(length)) ** 2)
    y, x = np.nonzero((np.abs(across) < 1.5 * fwhm) & (np.abs(along) < length / 2 + 2))
    profile = np.exp(-4 * np.log(2) * (across[y, x] / fwhm) ** 2)
    profile *= np.clip(length / 2 + 0.5 - np.abs(along[y, x]), 0.0, 1.0)
    image[bottom + y, left + x] += np.float32(amplitude) * profile


def draw_position(rng: np.random.Generator, image: np.ndarray) -> tuple[float, float]:
    """Draw a position x, y in an image."""
    return tuple(rng.uniform(0, image.shape[::-1]))


def draw_sign(rng: np.random.Generator, in_stack: float) -> float:
    """Return 0.4 (light in the stack) with probability ``in_stack``, else -1."""
    return 0.4 if rng.uniform() < in_stack else -1.0


def add_streaks(rng: np.random.Generator, image: np.ndarray, strength: float) -> None:
    """Add trails of lights on the Earth: parallel broken lines."""
    angle, sign = rng.uniform(0, np.pi), strength * draw_sign(rng, 0.2)
    for _ in range(int(rng.integers(8, 20))):
        x, y = draw_position(rng, image)
        fwhm, level, place = rng.uniform(2.0, 3.5), rng.uniform(0.4, 1.2), 0.0
        for _ in range(int(rng.integers(1, 5))):
            dash = rng.uniform(40.0, 200.0)
            middle = x + (place + dash / 2) * np.cos(angle), y + (place + dash / 2) * np.sin(angle)
            add_line(image, middle, dash, angle, fwhm, sign * level * rng.uniform(0.7, 1.3))
            place += dash + rng.uniform(15.0, 100.0)


def add_trails(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    """Add trails of satellites, which are long and slightly bent."""
    for _ in range(count):
        level, fwhm = np.exp(rng.uniform(np.log(0.5), np.log(30.0))), rng.uniform(2.0, 7.0)
        angle, bend = rng.uniform(0, np.pi), rng.normal(0.0, 15.0)
        amplitude = level * draw_sign(rng, 0.0 if level > 5 else 0.2)
        add_line(image, draw_position(rng, image), rng.uniform(600.0, 2000.0), angle, fwhm, amplitude, bend)


def add_triplets(rng: np.random.Generator, image: np.ndarray, count: int, tilt: float) -> None:
    """Add bundles of three parallel lines; ``tilt`` (radians) is their largest angle."""
    angle = rng.uniform(-tilt, tilt)
    sideways = np.array([-np.sin(angle), np.cos(angle)])
    for _ in range(count):
        place = np.array(draw_position(rng, image))
        gap, length = rng.uniform(8.0, 9.5), rng.uniform(120.0, 300.0)
        fwhm, level = rng.uniform(2.0, 3.0), rng.uniform(0.6, 1.4) * draw_sign(rng, 0.15)
        for start in (0.0, rng.uniform(80.0, 84.0))[: int(rng.integers(1, 3))]:
            for row, part in enumerate((1.0, 0.75, 1.0)):
                middle = tuple(place + (start + row * gap) * sideways)
                add_line(image, middle, length, angle, fwhm, level * part)


def add_stars(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    """Add undersampled stars, and faint stars that remain in the stack."""
    for _ in range(count):
        level = np.exp(rng.uniform(np.log(3.0), np.log(300.0)))
        amplitude = min(level, 6.0) * 0.4 if rng.uniform() < 0.15 else -level
        add_point(image, *draw_position(rng, image), rng.uniform(1.1, 2.2), amplitude)


def add_persistence(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    """Add the persistence of saturated stars: round spots larger than a star."""
    for _ in range(count):
        level = np.exp(rng.uniform(np.log(0.5), np.log(10.0)))
        add_point(image, *draw_position(rng, image), rng.uniform(2.0, 9.0), -level)


def add_point(image: np.ndarray, x: float, y: float, fwhm: float, amplitude: float) -> None:
    """Add a round Gaussian."""
    reach = int(np.ceil(2.5 * fwhm)) + 1
    left, bottom = max(0, int(x) - reach), max(0, int(y) - reach)
    part = image[bottom : int(y) + reach + 1, left : int(x) + reach + 1]
    v, u = np.ogrid[: part.shape[0], : part.shape[1]]
    square = (u + left - x) ** 2 + (v + bottom - y) ** 2
    part += (amplitude * np.exp(-4 * np.log(2) * square / fwhm**2)).astype(np.float32)


def add_glow(rng: np.random.Generator, image: np.ndarray, strength: float) -> None:
    """Add residual scattered light.

    It is at the left edge, at a diagonal limb, and in a smooth wave.
    """
    y, x = (np.linspace(0, 1, side, dtype=np.float32) for side in image.shape)
    y, x = y[:, None], x[None, :]
    left = -rng.uniform(0.3, 1.0) * np.exp(-x / rng.uniform(0.05, 0.2)) * (1 + rng.normal(0, 0.5) * (y - 0.5))
    angle = rng.uniform(0, 2 * np.pi)
    across = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) - rng.uniform(-0.4, 0.4)
    limb = -rng.uniform(0.2, 1.0) / (1 + np.exp(-across / rng.uniform(0.02, 0.1)))
    waves = rng.uniform(1.0, 6.0, 2)
    wave = rng.uniform(0.0, 0.4) * np.sin(2 * np.pi * (waves[0] * x + waves[1] * y) + angle)
    image += (strength * (left + limb + wave)).astype(np.float32)


def add_steps(rng: np.random.Generator, image: np.ndarray, rms: float) -> None:
    """Add an offset to each quadrant."""
    middle = [side // 2 for side in image.shape]
    for rows in (slice(None, middle[0]), slice(middle[0], None)):
        for columns in (slice(None, middle[1]), slice(middle[1], None)):
            image[rows, columns] += np.float32(rng.normal(0.0, rms))


def add_bands(rng: np.random.Generator, image: np.ndarray, count: int, strength: float) -> None:
    """Add bands of neighbouring rows or columns, as long as the frame or half of it."""
    for _ in range(count):
        view = image if rng.uniform() < 0.5 else image.T
        start, width = int(rng.integers(0, len(view) - 8)), int(rng.integers(1, 9))
        half = [slice(None), slice(None, 512), slice(512, None)][int(rng.integers(3))]
        view[start : start + width, half] += np.float32(strength * rng.normal())
