"""Labels by people behind a version: read from files with the right hash, or reported as unknown."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from blobwatch.cli.output.lineage import print_audit
from blobwatch.dataset.labels import COLUMNS, Label, write_labels
from blobwatch.files import folder_hash, folder_listing, write_json
from blobwatch.lineage.audit import chain, data_checks, labels
from blobwatch.lineage.audit.labels import Labels
from blobwatch.lineage.audit.run import Audit
from blobwatch.lineage.dvc_cache import restoring_command
from blobwatch.lineage.fingerprint import Fingerprint
from blobwatch.lineage.model_version import ModelVersion, VersionIndex
from blobwatch.lineage.pipeline import parse_lock
from blobwatch.lineage.restore import Snapshot

OWN, BETWEEN, FOREIGN = "ich219i8q", "ich220abq", "icqt0203q"  # in a split, between splits, unused
GIVEN = [
    Label(OWN, 512.0, 300.5, 12.0, "blob", "Ada", "2026-11-24"),
    Label(OWN, 40.0, 50.0, 9.0, "other", "Ben", "2026-11-25"),
    Label(BETWEEN, 7.0, 8.0, 10.0, "blob", "Ada", "2026-11-26"),
    Label(FOREIGN, 1.0, 2.0, 10.0, "blob", "Eve", "2026-11-27"),
]
TABLE, COMMITTED = "data/subframes/labels.csv", "data/labels/labels.csv"


class Project:
    """Project with labels in git, and subframes in the working tree and DVC's cache."""

    def __init__(self, root: Path, given: list[Label] = GIVEN, has_table: bool = True):
        self.root = root
        write_labels(root / "data/labels", given)
        (root / "data/subframes").mkdir()
        (root / "data/subframes/index.csv").write_text("split\n")
        if has_table:
            write_labels(root / "data/subframes", [one for one in given if one.rootname != FOREIGN])
        self.git("init", "--quiet")
        self.commit = self.commit_labels()
        self.subframes_hash = self.cache_subframes()
        inputs = {"data/labels": folder_hash(root / "data/labels")}
        command = "blobwatch subframes"
        ran = Fingerprint({"code": inputs, "data": {}, "params": {}, "command": command})
        write_json(
            root / "reports/subframes/fingerprint.json",
            {"fingerprint": ran.as_json(), "made": {"data/subframes": self.subframes_hash}},
        )
        deps = [{"path": path, "md5": md5} for path, md5 in inputs.items()]
        outs = [{"path": "data/subframes", "md5": self.subframes_hash}]
        stages = {"subframes": {"cmd": command, "deps": deps, "outs": outs}}
        (root / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        command = ["git", *who, *arguments]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout

    def commit_labels(self) -> str:
        self.git("add", "data/labels")
        self.git("commit", "--quiet", "--message", "labels")
        return self.git("rev-parse", "HEAD").strip()

    def cache_subframes(self) -> str:
        """Copy the current subframes to DVC's cache; return their hash."""
        listing = folder_listing(self.root / "data/subframes")
        for name, md5 in listing.items():
            self.cache_path(md5).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / "data/subframes" / name, self.cache_path(md5))
        folder = folder_hash(self.root / "data/subframes")
        self.cache_path(folder).parent.mkdir(parents=True, exist_ok=True)
        self.cache_path(folder).write_text(
            json.dumps([{"md5": listing[name], "relpath": name} for name in sorted(listing)])
        )
        return folder

    def cache_path(self, md5: str) -> Path:
        return self.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]

    def remove(self, *paths: str) -> None:
        for path in paths:
            shutil.rmtree(self.root / path)

    def find_labels(self) -> Labels:
        manifest = {
            "fingerprint": {
                "parts": {"code": {}, "data": {"data/subframes": self.subframes_hash}, "params": {}}
            },
            "exposures": [{"rootname": OWN, "path": "data/raw/x.fits", "md5": "0" * 32, "role": "train"}],
        }
        contents = {"manifest.json": json.dumps(manifest).encode()}
        subject = ModelVersion(
            self.root, 1, VersionIndex([], None), {"commit": self.commit}, None, {}, contents, ""
        )
        snapshot = Snapshot(self.root, None, parse_lock((self.root / "dvc.lock").read_text()))
        steps = chain.trace_steps(subject, snapshot)
        return labels.find_labels(
            subject, snapshot, steps, data_checks.check_data(subject, snapshot, steps)[2]
        )


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


def to_rows(*given: Label) -> list[dict]:
    return [{key: getattr(one, key) for key in COLUMNS} for one in given]


USED, OF_ITS_EXPOSURES = to_rows(*GIVEN[:3]), to_rows(*GIVEN[:2])


def test_labels_are_read_from_subframes(project):
    assert project.find_labels() == Labels(USED, TABLE)
    row = project.find_labels().rows[0]
    assert [type(value) for value in row.values()] == [str, float, float, float, str, str, str]


