"""Files fetched into a folder: what is kept, what is fetched anew, what is refused while the others come."""

import pytest
from archive.mastserver import Held, exposure
from filelock import FileLock
from tenacity import wait_none

from blobwatch.archive import folder as folder_module
from blobwatch.archive.download import TRIES
from blobwatch.archive.fetch import GIVEN_UP, QUESTIONS, fetch, look_up
from blobwatch.archive.manifest import read_manifest
from blobwatch.archive.query import Wanted
from blobwatch.cli.output.archive import answer_fetch
from blobwatch.errors import BlobwatchError

EARTH = Wanted(target="DARK-EARTH-CALIB")
NAMES = ["icxx01aaq_flt.fits", "icxx01abq_flt.fits", "icxx02acq_flt.fits"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "exposures"


def fetched(out, cloud: bool = False):
    return fetch(look_up(EARTH, wait_none()), out, cloud, wait_none())


def there(out) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def test_bad_days_of_the_archive_change_nothing(archive, out):
    archive.plan["invoke"] = ["503", "503"]
    archive.plan[NAMES[0]] = ["503", "503", "drop 100000", "page", "all 150000", "hang up"]
    archive.plan[NAMES[1]] = ["chunked 100000", "shift", "drop 200000", "416"]
    assert len(fetched(out).fetched) == 3
    for held in archive.holds:
        assert (out / held.name).read_bytes() == held.content
    assert there(out) == [*NAMES, "manifest.csv"]


def test_what_is_here_is_not_fetched_again(archive, out):
    fetched(out)
    before = (out / "manifest.csv").read_bytes()
    archive.asked.clear()
    outcome = fetched(out)
    assert [row["path"] for row in outcome.kept] == NAMES
    assert (outcome.fetched, archive.asked) == ([], [])
    assert (out / "manifest.csv").read_bytes() == before


def test_more_days_are_added(archive, out):
    fetch(look_up(Wanted(rootnames=("icxx02acq",)), wait_none()), out, wait=wait_none())
    assert [row["path"] for row in read_manifest(out / "manifest.csv")] == NAMES[2:]
    outcome = fetched(out)
    assert [row["path"] for row in outcome.fetched] == NAMES[:2]
    assert [row["path"] for row in read_manifest(out / "manifest.csv")] == NAMES


@pytest.mark.parametrize("harm", ["bytes", "size", "unlisted"])
def test_a_file_that_is_not_the_manifest_s_is_fetched_anew_and_kept_until_then(archive, out, capsys, harm):
    fetched(out)
    path, content = out / NAMES[1], archive.holds[1].content
    bad = content[:-1] + (b"" if harm == "size" else b"x")
    path.write_bytes(bad)
    said = "is no longer what the manifest says"
    if harm == "unlisted":
        lines = (out / "manifest.csv").read_text().splitlines(keepends=True)
        (out / "manifest.csv").write_text("".join(line for line in lines if "icxx01abq" not in line))
        said = "is not in the manifest"
    archive.plan[NAMES[1]] = ["503"] * TRIES
    assert list(fetched(out).refused) == [NAMES[1]]
    assert path.read_bytes() == bad
    assert [row["path"] for row in fetched(out).fetched] == [NAMES[1]]
    assert path.read_bytes() == content
    assert f"{path} {said}; fetched anew" in capsys.readouterr().err


@pytest.mark.parametrize("at", ["write_manifest", "Part.finish"])
def test_killed_at_the_end_of_a_file_nothing_is_fetched_again(archive, out, monkeypatch, at):
    def killed(*_):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(f"blobwatch.archive.fetch.{at}", killed)
        with pytest.raises(SystemExit):
            fetched(out)
    assert not (out / NAMES[0]).exists()
    archive.asked.clear()
    assert len(fetched(out).fetched) == 3
    assert archive.ranges(NAMES[0]) == []
    assert (out / NAMES[0]).read_bytes() == archive.holds[0].content


def test_a_newer_version_in_the_archive_is_said_and_not_taken(archive, out, capsys):
    fetched(out)
    archive.holds[2].content += b" " * 2880
    outcome = fetched(out)
    assert len(outcome.kept) == 3
    assert f"{NAMES[2]}: the archive has another version by now" in capsys.readouterr().err


def truncated(held: Held) -> None:
    held.content = held.content[:-20_000]


def damaged(held: Held) -> None:
    held.content = held.content[:200_000] + b"damage" + held.content[200_006:]


def mistaken(held: Held) -> None:
    held.content = exposure("izzz99zzq", held.expstart)


def no_date(held: Held) -> None:
    held.content = held.content.replace(b"EXPSTART=", b"EXPSTOPS=")


def wrong_size(held: Held) -> None:
    held.listed_size = len(held.content) - 1


def gone(held: Held) -> None:
    held.uri = "mast:HST/product/moved.fits"


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (truncated, "not what it should be: the file is truncated"),
        (damaged, "a DATASUM in it is not that of its data"),
        (mistaken, "the archive sent izzz99zzq under this name"),
        (no_date, "the file has no EXPSTART in its header"),
        (wrong_size, "bytes where the archive's list says"),
    ],
)
def test_one_that_is_refused_stops_no_other_and_leaves_nothing(archive, out, harm, reason):
    harm(archive.holds[1])
    outcome = fetched(out)
    assert list(outcome.refused) == [NAMES[1]]
    assert reason in outcome.refused[NAMES[1]]
    assert there(out) == [NAMES[0], NAMES[2], "manifest.csv"]
    assert [row["path"] for row in read_manifest(out / "manifest.csv")] == [NAMES[0], NAMES[2]]
    assert len(archive.ranges(NAMES[1])) == 1


