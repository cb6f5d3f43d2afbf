"""The log of promotions: one line of JSON each, holding the hash of the line before; never rewritten.

It lies in git and is the truth about what is deployed. Aliases of the registry mirror it.
"""

import hashlib
import json
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import write_text

KEYS = {"previous", "action", "version", "who", "when", "reason"}
KEYS |= {"run_id", "files", "fingerprint", "commit", "data", "metrics"}


def read(path: Path) -> list[dict]:
    """Return the records, oldest first; none if there is no log yet.

    Raises
    ------
    BlobwatchError
        If a line is no record, or was altered, removed or inserted after it was written; names the line.
    """
    path = Path(path)
    records, previous = [], ""
    for number, line in enumerate(lines(path), start=1):
        mend = f"restore it with `git checkout {path.as_posix()}`"
        try:
            record = json.loads(line)
            missing = KEYS - record.keys()
        except (ValueError, AttributeError):
            raise BlobwatchError(f"{path}, line {number} is no JSON record; {mend}") from None
        if missing:
            raise BlobwatchError(f"{path}, line {number} lacks {', '.join(sorted(missing))}; {mend}")
        if record["previous"] != previous:
            raise BlobwatchError(
                f"{path}, line {number} does not continue the line before it: one was changed; {mend}"
            )
        records.append(record)
        previous = line_hash(line)
    return records


def append(path: Path, record: dict) -> dict:
    """Add a record behind the last one, whole or not at all, and return it with its ``previous``."""
    path = Path(path)
    read(path)  # nothing is added to a broken chain
    before = lines(path)
    record = record | {"previous": line_hash(before[-1]) if before else ""}
    if record.keys() != KEYS:
        odd = sorted(record.keys() ^ KEYS)
        raise BlobwatchError(f"a promotion has exactly the keys of the log; these differ: {', '.join(odd)}")
    line = json.dumps(record, sort_keys=True, allow_nan=False)
    write_text(path, "".join(f"{one}\n" for one in [*before, line]))
    return record


def lines(path: Path) -> list[str]:
    """Return the lines of the log without their ends."""
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def line_hash(line: str) -> str:
    """Return the sha256 by which the next line names this one."""
    return hashlib.sha256(line.encode()).hexdigest()
