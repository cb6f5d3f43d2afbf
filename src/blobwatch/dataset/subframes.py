"""Cutting labelled subframes out of one difference image."""

from dataclasses import dataclass, field, replace

import numpy as np

from blobwatch.dataset.contamination import contaminate, vary_noise
from blobwatch.dataset.injection import (
    Draw,
    draw_injected,
    draw_known,
    draw_wide,
    inject,
    with_templates,
)
from blobwatch.dataset.shards import BLOB, SUBFRAME, Shard, turn, turn_image
from blobwatch.errors import BlobwatchError
from blobwatch.images.scaling import level_and_noise, scale_frame, to_steps
from blobwatch.images.tiling import SUBFRAME as SIZE
from blobwatch.images.tiling import tiles
from blobwatch.instrument.blobs import Blob, depth_for, snr_of
from blobwatch.instrument.differences import Difference
from blobwatch.instrument.templates import Template

FAINT = 4.0  # SNR below which a blob that enters the stack counts neither as there nor as absent
EDGE = 15  # pixels; a blob this far outside a cut still shows in it
MARGIN = 10  # pixels; a blob this far inside a cut shows whole enough


@dataclass(frozen=True)
class Recipe:
    """How subframes are drawn; ``params.yaml`` explains each."""

    snr: tuple[float, float]
    blobs: tuple[int, int]
    contaminated: float
    wide: bool = False  # blob shapes and noise far wider than the instrument's, for training
    templates: tuple[Template, ...] = ()  # shapes of real blobs, beside the drawn ones
    template_share: float = 0.0
    labelled: float = 0.0  # share of the cuts that are made around a labelled place, where there is one

    @property
    def draw(self) -> Draw:
        """How a blob's shape is drawn."""
        shapes = draw_wide if self.wide else draw_known
        return with_templates(shapes, list(self.templates), self.template_share)

    @property
    def margin(self) -> float:
        """How far blobs keep from a cut's edges: frames are judged whole, so only their own edge cuts one."""
        return 0.0 if self.wide else MARGIN


@dataclass(frozen=True)
class Frame:
    """A difference image made ready for cutting.

    Attributes
    ----------
    image : ndarray, shape (1024, 1024), float32, fraction of the background
    light : ndarray, the same
        The exposure's blob image.
    level, noise : float
        Median and noise per pixel of the image.
    new : list of Blob
        The season's own new blobs in it.
    faint : list of Blob
        Those that are all but gone, taken in by the stack; whether they are new is nobody's to say.
    hard : ndarray, shape (k, 2)
        Places ``x, y`` that could be taken for a blob, or that hold an old one.
    rootname : str
    labelled : ndarray, shape (k, 2)
        Places ``x, y`` of which somebody said what they hold.
    """

    image: np.ndarray
    light: np.ndarray
    level: float
    noise: float
    new: list[Blob]
    faint: list[Blob]
    hard: np.ndarray
    rootname: str
    labelled: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))


def prepare(
    difference: Difference, new: list[Blob], unclear: list[Blob] = (), labelled: np.ndarray | None = None
) -> Frame:
    """Make a difference image ready for cutting.

    Parameters
    ----------
    difference : Difference
    new : list of Blob
        Those that it shows, with the depth that it shows.
    unclear : list of Blob
        Places of blobs of which nobody knows whether they are there yet.
    labelled : ndarray, shape (k, 2), optional
        Places ``x, y`` of which somebody said what they hold.
    """
    level, noise = level_and_noise(difference.image)
    stack = difference.stack
    light = np.nan_to_num((1.0 if stack is None else stack) - difference.image, nan=1.0)
    clear = [blob for blob in new if snr_of(blob, noise) >= FAINT]
    faint = [blob for blob in new if snr_of(blob, noise) < FAINT]
    faint += [replace(blob, depth=min(blob.depth, depth_for(blob, FAINT / 2, noise))) for blob in unclear]
    hard = hard_places(difference.image, stack, [*new, *unclear])
    labelled = np.empty((0, 2)) if labelled is None else labelled
    return Frame(difference.image, light, level, noise, clear, faint, hard, difference.rootname, labelled)


