"""Connections to the database: how each is set up, and what its errors mean."""

from __future__ import annotations

import os
import pathlib
import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database

from ..errors import Busy, NoStore, RegistryError, StorageFull
from ..home import database, has_bytes
from ..migrations import migrations
from .meanings import meaning_of, translated

STATEMENTS = 256  # prepared statements that each connection keeps
# A database was made where bytes lay already: they may be all that is left of an older one, and nothing sweeps them away.
FOREIGN_BYTES = "INSERT OR REPLACE INTO sync_state (source, key, value, changed) VALUES ('home', 'bytes_before', '1', datetime('now'))"
# What each connection is asserted to have. sqlite-utils leaves all three as SQLite has them.
PRAGMAS = {
    "journal_mode": "wal",  # readers and the writer do not wait for each other
    "synchronous": 2,       # FULL: a commit that returned outlives a power cut; NORMAL loses the last ones
    "foreign_keys": 1,
}


class Reader(Database):
    """A connection whose errors are ours where they come from outside; the writer's are told apart by its group."""

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> sqlite3.Cursor:
        try:
            return self.conn.execute(sql) if parameters is None else self.conn.execute(sql, parameters)
        except sqlite3.Error as exc:
            meaning = meaning_of(exc)
            if meaning is None:
                raise
            raise meaning from exc


class Passing(Reader):
    """A reader that is closed as soon as nobody holds it or one of its cursors; Python leaves that to its garbage collector."""

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> sqlite3.Cursor:
        cursor = self.conn.cursor(Held)
        cursor.owner = self
        with translated():
            return cursor.execute(sql, () if parameters is None else parameters)

    def __del__(self) -> None:
        self.conn.close()


class Held(sqlite3.Cursor):
    """A cursor that keeps its connection open."""

    owner: Passing


def connect(path: str, busy_seconds: float, kind: type[Database] = Database) -> Database:
    """One connection, in autocommit: a transaction begins where we say so. `check_same_thread`: Store.close may come from another."""
    conn = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS)
    try:
        conn.execute(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")
        use_wal(conn, time.monotonic() + busy_seconds)
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute("PRAGMA foreign_keys = ON")
        conn.execute("PRAGMA temp_store = MEMORY")  # a folder for temporary files may be read-only
        conn.execute(f"PRAGMA journal_size_limit = {64 << 20}")  # what a large write has left of the log is given back
        assert_pragmas(conn, path)
        return kind(conn, execute_plugins=False)
    except BaseException:
        conn.close()
        raise


def read_only(path: str) -> Database:
    """A connection to a database that nobody writes."""
    with translated():
        conn = sqlite3.connect(f"{pathlib.Path(path).absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    return Reader(conn, execute_plugins=False)


def assert_pragmas(conn: sqlite3.Connection, path: str) -> None:
    """NoStore where SQLite did not take a setting on which the promises of this registry stand."""
    for name, wanted in PRAGMAS.items():
        found = conn.execute(f"PRAGMA {name}").fetchone()[0]
        if found != wanted:
            raise NoStore(os.path.dirname(path), f"SQLite gives {name} {found}, not {wanted}; is this a network folder?")


def use_wal(conn: sqlite3.Connection, until: float) -> None:
    """Bring the database to WAL. Two that do so at once lock each other out, and SQLite does not wait there as elsewhere."""
    while True:
        try:
            if conn.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                conn.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as exc:
            if not isinstance(meaning_of(exc), Busy) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def open_database(home: str, *, create: bool, busy_seconds: float) -> Database:
    """The first connection, with every pending migration applied; NoStore where the folder cannot be used."""
    path, bytes_before = database(home), has_bytes(home)  # in this order: who else makes it now puts bytes after it
    try:
        there = os.path.isfile(path)
        if not there and not create:
            raise NoStore(home, "there is no registry.db in it")
        os.makedirs(home, exist_ok=True)
        db = connect(path, busy_seconds)
    except (OSError, sqlite3.Error) as exc:
        raise unusable(home, exc) from exc
    try:
        migrate(db, home)
        if bytes_before and not there:
            db.execute(FOREIGN_BYTES)
    except BaseException as exc:
        db.close()
        if isinstance(exc, OSError | sqlite3.Error):
            raise unusable(home, exc) from exc
        raise
    return db


def migrate(db: Database, home: str) -> None:
    """Apply what is pending, all of it or nothing; of several processes one does it and the others wait."""
    newer(db, home)
    if not migrations.pending(db):
        return
    db.conn.execute("BEGIN EXCLUSIVE")
    try:
        migrations.apply(db)
        db.conn.execute("COMMIT")
    except BaseException:
        if db.conn.in_transaction:
            db.conn.execute("ROLLBACK")
        raise


def newer(db: Database, home: str) -> None:
    """NoStore for a database that a later version of embconv has changed: we would not know what to keep true."""
    known = {step.name for step in migrations._migrations}  # sqlite-utils gives no other list
    foreign = [step.name for step in migrations.applied(db) if step.name not in known]
    if foreign:
        raise NoStore(home, f"a newer embconv made it ({foreign[0]}); update this one")


def unusable(home: str, exc: OSError | sqlite3.Error) -> RegistryError:
    """Why the folder or its database does not open. `database is locked` is Busy: it passes."""
    meaning = meaning_of(exc) if isinstance(exc, sqlite3.Error) else None
    if isinstance(meaning, Busy | StorageFull):
        return meaning
    return NoStore(home, (exc.strerror if isinstance(exc, OSError) else None) or str(exc))


def is_writable(db: Database) -> bool:
    """Can this connection write? One that SQLite opened on a disk that could only be read cannot, even once that is mended."""
    try:
        db.conn.execute("UPDATE revisions SET latest = latest WHERE 0")
    except sqlite3.OperationalError as exc:
        return exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY
    return True


class Readers:
    """One connection for each thread; those of threads that have ended are closed as new ones open.

    Unless they are `lasting`, each is made anew and closed as soon as nobody holds it: what was opened while the disk could only be read
    keeps every later connection of the process from writing (SQLite's wal.c, the shared memory of a read-only WAL).
    """

    lasting = True

    def __init__(self, path: str, busy_seconds: float) -> None:
        self._path, self._busy_seconds = path, busy_seconds
        self._local, self._lock = threading.local(), threading.Lock()
        self._open: dict[threading.Thread, Database] = {}

    def get(self) -> Database:
        db: Database | None = getattr(self._local, "db", None)
        if db is None:
            with translated():
                db = connect(self._path, self._busy_seconds, Reader if self.lasting else Passing)
            if not self.lasting:
                return db
            with self._lock:
                for thread in [thread for thread in self._open if not thread.is_alive()]:
                    self._open.pop(thread).close()
                self._open[threading.current_thread()] = db
            self._local.db = db
        return db

    def close(self) -> None:
        with self._lock:
            for db in self._open.values():
                db.close()
            self._open.clear()
        self._local = threading.local()
