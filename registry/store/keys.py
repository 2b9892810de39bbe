"""API keys: their names, roles and times, and the hash of each secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import KeyExists, UnknownKey
from ..model import Key

if TYPE_CHECKING:
    from sqlite_utils import Database

FIELDS = "name, role, created, expires, revoked"


def add_key(db: Database, key: Key, hashed: str) -> None:
    """Keep a key. Its name must be free; a revoked one gives its name back."""
    db.execute("DELETE FROM keys WHERE name = ? AND revoked IS NOT NULL", (key.name,))
    if db.execute("SELECT 1 FROM keys WHERE name = ?", (key.name,)).fetchone():
        raise KeyExists(key.name)
    db.execute(
        "INSERT INTO keys (name, role, hash, created, expires, revoked) VALUES (?, ?, ?, ?, ?, ?)",
        (key.name, key.role, hashed, key.created, key.expires, key.revoked),
    )


def key_by_hash(db: Database, hashed: str) -> tuple[Key, str] | None:
    """The key whose secret has this hash, and the hash as it is kept."""
    row = db.execute(f"SELECT {FIELDS}, hash FROM keys WHERE hash = ?", (hashed,)).fetchone()  # noqa: S608  # our own names
    return (as_key(row[:5]), row[5]) if row else None


def list_keys(db: Database) -> list[Key]:
    """Every key, revoked and expired ones too, by name."""
    return [as_key(row) for row in db.execute(f"SELECT {FIELDS} FROM keys ORDER BY name")]  # noqa: S608  # our own names


def revoke_key(db: Database, name: str, at: str) -> None:
    """End a key. Ending it twice is no error."""
    if not db.execute("SELECT 1 FROM keys WHERE name = ?", (name,)).fetchone():
        raise UnknownKey(name)
    db.execute("UPDATE keys SET revoked = ? WHERE name = ? AND revoked IS NULL", (at, name))


def as_key(row: tuple[str, str, str, str | None, str | None]) -> Key:
    """A row as a key."""
    name, role, created, expires, revoked = row
    return Key(name=name, role=role, created=created, expires=expires, revoked=revoked)
