"""The real MAST and its cloud copy, if reachable."""

import socket

import pytest

from blobwatch.archive.fetch import fetch, find_products
from blobwatch.archive.manifest import read_manifest
from blobwatch.archive.query import Query
from blobwatch.instrument.exposures import read_exposure

pytestmark = pytest.mark.network
KNOWN = Query(rootnames=("ich219i8q",))  # a dark-Earth exposure


def require_host(host: str) -> None:
    try:
        socket.create_connection((host, 443), timeout=3).close()
    except OSError as error:
        pytest.skip(f"{host} is unreachable ({error})")


@pytest.fixture
def mast():
    """Skip the test if MAST is unreachable."""
    require_host("mast.stsci.edu")


@pytest.fixture
def cloud(mast):
    """Skip the test if the bucket is unreachable."""
    require_host("stpubdata.s3.amazonaws.com")


def test_known_exposure_is_listed(mast):
    (found,) = find_products(KNOWN)
    assert (found.rootname, found.product, found.public) == ("ich219i8q", "flt", True)
    assert found.uri == "mast:HST/product/ich219i8q_flt.fits"


def test_monitor_exposures_are_found_by_target(mast):
    found = find_products(Query(target="DARK-EARTH-CALIB", proposals=(find_products(KNOWN)[0].programme,)))
    assert "ich219i8q" in {one.rootname for one in found}


@pytest.mark.parametrize("from_cloud", [False, True])
def test_known_exposure_is_fetched(request, mast, tmp_path, from_cloud):
    if from_cloud:
        request.getfixturevalue("cloud")
    result = fetch(find_products(KNOWN), tmp_path / "exposures", from_cloud)
    assert result.refused == {}
    (row,) = read_manifest(tmp_path / "exposures/manifest.csv")
    exposure = read_exposure(tmp_path / "exposures" / row["path"])
    assert (exposure.rootname, exposure.filter) == ("ich219i8q", row["filter"])


def test_mast_serves_ranges(mast, tmp_path):
    from blobwatch.archive import mast as client

    (found,) = find_products(KNOWN)
    with client.open_session() as session:
        complete = client.request_exposure(session, found, 0, "")
        start_bytes = next(complete.chunks)
        complete.chunks.close()
        rest = client.request_exposure(session, found, 2880, complete.validator)
        assert rest.start == 2880
        assert next(rest.chunks)[: len(start_bytes) - 2880] == start_bytes[2880:]
        rest.chunks.close()
