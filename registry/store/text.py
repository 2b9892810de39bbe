"""What a search asks of the database.

Everything comes as one text that SQLite writes in one step: with a row at a time, threads would wait for the interpreter at each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .arrivals import key_of

if TYPE_CHECKING:
    from sqlite_utils import Database

FACTS = "id, revision, state, base, role, verdict, nsfw, vectors, downloads, added, facts"
TEXTS = "name, trigger, names, creators, tags, titles, notes, descriptions"
LAST = "\U0010ffff"  # sorts after every character
NAMES = {
    False: "SELECT id, name_key FROM embeddings WHERE (name_key, id) > (?, ?) ORDER BY name_key, id LIMIT ?",
    True: "SELECT id, name_key FROM embeddings WHERE (name_key, id) < (?, ?) ORDER BY name_key DESC, id DESC LIMIT ?",
}


def spoken_of(db: Database, expression: str) -> str:
    """The ids of those whose words fit an FTS5 expression, rising."""
    return joined(db, "SELECT group_concat(rowid) FROM words WHERE words MATCH ?", (expression,))


def spoken_among(db: Database, expression: str, ids: Sequence[int]) -> str:
    """The same of a few ids, by an index of these alone: the large one makes the whole list of a prefix before it is asked for one."""
    (made,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'words'").fetchone()
    sql = f"SELECT w.rowid, {TEXTS} FROM json_each(?) v CROSS JOIN words w ON w.rowid = v.value"  # noqa: S608  # our own names
    rows = db.execute(sql, (listed(sorted(ids)),)).fetchall()
    small = sqlite3.connect(":memory:", isolation_level=None)
    try:
        small.execute(made)
        small.executemany(f"INSERT INTO words (rowid, {TEXTS}) VALUES (?{', ?' * (TEXTS.count(',') + 1)})", rows)  # noqa: S608  # our own names
        found: str | None = small.execute("SELECT group_concat(rowid) FROM words WHERE words MATCH ?", (expression,)).fetchone()[0]
        return found or ""
    finally:
        small.close()


def called(db: Database, name: str) -> str:
    """The ids of those whose name or trigger this is, regardless of case; some twice."""
    key = key_of(name)
    sql = (
        "SELECT group_concat(id) FROM (SELECT id FROM embeddings WHERE name_key = ?"
        " UNION ALL SELECT id FROM embeddings WHERE trigger_key = ?)"
    )
    return joined(db, sql, (key, key))


def beginning(db: Database, name: str) -> str:
    """The ids of those whose name or trigger begins so; some twice."""
    key = key_of(name)
    sql = (
        "SELECT group_concat(id) FROM (SELECT id FROM embeddings WHERE name_key >= ? AND name_key < ?"
        " UNION ALL SELECT id FROM embeddings WHERE trigger_key >= ? AND trigger_key < ?)"
    )
    return joined(db, sql, (key, key + LAST, key, key + LAST))


def beginnings(db: Database, length: int, most: int) -> list[str]:
    """How most names begin."""
    sql = (
        "SELECT json_group_array(begins) FROM (SELECT substr(name_key, 1, ?) AS begins FROM embeddings"
        " GROUP BY begins ORDER BY count(*) DESC LIMIT ?)"
    )
    return msgspec.json.decode(joined(db, sql, (length, most)), type=list[str])


def joined(db: Database, sql: str, parameters: tuple[Any, ...]) -> str:
    """The one text of a group_concat."""
    found: str | None = db.execute(sql, parameters).fetchone()[0]
    return found or ""


def names_after(db: Database, name_key: str, id: int, limit: int, *, descending: bool) -> list[tuple[int, str]]:  # noqa: A002  # as everywhere
    """The next embeddings by name, removed ones too."""
    sql = f"SELECT json_group_array(json_array(id, name_key)) FROM ({NAMES[descending]})"  # noqa: S608  # our own
    return msgspec.json.decode(joined(db, sql, (name_key, id, limit)), type=list[tuple[int, str]])


def names_of(db: Database, ids: Sequence[int]) -> list[tuple[int, str]]:
    """The names of these, as they sort."""
    sql = "SELECT json_group_array(json_array(e.id, e.name_key)) FROM json_each(?) v CROSS JOIN embeddings e ON e.id = v.value"
    return msgspec.json.decode(joined(db, sql, (listed(ids),)), type=list[tuple[int, str]])


def pages_of(db: Database, ids: Sequence[int]) -> list[bytes]:
    """The documents of these in their order, without those that are gone. JSON has no line ends of its own."""
    sql = "SELECT group_concat(d.document, char(10)) FROM json_each(?) v CROSS JOIN documents d ON d.id = v.value"
    text = joined(db, sql, (listed(ids),))
    return text.encode().split(b"\n") if text else []


def listed(ids: Sequence[int]) -> str:
    """For json_each."""
    return msgspec.json.encode(list(ids)).decode()


def facts_since(db: Database, revision: int, limit: int) -> list[tuple[Any, ...]]:
    """FACTS of what changed after a revision, in the order in which it did."""
    return db.execute(f"SELECT {FACTS} FROM embeddings WHERE revision > ? ORDER BY revision LIMIT ?", (revision, limit)).fetchall()  # noqa: S608  # our own names


def facts_above(db: Database, id: int, limit: int) -> list[tuple[Any, ...]]:  # noqa: A002  # as everywhere
    """FACTS of everything, by id: as it lies on the disk."""
    return db.execute(f"SELECT {FACTS} FROM embeddings WHERE id > ? ORDER BY id LIMIT ?", (id, limit)).fetchall()  # noqa: S608  # our own names
