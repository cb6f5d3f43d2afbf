"""The log of promotions: one line of JSON each, holding the hash of the line before; never rewritten.

It lies in git and is the truth about what is deployed. Aliases of the registry mirror it.
"""

import hashlib
import json
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import write_text

LOG = "models/promotions.jsonl"
KEYS = {"previous", "action", "version", "who", "when", "reason"}
KEYS |= {"run_id", "files", "fingerprint", "commit", "data", "metrics"}
FORCED = "forced"  # the gates that a promotion went past, in their sentences; only where there were any


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
                f"{path}, line {number} does not continue the line before it: one was changed, removed or "
                f"put elsewhere; {mend}"
            )
        records.append(record)
        previous = line_hash(line)
    return records


def compose(path: Path, record: dict) -> tuple[dict, str]:
    """Return a record with its ``previous``, and the line that it becomes behind the last one."""
    read(path)  # nothing is added to a broken chain
    before = lines(path)
    record = record | {"previous": line_hash(before[-1]) if before else ""}
    if record.keys() - {FORCED} != KEYS:
        odd = sorted((record.keys() - {FORCED}) ^ KEYS)
        raise BlobwatchError(f"a promotion has exactly the keys of the log; these differ: {', '.join(odd)}")
    return record, json.dumps(record, sort_keys=True, allow_nan=False)


def append(path: Path, line: str) -> None:
    """Add a line behind the last one, whole or not at all."""
    write_text(path, "".join(f"{one}\n" for one in [*lines(path), line]))


def lines(path: Path) -> list[str]:
    """Return the lines of the log without their ends."""
    return split(Path(path).read_bytes()) if Path(path).is_file() else []


def split(content: bytes) -> list[str]:
    """Return the lines of the content of a log."""
    return content.decode(errors="replace").splitlines()


def line_hash(line: str) -> str:
    """Return the sha256 by which the next line names this one."""
    return hashlib.sha256(line.encode()).hexdigest()


def hashes(path: Path) -> list[str]:
    """Return the hash of each line."""
    return [line_hash(line) for line in lines(path)]


def first_change(earlier: list[str], now: list[str]) -> int | None:
    """Return the number of the first line that is not what an earlier state of the log has, or None."""
    for number, line in enumerate(earlier, start=1):
        if number > len(now) or now[number - 1] != line:
            return number
    return None


def deployed_before(records: list[dict]) -> dict | None:
    """Return the record to which a rollback goes; None if there is none.

    A rollback undoes the newest promotion that is not undone yet, so two in a row go back by two.
    """
    stack = []
    for record in records:
        if record["action"] == "rollback":
            stack.pop()
        else:
            stack.append(record)
    return stack[-2] if len(stack) > 1 else None
