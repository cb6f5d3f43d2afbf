"""Labels by people behind a version, from its subframes or else from its commit."""

import csv
from collections import Counter
from dataclasses import asdict, dataclass
from hashlib import md5
from io import StringIO

from blobwatch.dataset.labels import LABELS, parse_label
from blobwatch.files import listing_hash
from blobwatch.lineage.audit.chain import LINK_OF_STAGE, Step, files_of_commit, hash_in_commit
from blobwatch.lineage.audit.hashing import FolderCheck
from blobwatch.lineage.dvc_cache import Cache, restoring_command
from blobwatch.lineage.fingerprint import USER_FILES, read_receipt, receipt_path
from blobwatch.lineage.model_version import ModelVersion
from blobwatch.lineage.origin import DIRTY
from blobwatch.lineage.restore import Snapshot, read_file

FOLDER = USER_FILES[0]
TABLE = f"{FOLDER}/{LABELS}"


@dataclass(frozen=True)
class Labels:
    """Labels by people that were used to train a version.

    Attributes
    ----------
    rows : list of dict or None
        ``rootname``, ``x``, ``y``, ``radius``, ``label``, ``who``, ``when`` of each label. None means that
        the labels are unknown here; an empty list means that there were none.
    note : str
        Where they were read, or why they are unknown.
    """

    rows: list[dict] | None = None
    note: str = ""

    @property
    def summary(self) -> str:
        """Return the number of labels per kind, and of people."""
        if not self.rows:
            return "unknown" if self.rows is None else "none"
        people, kinds = len({row["who"] for row in self.rows}), Counter(row["label"] for row in self.rows)
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        return f"{len(self.rows)} by {people} {'person' if people == 1 else 'people'} ({counts})"


def find_labels(
    subject: ModelVersion, snapshot: Snapshot | None, chain: list[Step], checks: dict[str, FolderCheck]
) -> Labels:
    """Return the labels that the subframes of a version were made with.

    Parameters
    ----------
    subject : ModelVersion
    snapshot : Snapshot or None
        The ``dvc.lock`` that contains the chain.
    chain : list of Step
    checks : dict of str to FolderCheck
        The result for each folder of the chain, by path.
    """
    step = next((one for one in chain if one.link == LINK_OF_STAGE["subframes"]), None)
    if step is None:
        return Labels(note="the manifest is missing")
    return read_from_subframes(subject, step, checks[step.path]) or read_from_commit(subject, snapshot, step)


def read_from_subframes(subject: ModelVersion, step: Step, result: FolderCheck) -> Labels | None:
    """Return the labels that are stored with the subframes.

    Return None without a file that has the expected hash.
    """
    cache = Cache.of(subject.root)
    listings = (cache.listing(step.expected), result.listing)
    listing = next((one for one in listings if one and listing_hash(one) == step.expected), None)
    if listing is None:
        return None
    if LABELS not in listing:
        return Labels([], f"{step.path} was made without {LABELS}")
    folder, commit = subject.root / step.path, subject.commit.removesuffix(DIRTY)
    for place, content in (
        (f"{step.path}/{LABELS}", read_file(folder / LABELS)),
        (f"{step.path}/{LABELS} in DVC's cache", read_file(cache.path(listing[LABELS]))),
        (f"{TABLE} of commit {commit[:12]}", files_of_commit(subject.root, commit).get(TABLE)),
    ):
        if content is not None and md5(content).hexdigest() == listing[LABELS]:
            return parse_labels(content, place)
    return None


def read_from_commit(subject: ModelVersion, snapshot: Snapshot | None, step: Step) -> Labels:
    """Return the labels in the commit of a version.

    Their hash must be the one in the fingerprint of the subframes stage.

    Only the subframes show which of these labels were used. The labels of the manifest's exposures are an
    approximation: the stage also uses labels of exposures between the splits.
    """
    absent = f"{step.path}/{LABELS} is missing (`{restoring_command(subject.root)}`)"
    receipt = None
    if snapshot and step.stage and not step.problem:
        receipt = read_receipt(snapshot.read(receipt_path(step.stage)))
    if receipt is None:
        return Labels(note=f"{absent}, and no record names the {FOLDER} it was made from")
    commit, expected = subject.commit.removesuffix(DIRTY), receipt[0].parts["code"].get(FOLDER)
    if expected is None:
        return Labels([], f"{step.path} was made without {FOLDER}")
    content = files_of_commit(subject.root, commit)
    if hash_in_commit(content, FOLDER) != expected:
        return Labels(note=f"{absent}, and this clone has no commit {commit[:12]} with the same {FOLDER}")
    found = parse_labels(content.get(TABLE, b""), f"{TABLE} of commit {commit[:12]}")
    if not found.rows:
        return found
    names = {row["rootname"] for row in subject.exposures}
    rows = [row for row in found.rows if row["rootname"] in names]
    if not rows:
        return Labels(note=f"{absent}, and {found.note} has none of its exposures")
    return Labels(rows, f"those of its exposures in {found.note}, because {absent}")


def parse_labels(content: bytes, place: str) -> Labels:
    """Return the labels of a CSV table that was read from `place`."""
    try:
        rows = csv.DictReader(StringIO(content.decode(), newline=""))
        return Labels([asdict(parse_label(row)) for row in rows], place)
    except (ValueError, KeyError, TypeError, csv.Error):
        return Labels(note=f"{place}: not a table of labels")
