"""Shapes of blobs for the robustness sets, which exceed the range of the training shapes."""

from dataclasses import dataclass

import numpy as np

OVERSAMPLE = 3  # samples along each side of a pixel
FAINTEST = 0.002  # of the peak, at the edge of a stamp
LARGE_SHARE = 0.35  # share of large blobs, which have a low surface brightness
LARGE = (7.5, 12.5)  # half-width in pixels
SMALL = (2.0, 9.0)
PATTERNED = (5.0, 12.5)  # rings and lobes; smaller ones would be clusters of pixels
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
TEMPLATE_SHARE = 0.3  # share of measured profiles, if the user provides any


@dataclass(frozen=True)
class Shape:
    """A shape; lengths are fractions of the half-width.

    Attributes
    ----------
    kind : str
    half_width : float
        Pixels.
    exponent : float
        Exponent of the superellipse: 1 diamond, 2 ellipse, above 2 nearly a square.
    edge : float
        Steepness of the edge: 2 Gaussian, 20 flat top.
    axis_ratio, angle : float
        Axis ratio and position angle (radians) of the superellipse.
    lobes : tuple of (x, y, size)
        The shape is the union of these parts.
    outline : tuple of (amplitude, phase)
        Waves of the radius around the centre, starting with two periods.
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
        """Return the distance from the centre to the edge of the stamp, pixels."""
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
        Image with unit norm.
    left, bottom : int
        Pixel of the frame that corresponds to ``image[0, 0]``.
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

    def clip(self, shape: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray]:
        """Return the covered region of a frame and part of the stamp."""
        (y0, y1), (x0, x1) = (
            (max(0, start), max(0, min(side, start + len(self.image))))
            for start, side in zip((self.bottom, self.left), shape, strict=True)
        )
        part = self.image[y0 - self.bottom : y1 - self.bottom, x0 - self.left : x1 - self.left]
        return (slice(y0, y1), slice(x0, x1)), part


def draw_shape(rng: np.random.Generator) -> Shape:
    """Draw the kind, size and outline of a shape."""
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
    """Return the stamp of a shape at a position, averaged over each pixel."""
    left, bottom, side = round(x) - shape.reach, round(y) - shape.reach, 2 * shape.reach + 1
    samples = (np.arange(side * OVERSAMPLE) + 0.5) / OVERSAMPLE - 0.5
    u, v = (samples + left - x) / shape.half_width, (samples + bottom - y) / shape.half_width
    light = shape.profile(u[None, :], v[:, None])
    image = light.reshape(side, OVERSAMPLE, side, OVERSAMPLE).mean(axis=(1, 3))
    return as_stamp(image, left, bottom, shape.half_width, shape.kind)


def render_template(profile: np.ndarray, x: float, y: float) -> Stamp:
    """Return the stamp of a measured profile, centred on its middle pixel, at a position."""
    from scipy.ndimage import shift

    middle = profile.shape[0] // 2
    left, bottom = int(np.floor(x)) - middle, int(np.floor(y)) - middle
    moved = shift(np.pad(profile, ((0, 1), (0, 1))), (y % 1, x % 1), order=1)
    half_width = float(np.sqrt((profile > 0.5 * profile.max()).sum() / np.pi))
    return as_stamp(moved, left, bottom, half_width, TEMPLATE)


def as_stamp(image: np.ndarray, left: int, bottom: int, half_width: float, kind: str) -> Stamp:
    """Return an image as a stamp with unit norm and its centroid."""
    places, light = np.arange(len(image)), np.abs(image)
    x = left + (light.sum(axis=0) @ places) / light.sum()
    y = bottom + (light.sum(axis=1) @ places) / light.sum()
    unit = (image / np.sqrt((image**2).sum())).astype(np.float32)
    return Stamp(unit, left, bottom, float(x), float(y), half_width, kind)
