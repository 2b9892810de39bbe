"""What SQLite's errors mean to us."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from ..errors import Busy, RegistryError, StorageFailed, StorageFull

BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
OUTSIDE = (
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM,
)  # fmt: skip


def meaning_of(exc: sqlite3.Error) -> RegistryError | None:
    """The typed error for one of SQLite's that the outside world causes; None for a mistake of ours."""
    code = getattr(exc, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in BUSY:
        return Busy()
    if primary == sqlite3.SQLITE_FULL:
        return StorageFull()
    return StorageFailed(str(exc)) if primary in OUTSIDE else None


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """SQLite's errors as ours, where they come from outside."""
    try:
        yield
    except sqlite3.Error as exc:
        meaning = meaning_of(exc)
        if meaning is None:
            raise
        raise meaning from exc
