"""Audit links of the records: promotion log, model files, registry, alias, run and fingerprint."""

import json
from dataclasses import dataclass
from hashlib import sha256

from blobwatch.artefact import CHAMPION, DEPLOYED, MANIFEST, Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage import git
from blobwatch.lineage.audit.hashing import MISMATCH, MISSING, OK
from blobwatch.lineage.dvc_cache import restoring_command
from blobwatch.lineage.fingerprint import differing_keys, join_names
from blobwatch.lineage.model_version import ModelVersion, hashes_in
from blobwatch.lineage.promotion import promotion_log
from blobwatch.lineage.promotion.promotion_log import FORCED, LOG
from blobwatch.lineage.restore import local_folder, read_file
from blobwatch.lineage.tracking.registry import deployed_content


@dataclass(frozen=True)
class Link:
    """One link of the audit: expected value, found value, status and explanation."""

    link: str
    status: str
    expected: str = ""
    found: str = ""
    note: str = ""


# This repository's log was restarted on its first day, before any release. The audit accepts that commit.
ACCEPTED_RESTART = "7ffe512ebc26cc854c533118429cdbd94e9dba77"


def check_log(subject: ModelVersion) -> Link:
    """Check that the log has the version and was not altered since it was committed."""
    lines, name = promotion_log.lines(subject.root / LOG), "promotions log"
    committed, earlier = git.versions_since_added(subject.root, LOG)
    for commit, content in committed:
        changed = promotion_log.first_change(promotion_log.split(content), lines)
        if changed is not None:
            note = f"line {changed} was changed, removed or moved since commit {commit[:12]}"
            return Link(name, MISMATCH, note=f"{note}; restore it with `git checkout {LOG}`")
    last = promotion_log.line_hash(lines[-1]) if lines else ""
    deployed = deployed_line_hash(subject)
    if deployed not in ("", last):
        note = f"{CHAMPION} was not deployed by the last line ({len(lines)}): a line was changed or removed"
        return Link(name, MISMATCH, deployed, last, note)
    if subject.record is None:
        return Link(name, MISSING, note=f"version {subject.version} was never promoted")
    notes = [f"{len(lines)} lines, unbroken"]
    if earlier:
        notes.append(f"an earlier log was removed, and the log was restarted in commit {earlier[:12]}")
        if earlier != ACCEPTED_RESTART:
            return Link(name, MISMATCH, last, last, "; ".join(notes))
    if subject.record.get(FORCED):
        notes.append(f"promoted with --force despite: {'; '.join(subject.record[FORCED])}")
    return Link(name, OK, last, last, "; ".join(notes))


def deployed_line_hash(subject: ModelVersion) -> str:
    """Return the hash of the log line in the champion's folder.

    Return an empty string if there is none.
    """
    try:
        return Model.load(subject.root / CHAMPION).promotion
    except BlobwatchError:
        return ""  # reported by the link of the model files


def check_files(subject: ModelVersion) -> Link:
    """Check the model files.

    A deployed model is checked in the champion's folder, others in any copy.
    """
    name, expected = "model files", format_hashes(subject.expected_files)
    if subject.is_deployed:
        contents = {file: read_file(subject.root / CHAMPION / file) for file in subject.expected_files}
        found = format_hashes(
            {file: sha256_of(content) for file, content in contents.items() if content is not None}
        )
        altered, absent = compare_files(contents, subject.expected_files)
        if altered:
            note = f"{CHAMPION}: {join_names(altered)} differs from the promoted version"
            return Link(name, MISMATCH, expected, found, note)
        if absent:
            return Link(name, MISSING, expected, found, f"{CHAMPION}: {join_names(absent)} is missing")
        deployed = read_file(subject.root / CHAMPION / DEPLOYED)
        if deployed is None:
            return Link(name, MISSING, expected, found, f"{CHAMPION}: {DEPLOYED} is missing")
        if json.loads(deployed) != expected_deployed(subject):
            note = f"{CHAMPION}/{DEPLOYED} does not agree with the last line of the log"
            return Link(name, MISMATCH, expected, found, note)
    if not subject.contents:
        return Link(name, MISSING, expected, "", f"not found; run `{restoring_command(subject.root)}`")
    return Link(name, OK, expected, expected, f"found in {subject.where}")