@pytest.mark.parametrize(
    ("removed", "place"), [("data/subframes", f"{TABLE} in DVC's cache"), (".dvc", TABLE)]
)
def test_labels_are_read_from_remaining_copy(project, removed, place):
    project.remove(removed)
    assert project.find_labels() == Labels(USED, place)


def add_row(project: Project) -> None:
    with (project.root / TABLE).open("a") as table:
        table.write(f"{OWN},9.0,9.0,9.0,blob,Eve,2026-12-01\n")


def test_altered_table_is_ignored(project):
    md5 = folder_listing(project.root / "data/subframes")["labels.csv"]
    add_row(project)
    assert project.find_labels() == Labels(USED, f"{TABLE} in DVC's cache")
    shutil.copy(project.root / TABLE, project.cache_path(md5))
    found = project.find_labels()
    assert found.rows == OF_ITS_EXPOSURES
    assert found.note.startswith(f"those of its exposures in {COMMITTED} of commit {project.commit[:12]}")


def test_forged_listing_is_ignored(project):
    add_row(project)
    forged = project.cache_path(project.cache_subframes())
    shutil.copy(forged, project.cache_path(project.subframes_hash))
    assert project.find_labels().rows == OF_ITS_EXPOSURES


def test_identical_table_in_git_is_used(tmp_path):
    project = Project(tmp_path, GIVEN[:2])
    md5 = folder_listing(tmp_path / "data/subframes")["labels.csv"]
    project.cache_path(md5).unlink()
    project.remove("data/subframes")
    assert project.find_labels() == Labels(OF_ITS_EXPOSURES, f"{COMMITTED} of commit {project.commit[:12]}")


def test_without_data_labels_come_from_commit_and_exposures(project):
    project.remove("data/subframes", ".dvc")
    found = project.find_labels()
    assert found.rows == OF_ITS_EXPOSURES
    assert "`dvc repro`" in found.note  # no remote is configured
    project.commit += "-dirty"  # another input was not committed
    assert project.find_labels() == found


@pytest.mark.parametrize("dirty", ["", "-dirty"])
def test_labels_of_other_commit_are_not_used(project, dirty):
    project.remove("data/subframes", ".dvc")
    write_labels(project.root / "data/labels", GIVEN[:1])
    project.commit = project.commit_labels() + dirty
    assert project.find_labels().rows is None


def test_labels_are_unknown_without_commit_or_stage_fingerprint(project):
    project.remove("data/subframes", ".dvc")
    project.commit, commit = "ab" * 20, project.commit
    assert project.find_labels().rows is None
    assert f"no commit {'ab' * 6}" in project.find_labels().note
    project.commit = commit
    project.remove("reports")
    assert project.find_labels().rows is None


def test_stage_fingerprint_of_other_subframes_is_ignored(project):
    project.remove("data/subframes", ".dvc")
    project.subframes_hash = f"{'ef' * 16}.dir"
    assert project.find_labels().rows is None


def test_labels_are_unknown_without_manifest(project):
    subject = ModelVersion(
        project.root, 1, VersionIndex([], None), {"commit": project.commit}, None, {}, {}, ""
    )
    assert labels.find_labels(subject, None, [], {}) == Labels(None, "the manifest is missing")


def test_labels_only_outside_splits_are_unknown(tmp_path):
    """Cover a label that was used although the manifest does not list its exposure."""
    project = Project(tmp_path, GIVEN[2:])
    project.remove("data/subframes", ".dvc")
    assert project.find_labels().rows is None


def test_version_without_labels(tmp_path):
    project = Project(tmp_path, [])
    assert project.find_labels() == Labels([], TABLE)
    project.remove("data/subframes", ".dvc")
    assert project.find_labels() == Labels([], f"{COMMITTED} of commit {project.commit[:12]}")


def test_subframes_without_table_of_labels(tmp_path):
    project = Project(tmp_path, has_table=False)
    assert project.find_labels() == Labels([], "data/subframes was made without labels.csv")


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"a,b\n1,2\n", b"rootname,x,y,radius,label,who,when\nich219i8q,nan,2,3,blob,Ada,2026\n"],
)
def test_malformed_table_is_reported(content):
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
def test_printed_audit_summarizes_labels(found, line, capsys):
    subject = ModelVersion(Path("."), 1, VersionIndex([], None), None, None, {}, {}, "")
    print_audit(Audit(subject, [], labels=found))
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_json_includes_labels():
    result = Audit(None, [], labels=Labels(USED, "here")).as_json()
    assert list(result) == ["version", "verdict", "links", "exposures", "labels", "labels_note"]
    assert (result["labels"], result["labels_note"]) == (USED, "here")
    assert Audit(None, []).as_json()["labels"] is None


def test_remedy_for_missing_files_is_pull_only_with_a_remote(tmp_path):
    (tmp_path / ".dvc").mkdir()
    assert restoring_command(tmp_path) == "dvc repro"
    (tmp_path / ".dvc/config.local").write_text("['remote \"shared\"']\n    url = /srv/dvc\n")
    assert restoring_command(tmp_path) == "dvc pull"