def test_a_file_that_is_longer_than_announced(archive, out):
    archive.plan[NAMES[1]] = ["long"]
    assert "bytes where the archive's list says" in fetched(out).refused[NAMES[1]]


def test_the_size_that_the_archive_does_not_list_is_what_it_sends(archive, out):
    archive.holds[1].listed_size = None
    archive.plan[NAMES[1]] = ["drop 100000"]
    outcome = fetched(out)
    assert [row["size"] for row in outcome.fetched] == [len(held.content) for held in archive.holds]


def test_a_page_in_place_of_a_file_is_never_taken_for_it(archive, out):
    archive.plan[NAMES[1]] = ["page"] * TRIES
    outcome = fetched(out)
    assert "it sent no FITS file but something that begins with b'<!DOCTYPE" in outcome.refused[NAMES[1]]
    assert there(out) == [NAMES[0], NAMES[2], "manifest.csv"]


def test_a_line_that_is_silent_is_given_up_and_gone_on_from(archive, out, monkeypatch):
    from blobwatch.archive import mast

    monkeypatch.setattr(mast, "TIMEOUT", (15, 0.2))
    archive.plan[NAMES[0]] = ["hold 150000"]
    assert len(fetched(out).fetched) == 3
    assert archive.ranges(NAMES[0]) == ["", "bytes=131072-"]


def test_an_archive_in_trouble_is_left_alone(archive, out):
    archive.holds += [Held(f"icxx03a{letter}q", 57404.0) for letter in "ab"]
    for name in NAMES:
        archive.plan[name] = ["503"] * TRIES
    outcome = fetched(out)
    assert len(archive.asked) == GIVEN_UP * TRIES
    assert list(outcome.refused) == [*NAMES, "icxx03aaq_flt.fits", "icxx03abq_flt.fits"]
    assert there(out) == []


def test_single_files_in_trouble_are_no_reason_to_stop(archive, out):
    archive.holds += [Held(f"icxx03a{letter}q", 57404.0) for letter in "ab"]
    bad = [NAMES[0], NAMES[2], "icxx03aaq_flt.fits"]
    for name in bad:
        archive.plan[name] = ["503"] * TRIES
    assert list(fetched(out).refused) == bad


def test_an_object_in_the_cloud_that_was_swapped(archive, out, monkeypatch):
    """The md5 that S3 tells is not that of what it sends."""
    from blobwatch.archive import cloud

    monkeypatch.setattr(cloud, "md5_in", lambda answer: "0" * 32)
    outcome = fetched(out, cloud=True)
    assert set(outcome.refused) == set(NAMES)
    assert "the md5 of what came is not that of its file" in outcome.refused[NAMES[0]]
    assert there(out) == []


def test_no_room(archive, out, monkeypatch):
    free = sum(len(held.content) for held in archive.holds) - 1
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(folder_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BlobwatchError, match=r"0\.0 GB are to be fetched and .* has room for 0\.0 GB"):
        fetched(out)
    assert archive.asked == []
    usage.free += 1
    assert len(fetched(out).fetched) == 3


