"""What verify and backup ask of the database: is it whole, which files has it, what of it is not as it would be made now."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from .documents import words
from .rows import gather, made

if TYPE_CHECKING:
    from sqlite_utils import Database

AT_ONCE = 500  # rows that are looked at together
INDEX = "INSERT INTO words (words, rank) VALUES ('integrity-check', 0)"


def integrity(db: Database) -> list[str]:
    """What SQLite finds wrong with its own file; nothing where it is whole."""
    found = [row[0] for row in db.execute("PRAGMA integrity_check(20)")]
    broken = db.execute("PRAGMA foreign_key_check").fetchall()
    dangling = [f"a row of {table} names one of {parent} that is not there" for table, _, parent, _ in broken]
    return [*(text for text in found if text != "ok"), *dangling]


def index_is_whole(db: Database) -> bool:
    """Does the full-text index agree with its texts? Within a write, as SQLite has it."""
    try:
        db.conn.execute(INDEX)
    except sqlite3.DatabaseError:
        return False
    return True


def rebuild_index(db: Database) -> None:
    """Make the full-text index anew from its texts."""
    db.conn.execute("INSERT INTO words (words) VALUES ('rebuild')")


def files_with_digests(db: Database) -> Iterator[tuple[str, str, list[str]]]:
    """sha256, name and the digests of what is in it, of every file that is here."""
    last = 0
    while rows := db.execute(
        "SELECT id, sha256, name FROM files WHERE id > ? AND removed IS NULL ORDER BY id LIMIT ?", (last, AT_ONCE)
    ).fetchall():
        for _, sha256, name in rows:
            yield sha256, name, digests_of(db, sha256)
        last = rows[-1][0]


def digests_of(db: Database, sha256: str) -> list[str]:
    """The digests of what is in a file, in its order."""
    sql = (
        "SELECT e.digest FROM files f JOIN embedding_files l ON l.file_id = f.id JOIN embeddings e ON e.id = l.embedding_id"
        " WHERE f.sha256 = ? ORDER BY l.place"
    )
    return [digest for (digest,) in db.execute(sql, (sha256,))]


def present_files(db: Database) -> list[str]:
    """The sha256 of every file that is here."""
    return [sha256 for (sha256,) in db.execute("SELECT sha256 FROM files WHERE removed IS NULL ORDER BY id")]


def batches(db: Database) -> Iterator[list[int]]:
    """The ids of all embeddings, some at a time."""
    last = 0
    while rows := db.execute("SELECT id FROM embeddings WHERE id > ? ORDER BY id LIMIT ?", (last, AT_ONCE)).fetchall():
        yield [id_ for (id_,) in rows]
        last = rows[-1][0]


def stale(db: Database, ids: list[int]) -> list[int]:
    """Those whose document, facts or words are not what would be made of their rows now."""
    wanted = msgspec.json.encode(ids).decode()
    documents = dict(db.execute("SELECT id, document FROM documents WHERE id IN (SELECT value FROM json_each(?))", (wanted,)).fetchall())
    facts = dict(db.execute("SELECT id, facts FROM embeddings WHERE id IN (SELECT value FROM json_each(?))", (wanted,)).fetchall())
    texts = {id_: tuple(found) for id_, *found in db.execute(
        "SELECT rowid, name, trigger, names, creators, tags, titles, notes, descriptions FROM words"
        " WHERE rowid IN (SELECT value FROM json_each(?))", (wanted,))}  # fmt: skip
    bad = []
    for parts in gather(db, ids):
        id_ = parts.row.id
        if parts.row.state != "present":
            wrong = id_ in documents or id_ in texts
        else:
            now = made(parts)
            same = (msgspec.json.encode(now.entry), msgspec.json.encode(now.facts), words(now))
            wrong = (documents.get(id_), facts.get(id_), texts.get(id_)) != same
        bad += [id_] if wrong else []
    return bad


def snapshot(db: Database, path: str) -> None:
    """A copy of the database as it is at one moment, in a new file; writers go on meanwhile."""
    db.execute("VACUUM INTO ?", (path,))
