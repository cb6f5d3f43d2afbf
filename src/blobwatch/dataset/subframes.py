"""Labelled subframes, cut out of one difference image."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from blobwatch.dataset.contaminants import add_contaminants
from blobwatch.dataset.frame_effects import add_frame_effects
from blobwatch.dataset.injection import (
    BlobSampler,
    draw_blob_to_inject,
    draw_measured_blob,
    draw_wide_blob,
    inject_blob,
    mix_in_templates,
)
from blobwatch.dataset.shards import BLOB, SUBFRAME, Shard, orient_image, orient_position
from blobwatch.errors import BlobwatchError
from blobwatch.images.preparation import prepare_frame
from blobwatch.images.scaling import level_and_noise, quantize
from blobwatch.images.tiling import SUBFRAME as SIZE
from blobwatch.images.tiling import Tile, tiles
from blobwatch.instrument.blobs import Blob, blob_snr, depth_at_snr
from blobwatch.instrument.differences import Difference
from blobwatch.instrument.templates import Template

FAINT = 4.0  # SNR below which a fading blob counts neither as present nor as absent
EDGE = 15  # pixels; a blob this far outside a subframe is still visible in it
MARGIN = 14  # pixels; a blob this far inside a subframe is sufficiently complete
NO_POSITIONS = np.empty((0, 2))


@dataclass(frozen=True)
class Recipe:
    """Settings of subframes; ``params.yaml`` explains each."""

    snr: tuple[float, float]
    blobs: tuple[int, int]
    contaminated: float
    wide: bool = False  # blob shapes and noise far beyond the instrument's, for training
    templates: tuple[Template, ...] = ()  # shapes of real blobs, in addition to the drawn ones
    template_share: float = 0.0
    labelled: float = 0.0  # share of the subframes replaced by one with a labelled position, if any

    @property
    def draw(self) -> BlobSampler:
        """Return the sampler of blob shapes."""
        shapes = draw_wide_blob if self.wide else draw_measured_blob
        return mix_in_templates(shapes, list(self.templates), self.template_share)


@dataclass(frozen=True)
class Frame:
    """A difference image with its blobs, ready for cutting.

    Attributes
    ----------
    image : ndarray, shape (1024, 1024), float32, fraction of the background
    light : ndarray, the same
        The exposure's blob image.
    noise : float
        Per pixel of the image.
    new : list of Blob
        New blobs in the exposure itself.
    faint : list of Blob
        New blobs that have nearly vanished into the stack, and ambiguous ones.
    rootname : str
    labelled : ndarray, shape (k, 2), positions ``x, y`` with a label
    """

    image: np.ndarray
    light: np.ndarray
    noise: float
    new: list[Blob]
    faint: list[Blob]
    rootname: str
    labelled: np.ndarray = field(default_factory=NO_POSITIONS.copy)


def create_frame(
    difference: Difference, new: list[Blob], unclear: Sequence[Blob] = (), labelled: np.ndarray = NO_POSITIONS
) -> Frame:
    """Combine a difference image and its blobs into a frame.

    Parameters
    ----------
    difference : Difference
    new : list of Blob
        New blobs with their visible depth.
    unclear : sequence of Blob
        Blobs that may or may not have appeared yet.
    labelled : ndarray, shape (k, 2), optional
        Positions ``x, y`` with a label.
    """
    _, noise = level_and_noise(difference.image)
    stack = 1.0 if difference.stack is None else difference.stack
    light = np.nan_to_num(stack - difference.image, nan=1.0)
    clear = [blob for blob in new if blob_snr(blob, noise) >= FAINT]
    faint = [blob for blob in new if blob_snr(blob, noise) < FAINT]
    faint += [replace(blob, depth=min(blob.depth, depth_at_snr(blob, FAINT / 2, noise))) for blob in unclear]
    return Frame(difference.image, light, noise, clear, faint, difference.rootname, labelled)


def cut_subframes(
    rng: np.random.Generator, frame: Frame, count: int, recipe: Recipe, start: int = 0
) -> Shard:
    """Cut labelled subframes out of one difference image, half of them with blobs.

    Every sixteen subframes come from one copy of the frame with new contaminants and blobs.

    Parameters
    ----------
    rng : Generator
    frame : Frame
    count : int
    recipe : Recipe
    start : int
        Number of earlier subframes in the split. Subframes with an even number get blobs, so that the whole
        split is balanced.

    Raises
    ------
    BlobwatchError
        If no subframe is unambiguous.
    """
    usable = usable_tiles(frame)
    images = np.empty((count, SIZE, SIZE), dtype=np.int8)
    subframes = np.zeros(count, dtype=SUBFRAME)
    blobs: list[tuple] = []
    for first in range(0, count, len(usable)):
        chosen = choose_tiles(rng, frame, usable, recipe.labelled)[: count - first]
        with_blobs = {tile.index for n, tile in enumerate(chosen) if (start + first + n) % 2 == 0}
        synthetic = synthesize_frame(rng, frame, recipe, {tile.index for tile in chosen}, with_blobs)
        for index, tile in enumerate(chosen, start=first):
            flipped, turns = bool(rng.integers(2)), int(rng.integers(4))
            images[index] = orient_image(synthetic.steps[tile.region], flipped, turns)
            contained = synthetic.blobs.get(tile.index, [])
            contaminant = synthetic.contaminants.get(tile.index, "")
            subframes[index] = (bool(contained), tile.x0, tile.y0, flipped, turns, contaminant)
            for blob, injected in contained:
                x, y = orient_position(blob.x - tile.x0, blob.y - tile.y0, flipped, turns, SIZE)
                blobs.append(make_blob_row(index, x, y, blob, synthetic.noise, injected))
    return Shard(images, subframes, np.array(blobs, dtype=BLOB), np.full(count, frame.rootname))


def usable_tiles(frame: Frame) -> list[Tile]:
    """Return the unambiguous subframes.

    Subframes with a faint blob, or with part of a blob from outside, are excluded.
    """
    usable = []
    for tile in tiles():
        unclear = frame.faint + [blob for blob in frame.new if not contains(tile, blob, -MARGIN)]
        if not any(contains(tile, blob, EDGE) for blob in unclear):
            usable.append(tile)
    if not usable:
        raise BlobwatchError(
            f"{frame.rootname}: all subframes are ambiguous because of new blobs. Remove this exposure"
        )
    return usable


def choose_tiles(rng: np.random.Generator, frame: Frame, usable: list[Tile], labelled: float) -> list[Tile]:
    """Return tiles in random order; replace a share by tiles with a label."""
    chosen = [usable[n] for n in rng.permutation(len(usable))]
    with_label = [tile for tile in usable if any(tile.contains(x, y) for x, y in frame.labelled)]
    if not with_label:
        return chosen
    return [
        with_label[rng.integers(len(with_label))] if rng.uniform() < labelled else tile for tile in chosen
    ]


@dataclass(frozen=True)
class SyntheticFrame:
    """A copy of a frame with contaminants and blobs, prepared for the network.

    Attributes
    ----------
    steps : ndarray, shape (1024, 1024), int8
    noise : float
        Per pixel, fraction of the background.
    blobs : dict of int to list of (Blob, bool)
        Blobs of each subframe, and whether each was injected.
    contaminants : dict of int to str
        Name of the contaminant of each subframe.
    """

    steps: np.ndarray
    noise: float
    blobs: dict[int, list[tuple[Blob, bool]]]
    contaminants: dict[int, str]


def synthesize_frame(
    rng: np.random.Generator, frame: Frame, recipe: Recipe, chosen: set[int], with_blobs: set[int]
) -> SyntheticFrame:
    """Add contaminants and blobs to a copy of a frame.

    Only the subframes with an index in ``chosen`` get contaminants; those in ``with_blobs`` get blobs.

    Notes
    -----
    The noise is measured before the injection, since a real frame has far fewer blobs.
    """
    image = frame.image.astype(np.float64)
    if recipe.wide:
        add_frame_effects(rng, image, frame.noise)
    contaminants = {}
    for tile in tiles():
        if tile.index in chosen and rng.uniform() < recipe.contaminated:
            contaminants[tile.index] = add_contaminants(rng, image[tile.region], frame.noise, recipe.wide)
    before = prepare_frame(image)
    noise = before.clean.noise
    blobs = {}
    for tile in tiles():
        contained = [(blob, False) for blob in frame.new if contains(tile, blob)]
        for _ in range(int(rng.integers(*recipe.blobs, endpoint=True)) if tile.index in with_blobs else 0):
            taken = [blob for blob, _ in contained]
            blob = draw_blob_to_inject(rng, tile, taken, recipe.snr, noise, recipe.draw, MARGIN)
            # On dead pixels, the label would have no visible blob.
            if blob is not None and np.isfinite(image[round(blob.y), round(blob.x)]):
                inject_blob(image, frame.light, blob, 0, 0)
                contained.append((blob, True))
        if contained:
            blobs[tile.index] = contained
    steps = quantize(prepare_frame(image, before.spectrum).scaled)
    return SyntheticFrame(steps, noise, blobs, contaminants)


def contains(tile: Tile, blob: Blob, margin: float = 0.0) -> bool:
    """Return whether a blob's centre is within ``margin`` pixels of a subframe."""
    low, high = -0.5 - margin, SIZE - 0.5 + margin
    return low <= blob.x - tile.x0 < high and low <= blob.y - tile.y0 < high


