"""The sixteen subframes."""

import numpy as np
import pytest

from blobwatch.images.tiling import tiles


def test_tiles_are_row_major_from_the_bottom():
    assert [tile.index for tile in tiles()] == list(range(16))
    assert [(tile.row, tile.col) for tile in tiles()] == [(row, col) for row in range(4) for col in range(4)]
    assert (tiles()[1].x0, tiles()[1].y0) == (256, 0)
    assert (tiles()[4].x0, tiles()[4].y0) == (0, 256)
    assert {tile.size for tile in tiles()} == {256}


def test_regions_cover_each_pixel_once():
    count = np.zeros((1024, 1024), dtype=int)
    for tile in tiles():
        count[tile.region] += 1
    assert (count == 1).all()


def test_asymmetric_position_is_in_its_tile_and_region():
    image = np.zeros((1024, 1024))
    image[702, 300] = 1.0
    containing = [tile for tile in tiles() if tile.contains(300.3, 701.8)]
    assert [(tile.index, tile.row, tile.col) for tile in containing] == [(9, 2, 1)]
    assert image[containing[0].region].max() == 1.0


@pytest.mark.parametrize("edge", [-0.5, 0.0, 255.4, 255.5, 255.6, 511.5, 767.49, 1023.49])
def test_each_position_is_in_one_tile(edge):
    for other in np.linspace(-0.5, 1023.4, 41):
        assert sum(tile.contains(edge, other) for tile in tiles()) == 1
        assert sum(tile.contains(other, edge) for tile in tiles()) == 1
