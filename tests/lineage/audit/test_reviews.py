"""Which labels of people trained a version: read from bytes that a hash names, or said to be not known."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from blobwatch.cli.output.lineage import print_audit
from blobwatch.dataset.labels import COLUMNS, Label, write_labels
from blobwatch.files import folder_hash, folder_listing, write_json
from blobwatch.lineage.audit import data_checks, labels
from blobwatch.lineage.audit.labels import Labels
from blobwatch.lineage.audit.run import Audit
from blobwatch.lineage.fingerprint import Fingerprint
from blobwatch.lineage.model_version import Known, Subject
from blobwatch.lineage.pipeline import parse_lock
from blobwatch.lineage.restore import Snapshot

OWN, BETWEEN, FOREIGN = "ich219i8q", "ich220abq", "icqt0203q"  # of a split, between two, not used
GIVEN = [
    Label(OWN, 512.0, 300.5, 12.0, "blob", "Ada", "2026-11-24"),
    Label(OWN, 40.0, 50.0, 9.0, "other", "Ben", "2026-11-25"),
    Label(BETWEEN, 7.0, 8.0, 10.0, "blob", "Ada", "2026-11-26"),
    Label(FOREIGN, 1.0, 2.0, 10.0, "blob", "Eve", "2026-11-27"),
]
TABLE, COMMITTED = "data/subframes/labels.csv", "data/labels/labels.csv"


class Made:
    """A version as far as its labels go: what people gave in git, subframes here and in DVC's cache."""

    def __init__(self, root: Path, given: list[Label] = GIVEN, without: bool = False):
        self.root = root
        write_labels(root / "data/labels", given)
        (root / "data/subframes").mkdir()
        (root / "data/subframes/index.csv").write_text("split\n")
        if not without:
            write_labels(root / "data/subframes", [one for one in given if one.rootname != FOREIGN])
        self.git("init", "--quiet")
        self.commit = self.committed()
        self.made = self.cached()
        took = {"data/labels": folder_hash(root / "data/labels")}
        command = "blobwatch subframes"
        ran = Fingerprint({"code": took, "data": {}, "params": {}, "command": command})
        write_json(
            root / "reports/subframes/fingerprint.json",
            {"fingerprint": ran.as_json(), "made": {"data/subframes": self.made}},
        )
        deps = [{"path": path, "md5": md5} for path, md5 in took.items()]
        outs = [{"path": "data/subframes", "md5": self.made}]
        stages = {"subframes": {"cmd": command, "deps": deps, "outs": outs}}
        (root / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        command = ["git", *who, *arguments]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout

    def committed(self) -> str:
        self.git("add", "data/labels")
        self.git("commit", "--quiet", "--message", "what people gave")
        return self.git("rev-parse", "HEAD").strip()

    def cached(self) -> str:
        """Put the subframes as they lie here into DVC's cache; return their hash."""
        listing = folder_listing(self.root / "data/subframes")
        for name, md5 in listing.items():
            self.in_cache(md5).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / "data/subframes" / name, self.in_cache(md5))
        folder = folder_hash(self.root / "data/subframes")
        self.in_cache(folder).parent.mkdir(parents=True, exist_ok=True)
        self.in_cache(folder).write_text(
            json.dumps([{"md5": listing[name], "relpath": name} for name in sorted(listing)])
        )
        return folder

    def in_cache(self, md5: str) -> Path:
        return self.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]

    def lose(self, *paths: str) -> None:
        for path in paths:
            shutil.rmtree(self.root / path)

    def ask(self) -> Labels:
        manifest = {
            "fingerprint": {"parts": {"code": {}, "data": {"data/subframes": self.made}, "params": {}}},
            "exposures": [{"rootname": OWN, "path": "data/raw/x.fits", "md5": "0" * 32, "role": "train"}],
        }
        contents = {"manifest.json": json.dumps(manifest).encode()}
        subject = Subject(self.root, 1, Known([], None), {"commit": self.commit}, None, {}, contents, "")
        snapshot = Snapshot(self.root, None, parse_lock((self.root / "dvc.lock").read_text()))
        steps = data_checks.trace_steps(subject, snapshot)
        return labels.find_labels(
            subject, snapshot, steps, data_checks.check_data(subject, snapshot, steps)[2]
        )


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path)


def rows(*given: Label) -> list[dict]:
    return [{key: getattr(one, key) for key in COLUMNS} for one in given]


USED, OF_ITS_EXPOSURES = rows(*GIVEN[:3]), rows(*GIVEN[:2])


def test_labels_are_those_that_the_subframes_hold(made):
    assert made.ask() == Labels(USED, TABLE)
    assert [type(value) for value in made.ask().rows[0].values()] == [str, float, float, float, str, str, str]


def test_labels_are_found_in_the_cache_where_the_folder_is_gone(made):
    made.lose("data/subframes")
    assert made.ask() == Labels(USED, f"{TABLE} in DVC's cache")


def test_labels_are_found_in_the_folder_where_the_cache_is_gone(made):
    made.lose(".dvc")
    assert made.ask() == Labels(USED, TABLE)