def test_the_disk_runs_full(archive, out, monkeypatch):
    from blobwatch.archive.download import Part

    def full(self, chunk):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Part, "write", full)
    with pytest.raises(BlobwatchError, match=r"cannot be written to \(No space left on device\)"):
        fetched(out)


def test_two_at_once(archive, out):
    with (
        FileLock(out.parent / ".exposures.partial-lock"),
        pytest.raises(BlobwatchError, match="another fetch writes into"),
    ):
        fetched(out)


def test_another_product_of_the_same_exposures(archive, out):
    fetched(out)
    archive.holds.append(Held("icxx01aaq", 57400.25, product="raw"))
    found = look_up(Wanted("DARK-EARTH-CALIB", product="raw"), wait_none())
    with pytest.raises(BlobwatchError, match="holds flt files; fetch raw into another folder"):
        fetch(found, out, wait=wait_none())


def test_a_pinned_folder_that_is_not_here(archive, out):
    out.with_name("exposures.dvc").touch()
    with pytest.raises(BlobwatchError, match=r"bring it with `dvc pull .*exposures\.dvc`"):
        fetched(out)
    assert not out.exists()


@pytest.mark.parametrize("harm", ["file", "file above"])
def test_no_folder_can_be_made(archive, out, harm):
    out.touch()
    with pytest.raises(BlobwatchError, match="is a file" if harm == "file" else "cannot be written to"):
        fetched(out if harm == "file" else out / "below")


def test_nothing_found(archive):
    with pytest.raises(BlobwatchError, match="MAST lists no flt of NGC-3603; check the names and the days"):
        look_up(Wanted("NGC-3603"), wait_none())


def test_mast_is_asked_only_so_often(archive):
    archive.plan["invoke"] = ["503"] * (QUESTIONS + 1)
    with pytest.raises(BlobwatchError, match="did not answer: it answered with status 503"):
        look_up(EARTH, wait_none())
    assert len(archive.plan["invoke"]) == 1


def test_what_is_not_public_is_named_and_left_out(archive, out, capsys):
    archive.holds[1].rights = archive.holds[0].rights = "EXCLUSIVE_ACCESS"
    assert answer_fetch(EARTH, out, from_cloud=False, dry_run=True, as_json=False, pin=False)
    said = capsys.readouterr()
    assert "not public yet and left out: icxx01aaq, icxx01abq" in said.err
    assert "icxx02acq" in said.out
    assert "icxx01aaq" not in said.out
    archive.holds[2].rights = "EXCLUSIVE_ACCESS"
    with pytest.raises(BlobwatchError, match="none of 3 exposures is public yet"):
        answer_fetch(EARTH, out, from_cloud=False, dry_run=True, as_json=False, pin=False)


def test_a_rootname_that_is_not_listed_is_no_success(archive, out, capsys):
    wanted = Wanted(rootnames=("icxx02acq", "izzz99zzq"))
    assert not answer_fetch(wanted, out, from_cloud=False, dry_run=False, as_json=False, pin=False)
    assert "not in the archive's list: izzz99zzq" in capsys.readouterr().err
    assert there(out) == [NAMES[2], "manifest.csv"]


def test_the_whole_archive_is_not_fetched_by_mistake(archive, out):
    with pytest.raises(BlobwatchError, match="this would fetch every exposure of DARK-EARTH"):
        answer_fetch(EARTH, out, from_cloud=False, dry_run=False, as_json=False, pin=False)
    assert archive.questions == []


def test_a_list_for_people(archive, out, capsys):
    fetch(look_up(Wanted(rootnames=("icxx02acq",)), wait_none()), out, wait=wait_none())
    (out / NAMES[0]).write_text("mine")
    archive.holds[1].listed_size = None
    capsys.readouterr()
    answer_fetch(EARTH, out, from_cloud=False, dry_run=True, as_json=False, pin=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rootname", "day", "filter", "programme", "size", "here"]
    size = f"{len(archive.holds[0].content) / 1000:.1f} kB"
    assert lines[1].split() == ["icxx01aaq", "2016-01-13", "F153M", "14389", *size.split(), "altered"]
    assert lines[2].split()[-3:] == ["not", "said", "no"]
    assert lines[3].split()[-1] == "yes"
    both = f"{2 * len(archive.holds[0].content) / 1000:.1f} kB"
    assert lines[4].startswith(f"3 flt files, {both}; to be fetched: 2, {size}; ")
    assert lines[4].endswith("the archive does not say the size of 1")
