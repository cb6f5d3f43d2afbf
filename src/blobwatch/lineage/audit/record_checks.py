"""The first links of an audit: what the log, the registry and the manifest claim of a version."""

import json
from dataclasses import dataclass
from hashlib import sha256

from blobwatch.artefact import CHAMPION, DEPLOYED, MANIFEST, Model
from blobwatch.errors import BlobwatchError
from blobwatch.lineage import git
from blobwatch.lineage.audit.hashing import MISMATCH, MISSING, OK
from blobwatch.lineage.fingerprint import differing, some
from blobwatch.lineage.model_version import Subject, hashes_in
from blobwatch.lineage.promotion import promotion_log
from blobwatch.lineage.promotion.promotion_log import FORCED, LOG
from blobwatch.lineage.restore import local_folder, read_file
from blobwatch.lineage.tracking.registry import deployed_content


@dataclass(frozen=True)
class Link:
    """One link of the chain: what was to be found, what was, and a sentence about it."""

    link: str
    status: str
    expected: str = ""
    found: str = ""
    note: str = ""


# The log of this repository was begun anew on its first day, before anything was released.
BEGUN_ANEW = "7ffe512ebc26cc854c533118429cdbd94e9dba77"


def log(subject: Subject) -> Link:
    """Check that the log names the version, and is what it was in git and when the champion was deployed."""
    lines, name = promotion_log.lines(subject.root / LOG), "promotions log"
    committed, earlier = git.since_added(subject.root, LOG)
    for commit, content in committed:
        odd = promotion_log.first_change(promotion_log.split(content), lines)
        if odd is not None:
            note = f"line {odd} was changed, removed or put elsewhere since commit {commit[:12]}"
            return Link(name, MISMATCH, note=f"{note}; restore it with `git checkout {LOG}`")
    last = promotion_log.line_hash(lines[-1]) if lines else ""
    anchor = deployed_by(subject)
    if anchor not in ("", last):
        note = f"{CHAMPION} was not deployed by the last line, {len(lines)}: one was changed or removed"
        return Link(name, MISMATCH, anchor, last, note)
    if subject.record is None:
        return Link(name, MISSING, note=f"version {subject.version} was never promoted")
    notes = [f"{len(lines)} lines, unbroken"]
    if earlier:
        notes.append(f"an earlier log was removed and begun anew in commit {earlier[:12]}")
        if earlier != BEGUN_ANEW:
            return Link(name, MISMATCH, last, last, "; ".join(notes))
    if subject.record.get(FORCED):
        notes.append(f"promoted by force past: {'; '.join(subject.record[FORCED])}")
    return Link(name, OK, last, last, "; ".join(notes))


def deployed_by(subject: Subject) -> str:
    """Return the hash of the line that deployed the champion, as its folder says; empty if it does not."""
    try:
        return Model.load(subject.root / CHAMPION).promotion
    except BlobwatchError:
        return ""  # the link of the files says what is wrong


def files(subject: Subject) -> Link:
    """Check the files of the model: those that are deployed, or else wherever they are found."""
    expected = said(subject.promised)
    if subject.is_deployed:
        there = {name: read_file(subject.root / CHAMPION / name) for name in subject.promised}
        odd = sorted(
            name for name, sha in subject.promised.items() if there[name] and hashed(there[name]) != sha
        )
        found = said({name: hashed(content) for name, content in there.items() if content})
        if odd:
            return Link(
                "model files", MISMATCH, expected, found, f"{CHAMPION}: {some(odd)} is not what was deployed"
            )
        absent = sorted(name for name, content in there.items() if content is None)
        if absent:
            return Link("model files", MISSING, expected, found, f"{CHAMPION} is without {some(absent)}")
        said_there, due = read_file(subject.root / CHAMPION / DEPLOYED), deployed_as(subject)
        if said_there is None:
            return Link("model files", MISSING, expected, found, f"{CHAMPION} is without {DEPLOYED}")
        if json.loads(said_there) != due:
            note = f"{CHAMPION}/{DEPLOYED} does not say what the last line of the log says"
            return Link("model files", MISMATCH, expected, found, note)
    if not subject.contents:
        return Link("model files", MISSING, expected, "", "they are nowhere here; `dvc pull`, or `dvc repro`")
    return Link("model files", OK, expected, expected, f"found in {subject.where}")


def deployed_as(subject: Subject) -> dict:
    """Return what the champion's folder must say of itself: it follows from the last line of the log."""
    record, line = subject.known.records[-1], promotion_log.hashes(subject.root / LOG)[-1]
    return deployed_content(record["version"], record["run_id"], record["files"][MANIFEST], line)


