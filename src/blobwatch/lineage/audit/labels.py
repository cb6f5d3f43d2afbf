"""Which labels of people trained a version: those that its subframes hold, else those of its commit."""

import csv
from collections import Counter
from dataclasses import asdict, dataclass
from hashlib import md5
from io import StringIO

from blobwatch.dataset.labels import LABELS, parse_label
from blobwatch.files import listing_hash
from blobwatch.lineage.audit.data_checks import SAID, Step, committed, hash_at
from blobwatch.lineage.audit.hashing import Evidence
from blobwatch.lineage.dvc_cache import Cache
from blobwatch.lineage.fingerprint import GIVEN, read_receipt, receipt_path
from blobwatch.lineage.model_version import Subject
from blobwatch.lineage.origin import DIRTY
from blobwatch.lineage.restore import Snapshot, read_file

FOLDER = GIVEN[0]
TABLE = f"{FOLDER}/{LABELS}"


@dataclass(frozen=True)
class Labels:
    """What people said of the exposures behind a version.

    Attributes
    ----------
    rows : list of dict or None
        ``rootname``, ``x``, ``y``, ``radius``, ``label``, ``who``, ``when`` of each; None where they are not
        known here, which is not the same as none.
    note : str
        Where they were read, or why they are not known.
    """

    rows: list[dict] | None = None
    note: str = ""

    @property
    def summary(self) -> str:
        """How many there are of each kind, and by how many people."""
        if not self.rows:
            return "not known here" if self.rows is None else "none"
        people, kinds = len({row["who"] for row in self.rows}), Counter(row["label"] for row in self.rows)
        said = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        return f"{len(self.rows)} by {people} {'person' if people == 1 else 'people'} ({said})"


def behind(
    subject: Subject, snapshot: Snapshot | None, chain: list[Step], seen: dict[str, Evidence]
) -> Labels:
    """Return the labels that were used for the subframes of a version.

    Parameters
    ----------
    subject : Subject
    snapshot : Snapshot or None
        The ``dvc.lock`` in which its chain stands.
    chain : list of Step
    seen : dict of str to Evidence
        What was found in each folder of the chain, by its path.
    """
    step = next((one for one in chain if one.link == SAID["subframes"]), None)
    if step is None:
        return Labels(note="the manifest is not here")
    return used(subject, step, seen[step.path]) or given(subject, snapshot, step)


def used(subject: Subject, step: Step, evidence: Evidence) -> Labels | None:
    """Return the labels in the subframes themselves; None where the bytes that were hashed are not here."""
    cache = Cache.of(subject.root)
    listings = (cache.listing(step.expected), evidence.listing)
    listing = next((one for one in listings if one and listing_hash(one) == step.expected), None)
    if listing is None:
        return None
    if LABELS not in listing:
        return Labels([], f"{step.path} was made without {LABELS}")
    folder, commit = subject.root / step.path, clean(subject.commit)
    for place, content in (
        (f"{step.path}/{LABELS}", read_file(folder / LABELS)),
        (f"{step.path}/{LABELS} in DVC's cache", read_file(cache.path(listing[LABELS]))),
        (f"{TABLE} of commit {commit[:12]}", committed(subject.root, commit).get(TABLE)),
    ):
        if content is not None and md5(content).hexdigest() == listing[LABELS]:
            return read(content, place)
    return None


def given(subject: Subject, snapshot: Snapshot | None, step: Step) -> Labels:
    """Return the labels of the commit, if the stage that made the subframes says that it took those.

    Which of them it used, only the subframes say. The manifest's exposures come close: they are those of the
    splits, where the stage takes a label of any exposure that has a difference image.
    """
    absent = f"the bytes of {step.path}/{LABELS} are not here (`dvc pull`)"
    whole = snapshot is not None and step.stage is not None and not step.against
    receipt = read_receipt(snapshot.read(receipt_path(step.stage))) if whole else None
    if receipt is None:
        return Labels(note=f"{absent}, and nothing says which {FOLDER} it was made from")
    commit, taken = clean(subject.commit), receipt[0].parts["code"].get(FOLDER)
    if taken is None:
        return Labels([], f"{step.path} was made without {FOLDER}")
    there = committed(subject.root, commit)
    if hash_at(there, FOLDER) != taken:
        return Labels(note=f"{absent}, and this clone has no commit {commit[:12]} with the {FOLDER} it had")
    found = read(there.get(TABLE, b""), f"{TABLE} of commit {commit[:12]}")
    if not found.rows:
        return found
    names = {row["rootname"] for row in subject.exposures}
    rows = [row for row in found.rows if row["rootname"] in names]
    if not rows:
        return Labels(note=f"{absent}, and {found.note} has none of its exposures")
    return Labels(rows, f"those of its exposures in {found.note}, since {absent}")


def clean(commit: str) -> str:
    """Return a commit without the word that its inputs were not in it."""
    return commit.removesuffix(DIRTY)


def read(content: bytes, place: str) -> Labels:
    """Return the labels of a table, with the place where it was."""
    try:
        rows = csv.DictReader(StringIO(content.decode(), newline=""))
        return Labels([asdict(parse_label(row)) for row in rows], place)
    except (ValueError, KeyError, TypeError, csv.Error):
        return Labels(note=f"{place} is no table of labels")
