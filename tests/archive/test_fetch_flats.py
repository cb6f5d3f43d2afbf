"""Flat fields fetched from a local CRDS: selection, retries, checks, the command."""

import io
import json

import numpy as np
import pytest
from archive.fetch_command import DAY
from archive.mast_server import ArchiveFile, Reference, make_exposure
from astropy.io import fits

from blobwatch.archive.fetch import FetchResult
from blobwatch.archive.flats import SERVER, Flat, fetch_flats, find_flats
from blobwatch.archive.query import Query
from blobwatch.cli.output.archive import run_fetch
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.flats import FlatFields

PFL, DFL, OTHER = "u4m1335mi_pfl.fits", "4ac19225i_dfl.fits", "4ac19224i_pfl.fits"
SEASON = ("--start", "2016-01-01", "--end", "2016-01-31")


def make_flat(name: str) -> Reference:
    """Return a constant flat with checksums."""
    buffer = io.BytesIO()
    image = fits.ImageHDU(np.full((1014, 1014), 0.5, dtype=np.float32), name="SCI")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(buffer, checksum=True)
    return Reference(name, buffer.getvalue())


def make_file(rootname: str, day: float, **cards: str) -> ArchiveFile:
    """Return an exposure of the archive with further cards in its primary header."""
    with fits.open(io.BytesIO(make_exposure(rootname, day))) as hdus:
        hdus[0].header.update(cards)
        buffer = io.BytesIO()
        hdus.writeto(buffer, checksum=True)
    return ArchiveFile(rootname, day, content=buffer.getvalue())


def add_flats(server, flats: tuple[str, ...]) -> None:
    """Fill the archive: exposures with one flat, with two, and with flats that were not applied."""
    first = {"FLATCORR": "COMPLETE", "PFLTFILE": f"iref${PFL}", "DFLTFILE": "N/A"}
    server.files = [
        make_file("icxx01aaq", DAY, **first),
        make_file("icxx01abq", DAY + 0.1, **first | {"DFLTFILE": f"iref${DFL}"}),
        make_file("icxx02acq", DAY + 3.0, **first | {"FLATCORR": "OMIT", "PFLTFILE": f"iref${OTHER}"}),
    ]
    server.references = [make_flat(name) for name in flats]


@pytest.fixture
def out(archive, tmp_path):
    """Return a directory of fetched exposures."""
    add_flats(archive, (PFL, DFL, OTHER))
    folder = tmp_path / "exposures"
    rootnames = tuple(one.rootname for one in archive.files)
    assert run_fetch(Query(rootnames=rootnames), folder, *[False] * 4)
    return folder


def fetch_all(out) -> FetchResult:
    return fetch_flats(find_flats(out), out / "flats")


def names_in(rows: list) -> list[str]:
    return [row["name"] for row in rows]


def list_names(out) -> list[str]:
    return sorted(path.name for path in (out / "flats").iterdir())


def test_address_is_on_the_crds_server(monkeypatch):
    monkeypatch.delenv("CRDS_SERVER_URL", raising=False)
    assert SERVER.startswith("https://")
    assert Flat(PFL).uri == f"https://hst-crds.stsci.edu/unchecked_get/references/hst/{PFL}"
    monkeypatch.setenv("CRDS_SERVER_URL", "http://mirror/")
    assert Flat(PFL).uri == f"http://mirror/unchecked_get/references/hst/{PFL}"


def test_applied_flats_are_fetched(archive, out):
    assert names_in(fetch_all(out).fetched) == [DFL, PFL]
    assert list_names(out) == [DFL, PFL]
    for reference in archive.references[:2]:
        assert (out / "flats" / reference.name).read_bytes() == reference.content
    plane = FlatFields(out).plane(PFL, out / "icxx01aaq_flt.fits")
    assert plane[500, 500] == 0.5
    assert find_flats(out, ["icxx01aaq_flt.fits"]) == [Flat(PFL)]
    assert [one.name for one in find_flats(out)] == [DFL, PFL]  # flats are not exposures


def test_only_invalid_flats_are_replaced(archive, out):
    fetch_all(out)
    archive.requests.clear()
    (out / "flats" / DFL).write_bytes(archive.references[1].content[:-5000])
    result = fetch_all(out)
    assert (names_in(result.kept), names_in(result.fetched)) == ([PFL], [DFL])
    assert archive.ranges(PFL) == []
    assert (out / "flats" / DFL).read_bytes() == archive.references[1].content


def test_invalid_flat_is_refused(archive, out):
    content = archive.references[1].content
    archive.references[1].content = content[:200_000] + b"damage" + content[200_006:]
    archive.references[0] = Reference(PFL, make_exposure("icxx01aaq", DAY))
    result = fetch_all(out)
    assert result.fetched == []
    assert "damaged: the data do not match their DATASUM" in result.refused[DFL]
    assert "not valid (the file: " in result.refused[PFL]
    assert "300 x" in result.refused[PFL]
    assert list_names(out) == []


@pytest.mark.parametrize("name", ["../../evil.fits", "/etc/x.fits", ".hidden.fits", "a b.fits", "x_pfl.txt"])
def test_unsafe_file_name_is_skipped(archive, out, capsys, name):
    path = out / "icxx01aaq_flt.fits"
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["PFLTFILE"] = f"iref${name}"
    assert find_flats(out, [path.name]) == []
    assert "is not a file name of a flat" in capsys.readouterr().err


def test_unreadable_exposure_is_reported(archive, out, capsys):
    (out / "icxx01aaq_flt.fits").write_text("not FITS")
    assert [one.name for one in find_flats(out)] == [DFL, PFL]
    assert "icxx01aaq_flt.fits" in capsys.readouterr().err
    with pytest.raises(BlobwatchError, match="not a directory"):
        find_flats(out / "absent")


# The command


def test_command_fetches_exposures_and_flats(command):
    run, server = command
    add_flats(server, (PFL, DFL))
    status, out, err = run.run(*SEASON, "--flats", "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert [row["rootname"] for row in answer["fetched"]] == ["icxx01aaq", "icxx01abq", "icxx02acq"]
    assert [row["path"] for row in answer["flats"]["fetched"]] == [f"flats/{DFL}", f"flats/{PFL}"]
    assert "flats: 2 fetched, 0 already present; in data/raw/archive/flats" in err

    # Without days: only the flats of the exposures in the directory, without a query to MAST.
    server.queries.clear()
    (run.folder / "data/raw/archive/flats" / PFL).unlink()
    status, out, err = run.run("--flats", "--dry-run", "--json")
    assert (status, err) == (0, "")
    states = [(one["name"], one["state"]) for one in json.loads(out)["flats"]]
    assert states == [(DFL, "here"), (PFL, "absent")]
    status, out, err = run.run("--flats")
    assert (status, out) == (0, "")
    assert "flats: 1 fetched, 1 already present" in err
    assert server.queries == []
    status, out, err = run.run(*SEASON, "--flats", "--dry-run")
    assert status == 0, err
    assert PFL in out
