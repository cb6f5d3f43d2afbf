"""The real MAST and its cloud copy, where they can be reached."""

import socket

import pytest

from blobwatch.archive.fetch import fetch, look_up
from blobwatch.archive.manifest import read_manifest
from blobwatch.archive.query import Wanted
from blobwatch.instrument.exposures import read_exposure

pytestmark = pytest.mark.network
KNOWN = Wanted(rootnames=("ich219i8q",))  # a dark-Earth exposure


def reachable(host: str) -> None:
    try:
        socket.create_connection((host, 443), timeout=3).close()
    except OSError as error:
        pytest.skip(f"{host} cannot be reached ({error})")


@pytest.fixture
def mast():
    """Skip where MAST is not within reach."""
    reachable("mast.stsci.edu")


@pytest.fixture
def cloud(mast):
    """Skip where the bucket is not within reach either."""
    reachable("stpubdata.s3.amazonaws.com")


def test_a_known_exposure_is_listed(mast):
    (found,) = look_up(KNOWN)
    assert (found.rootname, found.product, found.public) == ("ich219i8q", "flt", True)
    assert found.uri == "mast:HST/product/ich219i8q_flt.fits"


def test_the_monitor_is_found_by_its_target(mast):
    found = look_up(Wanted(target="DARK-EARTH-CALIB", proposals=(look_up(KNOWN)[0].programme,)))
    assert "ich219i8q" in {one.rootname for one in found}


@pytest.mark.parametrize("from_cloud", [False, True])
def test_a_known_exposure_comes_whole(request, mast, tmp_path, from_cloud):
    if from_cloud:
        request.getfixturevalue("cloud")
    outcome = fetch(look_up(KNOWN), tmp_path / "exposures", from_cloud)
    assert outcome.refused == {}
    (row,) = read_manifest(tmp_path / "exposures/manifest.csv")
    exposure = read_exposure(tmp_path / "exposures" / row["path"])
    assert (exposure.rootname, exposure.filter) == ("ich219i8q", row["filter"])


def test_it_goes_on_from_the_middle(mast, tmp_path):
    """MAST serves a part of a file: what the resuming of a break rests on."""
    from blobwatch.archive import mast as door

    (found,) = look_up(KNOWN)
    with door.open_session() as session:
        whole = door.ask(session, found, 0, "")
        begin = next(whole.chunks)
        whole.chunks.close()
        rest = door.ask(session, found, 2880, whole.validator)
        assert rest.start == 2880
        assert next(rest.chunks)[: len(begin) - 2880] == begin[2880:]
        rest.chunks.close()