def compare_files(contents: dict[str, bytes | None], hashes: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the names of the changed and of the missing files.

    A file is changed if its sha256 differs from the recorded one.
    """
    present = {name: content for name, content in contents.items() if content is not None}
    altered = sorted(name for name, content in present.items() if sha256_of(content) != hashes[name])
    return altered, sorted(contents.keys() - present.keys())


def expected_deployed(subject: ModelVersion) -> dict:
    """Return the required content of ``deployed.json``, from the last line of the log."""
    record, line = subject.known.records[-1], promotion_log.hashes(subject.root / LOG)[-1]
    return deployed_content(record["version"], record["run_id"], record["files"][MANIFEST], line)


def check_registry(subject: ModelVersion) -> Link:
    """Check that the registry's version has the hashes and files of this model."""
    name, expected, known = "registry", format_hashes(subject.expected_files), subject.registered
    if known is None:
        note = subject.known.mlflow_error or "the version is not registered; run `blobwatch sync`"
        return Link(name, MISSING, expected, "", note)
    tags = hashes_in(known.tags)
    if tags != subject.expected_files:
        different = join_names(differing_keys(tags, subject.expected_files))
        note = f"the tags of the version have a different hash of {different}"
        return Link(name, MISMATCH, expected, format_hashes(tags), note)
    folder = local_folder(known.source)
    if folder is None:
        note = f"tags agree; the files are on the server, {known.source}"
        return Link(name, OK, expected, format_hashes(tags), note)
    altered, absent = compare_files({file: read_file(folder / file) for file in tags}, tags)
    if altered:
        note = f"{join_names(altered)} in {folder} was changed after registration"
        return Link(name, MISMATCH, expected, "", note)
    if absent:
        return Link(name, MISSING, expected, "", f"{join_names(absent)} is missing from {folder}")
    return Link(name, OK, expected, format_hashes(tags), "tags and files agree")


def check_alias(subject: ModelVersion) -> Link:
    """Check that the registry's alias ``champion`` points at the version that the log names."""
    state, records, deployed = subject.known.mirror, subject.known.records, str(subject.known.deployed or "")
    if state is None or not records:
        return Link("alias", MISSING, deployed, "", subject.known.mlflow_error or "no version is deployed")
    if state.champion is None:
        return Link("alias", MISSING, deployed, "", "the alias does not exist; run `blobwatch sync`")
    tags = state.versions[state.champion].tags if state.champion in state.versions else {}
    lines = promotion_log.hashes(subject.root / LOG)
    promotion = tags.get("promotion")
    if hashes_in(tags) == records[-1]["files"] and promotion in (None, lines[-1]):
        return Link("alias", OK, deployed, str(state.champion), "champion")
    note = "it was moved by hand; run `blobwatch sync` to reset it"
    if promotion and promotion not in lines:
        note = f"promoted by {tags.get('promoted_by')}, in a line that {LOG} does not have; run `git pull`"
    return Link("alias", MISMATCH, deployed, str(state.champion), note)


def check_run(subject: ModelVersion) -> Link:
    """Check that the MLflow run exists and has this fingerprint."""
    expected = subject.run_id
    if subject.known.mirror is None:
        return Link("run", MISSING, expected, "", subject.known.mlflow_error)
    found = subject.known.mirror.runs.get(expected)
    if found is None:
        note = "not found: deleted permanently, or never in this store; rebuild it with `blobwatch sync`"
        return Link("run", MISSING, expected, "", note)
    if found.deleted:
        note = f"it was deleted; restore it with `mlflow runs restore --run-id {expected}`"
        return Link("run", MISSING, expected, "", note)
    if subject.fingerprint and found.fingerprint != subject.fingerprint.sha256:
        note = f"the run has a different fingerprint, {found.fingerprint}"
        return Link("run", MISMATCH, expected, expected, note)
    return Link("run", OK, expected, expected, "same fingerprint")


def check_fingerprint(subject: ModelVersion) -> Link:
    """Check the fingerprint.

    It must be the hash of its parts, and equal in manifest, log and registry.
    """
    if subject.fingerprint is None:
        return Link("fingerprint", MISSING, note="the manifest is missing")
    found, expected = subject.fingerprint.sha256, subject.manifest["fingerprint"]["sha256"]
    sources = {"the manifest": expected}
    if subject.record:
        sources["the log"] = subject.record["fingerprint"]
    if subject.registered:
        sources["the registry"] = subject.registered.tags.get("fingerprint", "")
    problems = [f"{source} has {value[:12]}" for source, value in sources.items() if value != found]
    exposures = {row["rootname"]: row["md5"] for row in subject.exposures}
    if exposures != subject.fingerprint.parts.get("exposures", {}):
        problems.append("the manifest and its fingerprint have different exposures")
    status = MISMATCH if problems else OK
    return Link("fingerprint", status, expected, found, "; ".join(problems) or "recomputed")


def sha256_of(content: bytes) -> str:
    """Return the sha256 of some bytes."""
    return sha256(content).hexdigest()


def format_hashes(hashes: dict[str, str]) -> str:
    """Return file names and their shortened hashes on one line."""
    return ", ".join(f"{name} {sha[:12]}" for name, sha in sorted(hashes.items()))


CHECKS = (check_log, check_files, check_registry, check_alias, check_run, check_fingerprint)  # in order
