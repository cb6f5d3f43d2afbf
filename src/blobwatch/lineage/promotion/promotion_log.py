"""Log of promotions: one line of JSON each, with the hash of the previous line; never rewritten.

It is in git and defines the deployed version. The aliases of the registry follow it.
"""

import hashlib
import json
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import write_text

LOG = "models/promotions.jsonl"
KEYS = {"previous", "action", "version", "who", "when", "reason"}
KEYS |= {"run_id", "files", "fingerprint", "commit", "data", "metrics"}
FORCED = "forced"  # messages of the failed gates; only in forced promotions


def read(path: Path) -> list[dict]:
    """Return the records, oldest first; empty without a log.

    Raises
    ------
    BlobwatchError
        If a line is not a record, or was altered, removed or inserted. Contains the line number.
    """
    path = Path(path)
    records, previous = [], ""
    for number, line in enumerate(lines(path), start=1):
        remedy = f"Restore it with `git checkout {path.as_posix()}`"
        try:
            record = json.loads(line)
            missing = KEYS - record.keys()
        except (ValueError, AttributeError):
            raise BlobwatchError(f"{path}, line {number} is not a JSON record. {remedy}") from None
        if missing:
            raise BlobwatchError(f"{path}, line {number} lacks {', '.join(sorted(missing))}. {remedy}")
        if record["previous"] != previous:
            raise BlobwatchError(
                f"{path}, line {number} does not continue the previous line: a line was changed, removed or "
                f"moved. {remedy}"
            )
        records.append(record)
        previous = line_hash(line)
    return records


def compose(path: Path, record: dict) -> tuple[dict, str]:
    """Return a record with its ``previous`` hash, and its line for the log."""
    read(path)  # raises an error if the chain is broken
    before = lines(path)
    record = record | {"previous": line_hash(before[-1]) if before else ""}
    if record.keys() - {FORCED} != KEYS:
        odd = sorted((record.keys() - {FORCED}) ^ KEYS)
        raise BlobwatchError(
            f"a promotion must have exactly the keys of the log. Different keys: {', '.join(odd)}"
        )
    return record, json.dumps(record, sort_keys=True, allow_nan=False)


def append(path: Path, line: str) -> None:
    """Append a line atomically."""
    write_text(path, "".join(f"{one}\n" for one in [*lines(path), line]))


def lines(path: Path) -> list[str]:
    """Return the lines of the log without line ends."""
    return split(Path(path).read_bytes()) if Path(path).is_file() else []


def split(content: bytes) -> list[str]:
    """Return the lines of the content of a log."""
    return content.decode(errors="replace").splitlines()


def line_hash(line: str) -> str:
    """Return the sha256 of a line, stored in the next line."""
    return hashlib.sha256(line.encode()).hexdigest()


def hashes(path: Path) -> list[str]:
    """Return the hash of each line."""
    return [line_hash(line) for line in lines(path)]


def first_change(earlier: list[str], now: list[str]) -> int | None:
    """Return the number of the first line that differs from an earlier log, or None."""
    for number, line in enumerate(earlier, start=1):
        if number > len(now) or now[number - 1] != line:
            return number
    return None


def deployed_before(records: list[dict]) -> dict | None:
    """Return the record that a rollback restores, or None.

    A rollback undoes the newest promotion that is still in effect. Two rollbacks undo two promotions.
    """
    stack: list[dict] = []
    for record in records:
        if record["action"] == "rollback":
            stack.pop()
        else:
            stack.append(record)
    return stack[-2] if len(stack) > 1 else None
