"""The sixteen subframes of a frame, row-major from the bottom row."""

from dataclasses import dataclass

from blobwatch.instrument import wfc3ir

SUBFRAME = 256  # pixels on a side
PER_SIDE = wfc3ir.SIZE // SUBFRAME


@dataclass(frozen=True)
class Tile:
    """One subframe of the frame; ``x0, y0`` is its lower left pixel."""

    index: int
    row: int
    col: int
    x0: int
    y0: int
    size: int = SUBFRAME

    @property
    def region(self) -> tuple[slice, slice]:
        """Return the slices of the subframe in an ``image[y, x]``."""
        return slice(self.y0, self.y0 + self.size), slice(self.x0, self.x0 + self.size)

    def contains(self, x: float, y: float) -> bool:
        """Return whether a position of the frame is in this subframe.

        Each position is in exactly one subframe.
        """
        right, up = x - self.x0 + 0.5, y - self.y0 + 0.5
        return 0 <= right < self.size and 0 <= up < self.size


def tiles() -> list[Tile]:
    """Return the sixteen subframes of a 1024 x 1024 frame."""
    return [
        Tile(row * PER_SIDE + col, row, col, col * SUBFRAME, row * SUBFRAME)
        for row in range(PER_SIDE)
        for col in range(PER_SIDE)
    ]
