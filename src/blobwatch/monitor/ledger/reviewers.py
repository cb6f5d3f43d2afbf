"""Reviewers: people who may review on the web page, each with tokens."""

import hashlib
import secrets

from sqlalchemy import select

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.database import Ledger, now
from blobwatch.monitor.ledger.tables import Reviewer

MAX_NAME = 200  # characters


def hash_token(token: str) -> str:
    """Return the stored hash of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def find_reviewer(ledger: Ledger, token: str) -> str:
    """Return the name of the owner of a token; empty if it is unknown."""
    if not token:
        return ""
    with ledger.reading() as session:
        return session.scalar(select(Reviewer.name).filter_by(token_sha256=hash_token(token))) or ""


def check_name(name: str) -> str:
    """Return a name without surrounding spaces; raise an error if it is invalid."""
    name = name.strip()
    if not name or not name.isprintable() or len(name) > MAX_NAME:
        raise BlobwatchError(f"the reviewer's name must have 1 to {MAX_NAME} printable characters")
    return name


def add_reviewer(ledger: Ledger, name: str) -> str:
    """Add a reviewer and return the token. The ledger stores only its hash."""
    name, token = check_name(name), secrets.token_urlsafe(24)
    with ledger.writing() as session:
        session.add(Reviewer(name=name, token_sha256=hash_token(token), since=now()))
    return token


def remove_reviewer(ledger: Ledger, name: str) -> int:
    """Remove all tokens of a reviewer; return how many there were."""
    name = check_name(name)
    with ledger.writing() as session:
        found = session.scalars(select(Reviewer).filter_by(name=name)).all()
        for one in found:
            session.delete(one)
    if not found:
        raise BlobwatchError(f"reviewer {name} is unknown")
    return len(found)
