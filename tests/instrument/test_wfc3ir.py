"""The frame and the data-quality bits."""

import numpy as np
import pytest

from blobwatch.errors import BlobwatchError
from blobwatch.instrument import wfc3ir


def test_embedding_shifts_by_five():
    image = np.zeros((1014, 1014))
    image[697, 295] = 1.0
    frame = wfc3ir.embed(image)
    assert frame.shape == (1024, 1024)
    assert np.argwhere(frame == 1.0).tolist() == [[702, 300]]
    assert np.isnan(frame[4]).all()
    assert np.isfinite(frame[5, 5:-5]).all()


def test_full_frame_is_returned_unchanged():
    image = np.zeros((1024, 1024))
    assert wfc3ir.embed(image) is image


def test_other_shapes_are_rejected():
    with pytest.raises(BlobwatchError, match="the image is 512 x 512; a full WFC3/IR frame is 1024 x 1024"):
        wfc3ir.embed(np.zeros((512, 512)))
    with pytest.raises(BlobwatchError, match="the image is 3 x 1014 x 1014"):
        wfc3ir.embed(np.zeros((3, 1014, 1014)))


def test_the_blob_bit_is_never_unusable():
    assert wfc3ir.DQ_UNUSABLE & wfc3ir.DQ_BLOB == 0
    assert sum((1, 2, 4, 8, 16, 32, 128, 256, 4096, 8192, 16384)) == wfc3ir.DQ_UNUSABLE


def test_the_position_variable():
    assert wfc3ir.normalized(0) == -1
    assert wfc3ir.normalized(512) == 0
    assert wfc3ir.normalized(1024) == 1