def registry(subject: Subject) -> Link:
    """Check that the registry's version is this model, and its copy of the files too."""
    name, expected, known = "registry", said(subject.promised), subject.registered
    if known is None:
        note = subject.known.silence or "this registry does not know the version; `blobwatch sync` tells it"
        return Link(name, MISSING, expected, "", note)
    tags = hashes_in(known.tags)
    if tags != subject.promised:
        odd = differing(tags, subject.promised)
        return Link(
            name, MISMATCH, expected, said(tags), f"the tags of the version say otherwise of {some(odd)}"
        )
    folder = local_folder(known.source)
    if folder is None:
        return Link(
            name, OK, expected, said(tags), f"tags agree; the files are on the server, {known.source}"
        )
    there = {file: read_file(folder / file) for file in tags}
    odd = sorted(
        file for file, content in there.items() if content is not None and hashed(content) != tags[file]
    )
    if odd:
        return Link(
            name, MISMATCH, expected, "", f"{some(odd)} in {folder} was swapped after it was registered"
        )
    absent = sorted(file for file, content in there.items() if content is None)
    if absent:
        return Link(name, MISSING, expected, "", f"{some(absent)} is gone from {folder}")
    return Link(name, OK, expected, said(tags), "tags and files agree")


def alias(subject: Subject) -> Link:
    """Check that the alias of the champion points at what the log says."""
    state, records = subject.known.mirror, subject.known.records
    if state is None or not records:
        return Link(
            "alias", MISSING, str(subject.known.deployed or ""), "", subject.known.silence or "none is due"
        )
    if state.champion is None:
        return Link(
            "alias", MISSING, str(subject.known.deployed), "", "there is none; `blobwatch sync` sets it"
        )
    tags = state.versions[state.champion].tags if state.champion in state.versions else {}
    found, expected = hashes_in(tags), records[-1]["files"]
    numbers = str(subject.known.deployed), str(state.champion)
    last = promotion_log.hashes(subject.root / LOG)[-1]
    if found == expected and tags.get("promotion") in (None, last):
        return Link("alias", OK, *numbers, "champion")
    newer = tags.get("promotion") and tags["promotion"] not in promotion_log.hashes(subject.root / LOG)
    note = (
        f"{tags.get('promoted_by')} promoted it by a line that is not in {LOG} here; `git pull` brings it"
        if newer
        else "it was moved by hand; `blobwatch sync` sets it back"
    )
    return Link("alias", MISMATCH, *numbers, note)


def run(subject: Subject) -> Link:
    """Check that the run is there, and is of this fingerprint."""
    expected = subject.run_id
    if subject.known.mirror is None:
        return Link("run", MISSING, expected, "", subject.known.silence)
    found = subject.known.mirror.runs.get(expected)
    if found is None:
        return Link(
            "run", MISSING, expected, "", "it was deleted for good, or never here; `blobwatch sync` rebuilds"
        )
    if found.deleted:
        note = f"it was deleted; `mlflow runs restore --run-id {expected}` brings it back"
        return Link("run", MISSING, expected, "", note)
    if subject.fingerprint and found.fingerprint != subject.fingerprint.sha256:
        return Link("run", MISMATCH, expected, expected, f"its fingerprint is another, {found.fingerprint}")
    return Link("run", OK, expected, expected, "of the same fingerprint")


def fingerprint(subject: Subject) -> Link:
    """Check that the fingerprint is that of its parts, and the one that log and registry name."""
    if subject.fingerprint is None:
        return Link("fingerprint", MISSING, note="the manifest is not here")
    found, manifest = subject.fingerprint.sha256, subject.manifest
    says = {"the manifest": manifest["fingerprint"]["sha256"]}
    if subject.record:
        says["the log"] = subject.record["fingerprint"]
    if subject.registered:
        says["the registry"] = subject.registered.tags.get("fingerprint", "")
    odd = [f"{who} says {what[:12]}" for who, what in says.items() if what != found]
    named = {row["rootname"]: row["md5"] for row in subject.exposures}
    if named != subject.fingerprint.parts.get("exposures", {}):
        odd.append("the exposures of the manifest are not those of its fingerprint")
    expected = says["the manifest"]
    return Link("fingerprint", MISMATCH if odd else OK, expected, found, "; ".join(odd) or "recomputed")


def hashed(content: bytes) -> str:
    """Return the sha256 of some bytes."""
    return sha256(content).hexdigest()


def said(hashes: dict[str, str]) -> str:
    """Return the hashes of some files as one line."""
    return ", ".join(f"{name} {sha[:12]}" for name, sha in sorted(hashes.items()))


LINKS = (log, files, registry, alias, run, fingerprint)  # in this order
