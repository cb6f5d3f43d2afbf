"""Flat fields fetched from a local CRDS: which are needed, gone on with, checked, and said to be here."""

import io
import json
import signal

import numpy as np
import pytest
from archive.mastserver import Held, Reference, exposure
from archive.program import DAY, NO_WAIT
from astropy.io import fits

from blobwatch.archive.flats import SERVER, Flat, fetch_flats, find_flats
from blobwatch.archive.query import Wanted
from blobwatch.cli.output.archive import answer_fetch
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.flats import FlatFields

PFL, DFL, OTHER = "u4m1335mi_pfl.fits", "4ac19225i_dfl.fits", "4ac19224i_pfl.fits"
SEASON = ("--start", "2016-01-01", "--end", "2016-01-31")


def flat(name: str, size: int = 1014) -> Reference:
    """Return a small flat: a constant plane with its checksums, padded with a table of its history."""
    pixels = np.full((size, size), 0.5, dtype=np.float32)
    buffer = io.BytesIO()
    image = fits.ImageHDU(pixels, name="SCI")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(buffer, checksum=True)
    return Reference(name, buffer.getvalue())


def held(rootname: str, day: float, **cards: str) -> Held:
    """Return an exposure of the archive with further cards in its primary header."""
    with fits.open(io.BytesIO(exposure(rootname, day))) as hdus:
        hdus[0].header.update(cards)
        buffer = io.BytesIO()
        hdus.writeto(buffer, checksum=True)
    return Held(rootname, day, content=buffer.getvalue())


def exposures() -> list[Held]:
    """Return exposures with one flat, with two, and with flats that were not applied."""
    first = {"FLATCORR": "COMPLETE", "PFLTFILE": f"iref${PFL}", "DFLTFILE": "N/A"}
    return [
        held("icxx01aaq", DAY, **first),
        held("icxx01abq", DAY + 0.1, **first | {"DFLTFILE": f"iref${DFL}"}),
        held("icxx02acq", DAY + 3.0, **first | {"FLATCORR": "OMIT", "PFLTFILE": f"iref${OTHER}"}),
    ]


@pytest.fixture
def out(archive, tmp_path):
    """A folder of fetched exposures."""
    archive.holds, archive.references = exposures(), [flat(PFL), flat(DFL), flat(OTHER)]
    folder = tmp_path / "exposures"
    assert answer_fetch(Wanted(rootnames=tuple(one.rootname for one in archive.holds)), folder, *[False] * 4)
    return folder


def fetched(out):
    return fetch_flats(find_flats(out), out / "flats", NO_WAIT)


def there(out) -> list[str]:
    return sorted(path.name for path in (out / "flats").iterdir())


def test_the_address_is_that_of_crds(monkeypatch):
    monkeypatch.delenv("CRDS_SERVER_URL", raising=False)
    assert Flat(PFL).uri == f"https://hst-crds.stsci.edu/unchecked_get/references/hst/{PFL}"
    monkeypatch.setenv("CRDS_SERVER_URL", "http://mirror/")
    assert Flat(PFL).uri == f"http://mirror/unchecked_get/references/hst/{PFL}"
    assert SERVER.startswith("https://")


def test_the_flats_that_were_applied_are_fetched_and_found_by_their_names(archive, out):
    outcome = fetched(out)
    assert [row["name"] for row in outcome.fetched] == [DFL, PFL]
    assert there(out) == [DFL, PFL]
    for reference in archive.references[:2]:
        assert (out / "flats" / reference.name).read_bytes() == reference.content
    plane = FlatFields(out).plane(PFL, out / "icxx01aaq_flt.fits")
    assert plane[500, 500] == 0.5
    assert find_flats(out, ["icxx01aaq_flt.fits"]) == [Flat(PFL)]
    # A second search finds the same exposures: the flats are none.
    assert [one.name for one in find_flats(out)] == [DFL, PFL]


