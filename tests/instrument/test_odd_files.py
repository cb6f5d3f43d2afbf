"""Odd files: each is read with the right pixels, or refused with the right reason."""

import re

import pytest
from instrument.oddfiles import MARKER
from instrument.oddtable import ODD_FILES

from blobwatch.errors import BlobwatchError, collect_file_warnings
from blobwatch.instrument.differences import read_difference
from blobwatch.instrument.exposures import read_exposure
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.kinds import is_difference


def read(path):
    """Return kind and image of a file, as `predict` reads it."""
    with open_fits(path, only_image=True) as hdus:
        if is_difference(hdus, path):
            return "difference", read_difference(path, hdus, only_image=True)
        exposure = read_exposure(path, hdus)
        return exposure.product, exposure


@pytest.mark.parametrize("odd", ODD_FILES, ids=lambda odd: odd.name)
def test_odd_file_is_read_or_rejected(tmp_path, odd):
    path = tmp_path / f"odd{odd.ending}"
    odd.write(path)
    with collect_file_warnings() as warned:
        try:
            kind, found = read(path)
            said = " ".join(warned)
        except BlobwatchError as error:
            kind, said = "refused", str(error)
    assert kind == odd.kind, said
    assert re.search(odd.says, said) if odd.says else not said, said
    assert said.startswith(str(path)) or not said
    assert ("truncated" in said) == ("truncated" in odd.says)
    if kind == "refused":
        return
    x, y = MARKER
    assert found.image[y, x] == pytest.approx(0.5 if kind == "difference" else odd.value, rel=0.003)
    if kind != "difference":
        assert (found.filter, found.rootname, found.expstart) == ("F153M", "ich219i8q", 57400.5)
        assert found.exptime == pytest.approx(302.932)
        assert not found.dq[y, x]
        assert found.samp_seq == "SPARS100"
        assert found.calibration.flats == ("none" if kind == "raw" else "unknown")