def slip_in(made: Made) -> str:
    """Add a row to the table that lies here; return what is now its hash."""
    with (made.root / TABLE).open("a") as table:
        table.write(f"{OWN},9.0,9.0,9.0,blob,Eve,2026-12-01\n")
    return hashlib.md5((made.root / TABLE).read_bytes()).hexdigest()


def test_altered_table_is_passed_over(made):
    md5 = folder_listing(made.root / "data/subframes")["labels.csv"]
    slip_in(made)
    assert made.ask() == Labels(USED, f"{TABLE} in DVC's cache")
    shutil.copy(made.root / TABLE, made.in_cache(md5))
    found = made.ask()
    assert found.rows == OF_ITS_EXPOSURES
    assert found.note.startswith(f"those of its exposures in {COMMITTED} of commit {made.commit[:12]}")


def test_forged_listing_is_passed_over(made):
    slip_in(made)
    made.in_cache(made.made).write_bytes(made.in_cache(made.cached()).read_bytes())
    assert made.ask().rows == OF_ITS_EXPOSURES


def test_table_that_git_has_with_the_same_bytes_is_as_good(tmp_path):
    made = Made(tmp_path, GIVEN[:2])
    md5 = folder_listing(tmp_path / "data/subframes")["labels.csv"]
    made.in_cache(md5).unlink()
    made.lose("data/subframes")
    assert made.ask() == Labels(OF_ITS_EXPOSURES, f"{COMMITTED} of commit {made.commit[:12]}")


def test_without_data_they_are_those_of_the_commit_and_of_its_exposures(made):
    made.lose("data/subframes", ".dvc")
    found = made.ask()
    assert found.rows == OF_ITS_EXPOSURES
    assert "`dvc pull`" in found.note
    made.commit += "-dirty"  # something else was not in it
    assert made.ask() == found


@pytest.mark.parametrize("dirty", ["", "-dirty"])
def test_labels_of_a_commit_that_the_stage_did_not_take_are_not_shown(made, dirty):
    made.lose("data/subframes", ".dvc")
    write_labels(made.root / "data/labels", GIVEN[:1])
    made.commit = made.committed() + dirty
    assert made.ask().rows is None


def test_without_the_commit_or_what_the_stage_left_nobody_knows(made):
    made.lose("data/subframes", ".dvc")
    made.commit, commit = "ab" * 20, made.commit
    assert made.ask().rows is None
    assert f"no commit {'ab' * 6}" in made.ask().note
    made.commit = commit
    made.lose("reports")
    assert made.ask().rows is None


def test_what_the_stage_left_of_other_subframes_says_nothing(made):
    made.lose("data/subframes", ".dvc")
    made.made = f"{'ef' * 16}.dir"
    assert made.ask().rows is None


def test_without_the_manifest_nobody_knows(made):
    subject = Subject(made.root, 1, Known([], None), {"commit": made.commit}, None, {}, {}, "")
    assert labels.find_labels(subject, None, [], {}) == Labels(None, "the manifest is missing")


def test_labels_of_other_exposures_alone_do_not_make_it_none(tmp_path):
    """The one between two splits was used, and the manifest does not name its exposure."""
    made = Made(tmp_path, GIVEN[2:])
    made.lose("data/subframes", ".dvc")
    assert made.ask().rows is None


def test_none_were_used(tmp_path):
    made = Made(tmp_path, [])
    assert made.ask() == Labels([], TABLE)
    made.lose("data/subframes", ".dvc")
    assert made.ask() == Labels([], f"{COMMITTED} of commit {made.commit[:12]}")


def test_subframes_from_before_there_were_labels(tmp_path):
    assert Made(tmp_path, without=True).ask() == Labels([], "data/subframes was made without labels.csv")


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"a,b\n1,2\n", b"rootname,x,y,radius,label,who,when\nich219i8q,nan,2,3,blob,Ada,2026\n"],
)
def test_what_is_no_table_of_labels_is_not_shown(content):
    assert labels.parse_labels(content, "here") == Labels(None, "here: not a table of labels")


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (Labels(USED, "here"), "labels: 3 by 2 people (blob 2, other 1); here"),
        (Labels(USED[:1], "here"), "labels: 1 by 1 person (blob 1); here"),
        (Labels([], "[red]here"), "labels: none; [red]here"),
        (Labels(None, "gone"), "labels: unknown; gone"),
    ],
)
def test_table_for_people_counts_them_in_one_line(found, line, capsys):
    subject = Subject(Path("."), 1, Known([], None), None, None, {}, {}, "")
    print_audit(Audit(subject, [], labels=found))
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_answer_for_programs_has_them_beside_the_exposures():
    answer = Audit(None, [], labels=Labels(USED, "here")).as_json()
    assert list(answer) == ["version", "verdict", "links", "exposures", "labels", "labels_note"]
    assert (answer["labels"], answer["labels_note"]) == (USED, "here")
    assert Audit(None, []).as_json()["labels"] is None
