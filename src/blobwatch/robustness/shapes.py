"""Shapes of blobs for the robustness sets, beyond those that a network is trained on."""

from dataclasses import dataclass

import numpy as np

OVERSAMPLE = 3  # samples along each side of a pixel
FAINTEST = 0.002  # of the peak: where a stamp ends
LARGE_SHARE = 0.35  # of low surface brightness
LARGE = (7.5, 12.5)  # half-width in pixels
SMALL = (2.0, 9.0)
PATTERNED = (5.0, 12.5)  # of rings and lobes; smaller ones would be clusters of pixels
SMALLEST_IRREGULAR = 3.0
KINDS = {
    "superellipse": 0.35,
    "soft": 0.1,
    "ring": 0.13,
    "dotted ring": 0.12,
    "lobes": 0.15,
    "irregular": 0.15,
}
TEMPLATE = "template"
TEMPLATE_SHARE = 0.3  # where the user has some


@dataclass(frozen=True)
class Shape:
    """One shape; lengths are fractions of the half-width.

    Attributes
    ----------
    kind : str
    half_width : float
        Pixels.
    exponent : float
        Of the superellipse: 1 a diamond, 2 an ellipse, above 2 squarish.
    edge : float
        Steepness of the edge: 2 a Gaussian, 20 a flat top.
    axis_ratio, angle : float
        Of the superellipse; radians.
    lobes : tuple of (x, y, size)
        Parts of which the shape is the union.
    outline : tuple of (amplitude, phase)
        Waves of the radius around the centre, from two periods upward.
    hole, hole_depth, dot : float
        Radius and depth of the hole of a ring, and height of the dot inside.
    """

    kind: str
    half_width: float
    exponent: float = 2.0
    edge: float = 5.0
    axis_ratio: float = 1.0
    angle: float = 0.0
    lobes: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 1.0),)
    outline: tuple[tuple[float, float], ...] = ()
    hole: float = 0.0
    hole_depth: float = 0.0
    dot: float = 0.0

    @property
    def reach(self) -> int:
        """Pixels from the centre to the end of the stamp."""
        fade = (np.log(1 / FAINTEST) / np.log(2)) ** (1 / self.edge)
        stretch = max(self.axis_ratio, 1 / self.axis_ratio) ** 0.5 * max(1.0, 2 ** (0.5 - 1 / self.exponent))
        stretch *= 1 + sum(amplitude for amplitude, _ in self.outline)
        ends = [np.hypot(x, y) + size * fade * stretch for x, y, size in self.lobes]
        return int(np.ceil(self.half_width * max(ends))) + 1

    def profile(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the brightness, at most 1, at offsets from the centre in half-widths."""
        light = np.ones(np.broadcast_shapes(x.shape, y.shape))
        for left, bottom, size in self.lobes:
            rho = self.distance((x - left) / size, (y - bottom) / size)
            light *= 1.0 - np.exp(-np.log(2.0) * np.minimum(rho, 20.0) ** self.edge)
        light = 1.0 - light
        if self.hole:
            inside = np.hypot(x, y) / self.hole
            hole = np.exp(-(inside**4)) * (1.0 - self.dot * np.exp(-((inside / 0.45) ** 2)))
            light *= 1.0 - self.hole_depth * hole
        return light

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the distance from the centre, 1 at the half-width."""
        cos, sin, ratio = np.cos(self.angle), np.sin(self.angle), np.sqrt(self.axis_ratio)
        u, v = (cos * x + sin * y) / ratio, (cos * y - sin * x) * ratio
        rho = (np.abs(u) ** self.exponent + np.abs(v) ** self.exponent) ** (1 / self.exponent)
        if self.outline:
            turn = np.arctan2(v, u)
            waves = (a * np.cos((n + 2) * turn + phase) for n, (a, phase) in enumerate(self.outline))
            rho = rho / (1.0 + sum(waves))
        return rho


@dataclass(frozen=True)
class Stamp:
    """A shape on the pixels of a frame.

    Attributes
    ----------
    image : ndarray, shape (n, n), float32
        Of unit norm.
    left, bottom : int
        Pixel of the frame on which ``image[0, 0]`` falls.
    x, y : float
        Centroid, pixels of the frame.
    half_width : float
        Pixels.
    kind : str
    """

    image: np.ndarray
    left: int
    bottom: int
    x: float
    y: float
    half_width: float
    kind: str


def draw_shape(rng: np.random.Generator) -> Shape:
    """Draw a shape: its kind, its size and its outline."""
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    large = rng.uniform() < LARGE_SHARE
    half_width = rng.uniform(*LARGE) if large else np.exp(rng.uniform(*np.log(SMALL)))
    common = {
        "exponent": rng.uniform(0.8, 3.0),
        "edge": np.exp(rng.uniform(np.log(2.5), np.log(25.0))),
        "axis_ratio": np.exp(rng.normal(0.0, 0.2)),
        "angle": rng.uniform(0.0, np.pi),
    }
    if kind == "soft":
        common |= {"edge": rng.uniform(1.4, 2.5), "exponent": 2.0}
    if kind.endswith("ring"):
        half_width = rng.uniform(*PATTERNED)
        common |= {"hole": rng.uniform(0.3, 0.65), "hole_depth": rng.uniform(0.4, 0.9)}
        common |= {"dot": rng.uniform(0.5, 1.0) if kind == "dotted ring" else 0.0}
    if kind == "lobes":
        half_width = rng.uniform(*PATTERNED)
        common |= {"lobes": draw_lobes(rng)}
    if kind == "irregular":
        half_width = max(half_width, SMALLEST_IRREGULAR)
        common |= {"outline": tuple((rng.uniform(0.0, 0.2), rng.uniform(0, 2 * np.pi)) for _ in range(4))}
        common |= {"exponent": rng.uniform(1.2, 2.5)}
    return Shape(kind, float(half_width), **common)


def draw_lobes(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """Draw two or three lobes around the centre."""
    count, turn = int(rng.integers(2, 4)), rng.uniform(0, 2 * np.pi)
    angles = turn + 2 * np.pi * np.arange(count) / count + rng.normal(0.0, 0.2, count)
    away, sizes = rng.uniform(0.4, 0.75, count), rng.uniform(0.5, 0.8, count)
    return tuple(zip(away * np.cos(angles), away * np.sin(angles), sizes, strict=True))


def render(shape: Shape, x: float, y: float) -> Stamp:
    """Return a shape around a position, averaged over each pixel."""
    left, bottom, side = round(x) - shape.reach, round(y) - shape.reach, 2 * shape.reach + 1
    samples = (np.arange(side * OVERSAMPLE) + 0.5) / OVERSAMPLE - 0.5
    u, v = (samples + left - x) / shape.half_width, (samples + bottom - y) / shape.half_width
    light = shape.profile(u[None, :], v[:, None])
    image = light.reshape(side, OVERSAMPLE, side, OVERSAMPLE).mean(axis=(1, 3))
    return as_stamp(image, left, bottom, shape.half_width, shape.kind)


def render_template(profile: np.ndarray, x: float, y: float) -> Stamp:
    """Return a measured profile, centred on its middle pixel, around a position."""
    from scipy.ndimage import shift

    middle = profile.shape[0] // 2
    left, bottom = int(np.floor(x)) - middle, int(np.floor(y)) - middle
    moved = shift(np.pad(profile, ((0, 1), (0, 1))), (y % 1, x % 1), order=1)
    half_width = float(np.sqrt((profile > 0.5 * profile.max()).sum() / np.pi))
    return as_stamp(moved, left, bottom, half_width, TEMPLATE)


def as_stamp(image: np.ndarray, left: int, bottom: int, half_width: float, kind: str) -> Stamp:
    """Return an image as a stamp of unit norm with its centroid."""
    places, light = np.arange(len(image)), np.abs(image)
    x = left + (light.sum(axis=0) @ places) / light.sum()
    y = bottom + (light.sum(axis=1) @ places) / light.sum()
    unit = (image / np.sqrt((image**2).sum())).astype(np.float32)
    return Stamp(unit, left, bottom, float(x), float(y), half_width, kind)