def test_a_bad_day_of_crds_changes_nothing_and_what_is_here_is_kept(archive, out):
    archive.plan[PFL] = ["503", "drop 100000", "page", "hang up", "503"]
    assert len(fetched(out).fetched) == 2
    assert [words for words in archive.ranges(PFL) if words] == ["bytes=65536-"] * 4
    archive.asked.clear()
    (out / "flats" / DFL).write_bytes(archive.references[1].content[:-5000])
    outcome = fetched(out)
    assert [row["name"] for row in outcome.kept] == [PFL]
    assert [row["name"] for row in outcome.fetched] == [DFL]
    assert archive.ranges(PFL) == []
    assert (out / "flats" / DFL).read_bytes() == archive.references[1].content


def test_what_is_no_flat_does_not_get_its_name(archive, out, capsys):
    content = archive.references[1].content
    archive.references[1].content = content[:200_000] + b"damage" + content[200_006:]
    archive.references[0] = Reference(PFL, exposure("icxx01aaq", DAY))
    outcome = fetched(out)
    assert outcome.fetched == []
    assert "damaged: a DATASUM" in outcome.refused[DFL]
    assert "not a flat: the file: the flat is 300 x" in outcome.refused[PFL]
    assert there(out) == []


def test_a_flat_that_crds_lacks_does_not_stop_the_others(archive, out):
    archive.references = archive.references[:1]
    outcome = fetched(out)
    assert [row["name"] for row in outcome.fetched] == [PFL]
    assert "not in the archive (status 404)" in outcome.refused[DFL]


@pytest.mark.parametrize("name", ["../../evil.fits", "/etc/x.fits", ".hidden.fits", "a b.fits", "x_pfl.txt"])
def test_a_name_that_leads_elsewhere_is_not_fetched(archive, out, capsys, name):
    path = out / "icxx01aaq_flt.fits"
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["PFLTFILE"] = f"iref${name}"
    assert find_flats(out, [path.name]) == []
    assert "is not a file name of a flat" in capsys.readouterr().err


def test_an_unreadable_exposure_is_reported_and_passed_over(archive, out, capsys):
    (out / "icxx01aaq_flt.fits").write_text("no FITS")
    assert [one.name for one in find_flats(out)] == [DFL, PFL]
    assert "icxx01aaq_flt.fits" in capsys.readouterr().err
    with pytest.raises(BlobwatchError, match="not a directory"):
        find_flats(out / "absent")


# The command


def test_exposures_and_their_flats_in_one_go(program):
    run, server = program
    server.holds, server.references = exposures(), [flat(PFL), flat(DFL)]
    status, out, err = run.run(*SEASON, "--flats", "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert [row["rootname"] for row in answer["fetched"]] == ["icxx01aaq", "icxx01abq", "icxx02acq"]
    assert [row["path"] for row in answer["flats"]["fetched"]] == [f"flats/{DFL}", f"flats/{PFL}"]
    assert "flats: 2 fetched, 0 were here; in data/raw/archive/flats" in err

    # Without days: only the flats of what is in the folder, and MAST is not asked.
    server.questions.clear()
    (run.folder / "data/raw/archive/flats" / PFL).unlink()
    status, out, err = run.run("--flats", "--dry-run", "--json")
    assert (status, err) == (0, "")
    assert [(one["name"], one["state"]) for one in json.loads(out)["flats"]] == [
        (DFL, "here"),
        (PFL, "absent"),
    ]
    status, out, err = run.run("--flats")
    assert (status, out) == (0, "")
    assert "flats: 1 fetched, 1 were here" in err
    assert server.questions == []
    status, out, err = run.run(*SEASON, "--flats", "--dry-run")
    assert status == 0, err
    assert PFL in out


def test_interrupted_it_goes_on_in_the_middle_of_a_flat(program):
    run, server = program
    server.holds, server.references = exposures(), [flat(PFL), flat(DFL)]
    # The request after the dropped line shows how much had been received.
    server.plan[PFL] = ["drop 150000", "hold 70000"]
    process = run.start(*SEASON, "--flats")
    assert server.holding.wait(30)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "run the same command again, it goes on from here" in err
    status, _, err = run.run("--flats")
    assert status == 0, err
    first, second, third = server.ranges(PFL)
    assert (first, second) == ("", "bytes=131072-")
    assert 131072 <= int(third.removeprefix("bytes=").removesuffix("-")) <= 220000
    folder = run.folder / "data/raw/archive/flats"
    assert (folder / PFL).read_bytes() == server.references[0].content
    assert sorted(path.name for path in folder.iterdir()) == [DFL, PFL]
