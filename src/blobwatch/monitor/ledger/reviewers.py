"""Who may review on the page: each with a token, of which the ledger keeps the hash."""

import hashlib
import secrets

from sqlalchemy import select

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.database import Ledger, now
from blobwatch.monitor.ledger.tables import Reviewer

LONGEST = 200  # letters of a name


def hash_of(token: str) -> str:
    """Return the hash by which the ledger knows a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def name_of(ledger: Ledger, token: str) -> str:
    """Return whose token it is; empty if nobody's."""
    if not token:
        return ""
    with ledger.reading() as session:
        return session.scalar(select(Reviewer.name).filter_by(token_sha256=hash_of(token))) or ""


def checked(name: str) -> str:
    """Return the name of a person, without blanks around it."""
    name = name.strip()
    if not name or not name.isprintable() or len(name) > LONGEST:
        raise BlobwatchError(f"give the name of a person, of up to {LONGEST} letters")
    return name


def admit(ledger: Ledger, name: str) -> str:
    """Let a person review on the page; return the token, of which the ledger keeps only the hash."""
    name, token = checked(name), secrets.token_urlsafe(24)
    with ledger.writing() as session:
        session.add(Reviewer(name=name, token_sha256=hash_of(token), since=now()))
    return token


def dismiss(ledger: Ledger, name: str) -> int:
    """Take a person's tokens away; return how many there were."""
    name = checked(name)
    with ledger.writing() as session:
        found = session.scalars(select(Reviewer).filter_by(name=name)).all()
        for one in found:
            session.delete(one)
    if not found:
        raise BlobwatchError(f"no reviewer is called {name}")
    return len(found)
