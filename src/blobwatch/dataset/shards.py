"""Shards: one file per exposure with its subframes, labels, blobs and origin."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.files import atomic_file
from blobwatch.images.scaling import dequantize
from blobwatch.instrument.wfc3ir import Coordinate

SUBFRAME = np.dtype(
    [
        ("label", "i1"),  # 1: holds a new blob
        ("x0", "i2"),  # frame position of the cut's lower left pixel
        ("y0", "i2"),
        ("flipped", "i1"),  # left to right, before the turns
        ("turns", "i1"),  # quarter turns, counterclockwise
        ("contaminant", "U13"),  # name of the added contaminant, or empty
    ]
)
BLOB = np.dtype(
    [
        ("subframe", "i4"),  # index within the shard
        ("x", "f4"),  # centre in the turned subframe, pixels
        ("y", "f4"),
        ("frame_x", "f4"),  # centre in the 1024 frame, pixels
        ("frame_y", "f4"),
        ("snr", "f4"),
        ("injected", "i1"),  # 0: in the exposure itself
        ("half_width", "f4"),  # pixels; the shape's parameters as in `Blob`
        ("depth", "f4"),  # fraction of the background
        ("axis_ratio", "f4"),
        ("exponent", "f4"),
        ("edge", "f4"),
        ("hole", "f4"),
        ("collar", "f4"),
    ]
)


@dataclass(frozen=True)
class Shard:
    """Subframes of one or more exposures.

    Attributes
    ----------
    images : ndarray, shape (n, 256, 256), int8, steps of 1/16 sigma
    subframes : ndarray, shape (n,), dtype `SUBFRAME`
    blobs : ndarray, shape (m,), dtype `BLOB`
        Sorted by subframe.
    rootnames : ndarray, shape (n,), str
        The exposure of each subframe.
    """

    images: np.ndarray
    subframes: np.ndarray
    blobs: np.ndarray
    rootnames: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> np.ndarray:
        """Labels, shape (n,), int."""
        return self.subframes["label"].astype(int)

    def scaled(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Return images in sigma, float32."""
        return dequantize(self.images[index])

    def take(self, chosen: np.ndarray) -> "Shard":
        """Return the subframes with the sorted indices ``chosen``."""
        blobs = self.blobs[np.isin(self.blobs["subframe"], chosen)]
        blobs["subframe"] = np.searchsorted(chosen, blobs["subframe"])
        return Shard(self.images[chosen], self.subframes[chosen], blobs, self.rootnames[chosen])

    def blobs_of(self, index: int) -> np.ndarray:
        """Return the blobs of one subframe."""
        low, high = np.searchsorted(self.blobs["subframe"], (index, index + 1))
        return self.blobs[low:high]


def orient_position(
    x: Coordinate, y: Coordinate, flipped: bool, turns: int, size: int
) -> tuple[Coordinate, Coordinate]:
    """Transform positions as `orient_image` transforms the pixels."""
    if flipped:
        x = size - 1 - x
    for _ in range(turns % 4):
        x, y = y, size - 1 - x
    return x, y


def orient_image(image: np.ndarray, flipped: bool, turns: int) -> np.ndarray:
    """Flip an image left to right if ``flipped``, then rotate it by quarter turns."""
    return np.rot90(image[..., ::-1] if flipped else image, turns, axes=(-2, -1))


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard atomically."""
    with atomic_file(path) as partial:
        np.savez(partial, **vars(shard))  # images, subframes, blobs, rootnames


def read_split(folder: Path, split: str) -> Shard:
    """Read all shards of one split, sorted by name, as one shard.

    Parameters
    ----------
    folder : Path
        Output of the ``subframes`` stage.
    split : str
        ``train``, ``val``, ``test`` or ``final``.

    Raises
    ------
    BlobwatchError
        If there is no shard or one is damaged.
    """
    paths = sorted((Path(folder) / split).glob("*.npz"))
    if not paths:
        raise BlobwatchError(f"{folder}: no {split} subframes. Run `dvc repro subframes`")
    shards = [read_shard(path) for path in paths]
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    blobs = []
    for start, shard in zip(starts, shards, strict=False):
        blobs.append(shard.blobs.copy())
        blobs[-1]["subframe"] += start
    images, subframes, rootnames = (
        np.concatenate([getattr(shard, name) for shard in shards])
        for name in ("images", "subframes", "rootnames")
    )
    return Shard(images, subframes, np.concatenate(blobs), rootnames)


def read_shard(path: Path) -> Shard:
    """Read one shard without unpickling objects."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return Shard(file["images"], file["subframes"], file["blobs"], file["rootnames"])
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise BlobwatchError(f"{path}: damaged ({error}). Run `dvc repro subframes`") from None