def make_blob_row(index: int, x: float, y: float, blob: Blob, noise: float, injected: bool) -> tuple:
    """Return a blob as a row of dtype `BLOB`."""
    snr = blob_snr(blob, noise)
    shape = (blob.half_width, blob.depth, blob.axis_ratio, blob.exponent, blob.edge, blob.hole, blob.collar)
    return (index, x, y, blob.x, blob.y, snr, injected, *shape)


def cut_whole_frame(frame: Frame) -> Shard:
    """Return the sixteen unmodified subframes of a frame.

    Faint blobs are listed, but do not make a subframe positive.
    """
    scaled = quantize(prepare_frame(frame.image.astype(np.float64)).scaled)
    images = np.stack([scaled[tile.region] for tile in tiles()])
    subframes = np.zeros(len(images), dtype=SUBFRAME)
    blobs = []
    for tile in tiles():
        own = any(contains(tile, blob) for blob in frame.new)
        subframes[tile.index] = (own, tile.x0, tile.y0, False, 0, "")
        for blob in frame.new + frame.faint:
            if contains(tile, blob):
                x, y = blob.x - tile.x0, blob.y - tile.y0
                blobs.append(make_blob_row(tile.index, x, y, blob, frame.noise, False))
    return Shard(images, subframes, np.array(blobs, dtype=BLOB), np.full(len(images), frame.rootname))