def hard_places(image: np.ndarray, stack: np.ndarray | None, new: list[Blob], most: int = 60) -> np.ndarray:
    """Return the places most like a blob that are none, and the old blobs, whose residuals remain.

    Parameters
    ----------
    image, stack : ndarray, shape (ny, nx)
        The old blobs are the dips of the stack, where there is one.
    new : list of Blob
        Places within 25 pixels of one of these are left out.
    most : int
        Of each kind.

    Returns
    -------
    ndarray, shape (k, 2), int
        ``x, y``
    """
    scaled = scale_frame(image)
    planes = [scaled, -scaled] + ([] if stack is None else [-scale_frame(stack)])
    found = [brightest(plane, most) for plane in planes]
    places = np.concatenate(found)
    keep = np.ones(len(places), dtype=bool)
    for blob in new:
        keep &= np.hypot(places[:, 0] - blob.x, places[:, 1] - blob.y) > 25
    return places[keep]


def brightest(scaled: np.ndarray, most: int, block: int = 8, cell: int = 4) -> np.ndarray:
    """Return the brightest places of an image averaged over blocks the size of a blob.

    At most one per cell of ``cell`` x ``cell`` blocks; a place is the middle of its block.
    """
    rows, columns = (side // (block * cell) for side in scaled.shape)
    mean = scaled.reshape(rows * cell, block, columns * cell, block).mean(axis=(1, 3), dtype=np.float64)
    cells = mean.reshape(rows, cell, columns, cell).swapaxes(1, 2).reshape(rows * columns, cell * cell)
    best = cells.argmax(axis=1)
    order = np.argsort(-cells.max(axis=1), kind="stable")[:most]
    y = (order // columns) * cell + best[order] // cell
    x = (order % columns) * cell + best[order] % cell
    return np.stack([x, y], axis=1) * block + block // 2


def cut_subframes(
    rng: np.random.Generator, frame: Frame, count: int, recipe: Recipe, start: int = 0
) -> Shard:
    """Cut labelled subframes out of one difference image, half of them with blobs.

    Parameters
    ----------
    rng : Generator
    frame : Frame
    count : int
    recipe : Recipe
    start : int
        How many of its split come before; even ones get blobs, so odd counts leave the split balanced.
    """
    images = np.empty((count, SIZE, SIZE), dtype=np.int8)
    subframes = np.zeros(count, dtype=SUBFRAME)
    blobs: list[tuple] = []
    for index in range(count):
        positive = (start + index) % 2 == 0
        x0, y0, hard = place_cut(rng, frame, positive, recipe.labelled)
        cut = frame.image[y0 : y0 + SIZE, x0 : x0 + SIZE].astype(np.float64)
        light = frame.light[y0 : y0 + SIZE, x0 : x0 + SIZE]
        own = [blob for blob in frame.new if inside(blob, x0, y0)]
        level, noise = frame.level, frame.noise
        if recipe.wide and not own:  # its own blobs keep the SNR they are listed with
            vary_noise(rng, cut, noise)
            level, noise = level_and_noise(cut)
        contaminated = rng.uniform() < recipe.contaminated
        kind = contaminate(rng, cut, noise, recipe.wide) if contaminated else ""
        added = add_blobs(rng, cut, light, noise, own, x0, y0, recipe) if positive else []
        flipped, turns = bool(rng.integers(2)), int(rng.integers(4))
        images[index] = turn_image(to_steps(scale_frame(cut, level, noise)), flipped, turns)
        subframes[index] = (bool(own or added), x0, y0, flipped, turns, hard, kind)
        for blob, injected in [(b, False) for b in own] + [(b, True) for b in added]:
            x, y = turn(blob.x - x0, blob.y - y0, flipped, turns, SIZE)
            blobs.append(blob_row(index, x, y, blob, noise, injected))
    return Shard(images, subframes, np.array(blobs, dtype=BLOB), np.full(count, frame.rootname))


def place_cut(
    rng: np.random.Generator, frame: Frame, positive: bool, labelled: float = 0.0
) -> tuple[int, int, bool]:
    """Draw where to cut: around a labelled place, anywhere, or, for half of the rest, around a hard place.

    A cut that is to hold no blob avoids the season's own; any cut avoids faint ones, and those that
    reach into it from outside.
    """
    last = frame.image.shape[0] - SIZE
    for _ in range(100):
        places = frame.labelled if len(frame.labelled) and rng.uniform() < labelled else frame.hard
        hard = places is frame.labelled or (bool(rng.uniform() < 0.5) and len(frame.hard) > 0)
        if hard:
            x, y = np.round(places[rng.integers(len(places))]).astype(int)
            x0, y0 = (int(np.clip(c - rng.integers(16, SIZE - 16), 0, last)) for c in (x, y))
        else:
            x0, y0 = (int(c) for c in rng.integers(0, last + 1, 2))
        unclear = frame.faint + [b for b in frame.new if not (positive and inside(b, x0, y0, -MARGIN))]
        if not any(inside(blob, x0, y0, EDGE) for blob in unclear):
            return x0, y0, hard
    raise BlobwatchError(
        f"{frame.rootname} has so many new blobs that no clear subframe is left; leave it out"
    )


def inside(blob: Blob, x0: int, y0: int, margin: float = 0.0) -> bool:
    """Tell whether a blob's centre lies in the cut, or within ``margin`` pixels of it."""
    low, high = -0.5 - margin, SIZE - 0.5 + margin
    return low <= blob.x - x0 < high and low <= blob.y - y0 < high


def add_blobs(
    rng: np.random.Generator,
    cut: np.ndarray,
    light: np.ndarray,
    noise: float,
    own: list[Blob],
    x0: int,
    y0: int,
    recipe: Recipe,
) -> list[Blob]:
    """Inject blobs into a cut in place and return them."""
    added: list[Blob] = []
    for _ in range(int(rng.integers(recipe.blobs[0], recipe.blobs[1] + 1))):
        blob = draw_injected(rng, SIZE, x0, y0, own + added, recipe.snr, noise, recipe.draw, recipe.margin)
        # A blob on dead pixels would be a label without a blob.
        if blob is not None and np.isfinite(cut[round(blob.y - y0), round(blob.x - x0)]):
            inject(cut, light, blob, x0, y0)
            added.append(blob)
    return added


def blob_row(index: int, x: float, y: float, blob: Blob, noise: float, injected: bool) -> tuple:
    """Return a row of dtype `BLOB`."""
    snr = snr_of(blob, noise)
    shape = (blob.half_width, blob.depth, blob.axis_ratio, blob.exponent, blob.edge, blob.hole, blob.collar)
    return (index, x, y, blob.x, blob.y, snr, injected, *shape)


def whole_frame(frame: Frame) -> Shard:
    """Return the sixteen subframes of a whole frame as they are, with the season's own new blobs.

    Faint ones are listed too, but make no subframe positive.
    """
    scaled = to_steps(scale_frame(frame.image, frame.level, frame.noise))
    images = np.stack([scaled[tile.region] for tile in tiles()])
    subframes = np.zeros(len(images), dtype=SUBFRAME)
    blobs = []
    for tile in tiles():
        own = [blob for blob in frame.new if tile.holds(blob.x, blob.y)]
        faint = [blob for blob in frame.faint if tile.holds(blob.x, blob.y)]
        subframes[tile.index] = (bool(own), tile.x0, tile.y0, False, 0, False, "")
        for b in own + faint:
            blobs.append(blob_row(tile.index, b.x - tile.x0, b.y - tile.y0, b, frame.noise, False))
    return Shard(images, subframes, np.array(blobs, dtype=BLOB), np.full(len(images), frame.rootname))
