"""A file and its embeddings put into the database: what is new becomes rows, what is known gains what is new about it."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import asdict, replace

from embconv.converters import Hint
from embconv.converters.sidecars import hashes_in

from ..errors import Blocked
from ..model import Arrival, Arrived, Origin, Prepared, PreparedEmbedding
from .civitai import arrived
from .documents import refresh
from .lines import add_line, text
from .rows import tidy

if TYPE_CHECKING:
    from sqlite_utils import Database

# Hashes of a file that are looked up by their own value; the others of converters.Hashes are how one of these begins.
KEPT = ("sha256", "blake3", "crc32", "autov1", "autov3_full")


# Its revision is nobody's until `refresh` gives it one.
INSERT = "INSERT INTO embeddings ({}, revision) SELECT {}, -1 - ifnull(max(id), 0) FROM embeddings"


def arrive(db: Database, arrivals: Iterable[Arrival], at: str) -> list[Arrived | Blocked]:
    """Remember files, one after the other; an embedding that was removed for good stops its file and no other."""
    done: list[Arrived | Blocked] = []
    told: set[int] = set()
    for arrival in arrivals:
        try:
            done.append(one(db, arrival, at))
            told |= arrived(db, arrival.prepared.sha256, at)
        except Blocked as exc:
            done.append(exc)
    refresh(db, (*told, *(id_ for each in done if isinstance(each, Arrived) for id_ in each.ids)), at)
    return done


def one(db: Database, arrival: Arrival, at: str) -> Arrived:
    """One file without what is derived from it. Nothing is written where it raises Blocked."""
    prepared = arrival.prepared
    known = {embedding.digest: found for embedding in prepared.embeddings if (found := standing(db, embedding, arrival.unblock))}
    file_id, new_file = put_file(db, prepared, at)
    ids, added = [], 0
    for place, embedding in enumerate(prepared.embeddings):
        id_, state = known.get(embedding.digest, (None, "new"))
        if id_ is None:
            id_ = known.setdefault(embedding.digest, (insert(db, embedding, at), "present"))[0]
        elif state != "present":
            db.execute("UPDATE embeddings SET state = 'present', state_at = NULL, state_why = '' WHERE id = ?", (id_,))
            known[embedding.digest] = (id_, "present")
        added += state != "present"
        attach(db, id_, file_id, place, embedding, arrival)
        tell(db, id_, arrival, embedding, at)
        ids.append(id_)
    return Arrived(ids=tuple(ids), added=added, new_file=new_file)


def standing(db: Database, embedding: PreparedEmbedding, unblock: bool) -> tuple[int, str] | None:
    """The id and the state of an embedding that is or was here."""
    row = db.execute("SELECT id, state, state_at, state_why FROM embeddings WHERE digest = ?", (embedding.digest,)).fetchone()
    if row is None:
        return None
    if row[1] == "blocked" and not unblock:
        raise Blocked(f"emb:{embedding.digest}", row[2], row[3])
    return row[0], row[1]


def put_file(db: Database, prepared: Prepared, at: str) -> tuple[int, bool]:
    """The file's id, and whether its bytes were not here."""
    row = db.execute("SELECT id, removed FROM files WHERE sha256 = ?", (prepared.sha256,)).fetchone()
    if row is None:
        values = (prepared.sha256, prepared.name, prepared.size, prepared.container, prepared.layout, text(prepared.hashes), at)
        sql = "INSERT INTO files (sha256, name, size, container, layout, hashes, added) VALUES (?, ?, ?, ?, ?, ?, ?)"
        return inserted(db.conn.execute(sql, values)), True
    if row[1] is not None:
        db.execute("UPDATE files SET removed = NULL, removed_why = '', added = ?, name = ? WHERE id = ?", (at, prepared.name, row[0]))
    return row[0], row[1] is not None


def insert(db: Database, embedding: PreparedEmbedding, at: str) -> int:
    """A new embedding, called as its file calls it."""
    name = embedding.trigger.strip("<>").strip() or embedding.trigger
    values = {
        "digest": embedding.digest,
        "name": name,
        "name_key": key_of(name),
        "trigger": embedding.trigger,
        "trigger_key": key_of(embedding.trigger),
        "own_base": embedding.base,
        "encoders": text(embedding.encoders),
        "output_encoders": text(embedding.output_encoders),
        "vectors": embedding.vectors,
        "findings": text(embedding.findings),
        "added": at,
        "changed": at,
    }
    return inserted(db.conn.execute(INSERT.format(", ".join(values), ", ".join(f":{name}" for name in values)), values))


def key_of(name: str) -> str:
    """A name as it is looked up: without the brackets of a token, regardless of case."""
    return unicodedata.normalize("NFC", (name.strip().strip("<>").strip() or name).casefold())


def attach(db: Database, id_: int, file_id: int, place: int, embedding: PreparedEmbedding, arrival: Arrival) -> None:
    """What the file is to the embedding: its hashes, what it calls it, the hashes it claims of its sources."""
    db.conn.execute("INSERT OR IGNORE INTO embedding_files (embedding_id, file_id, place) VALUES (?, ?, ?)", (id_, file_id, place))
    hashes = arrival.prepared.hashes
    computed = [(hashes[kind].lower(), kind, id_, file_id, 0) for kind in KEPT if kind in hashes]
    computed += [(value, "a1111_checksum", id_, 0, 0) for value in embedding.checksums]
    claimed = [(value, kind, id_, file_id, 1) for kind, value in claims_of(embedding, arrival.origin)]
    db.conn.executemany(
        "INSERT OR IGNORE INTO hashes (value, kind, embedding_id, file_id, claim) VALUES (?, ?, ?, ?, ?)", (*computed, *claimed)
    )
    names = [(id_, kind, file_id, value) for kind, value in asdict(embedding.names).items() if value is not None]
    db.conn.executemany("INSERT OR IGNORE INTO names (embedding_id, kind, file_id, value) VALUES (?, ?, ?, ?)", names)


def claims_of(embedding: PreparedEmbedding, origin: Origin | None) -> Iterable[tuple[str, str]]:
    """Hashes that headers, sidecars and whoever brought it name: claims, never facts."""
    for source in embedding.sources:
        yield from ((kind, value.lower()) for kind in ("sha256", "autov1") if (value := getattr(source, kind)))
    for hint in embedding.hints:
        yield from ((kind, value.lower()) for kind, value in hint.hashes.items())
    if origin is not None:
        yield from hashes_in(origin.claims.get("hashes")).items()


def tell(db: Database, id_: int, arrival: Arrival, embedding: PreparedEmbedding, at: str) -> None:
    """What the files beside it, its header, and whoever brought it say."""
    for hint in embedding.hints:
        add_line(db, id_, as_origin(hint, at, arrival.prepared.sha256))
    if arrival.origin is not None:
        add_line(db, id_, replace(arrival.origin, sha256=arrival.origin.sha256 or arrival.prepared.sha256))
    if arrival.tags:
        db.conn.executemany("INSERT OR IGNORE INTO tags (embedding_id, tag) VALUES (?, ?)", [(id_, tag) for tag in tidy(arrival.tags)])
    if arrival.role:
        db.execute("UPDATE embeddings SET role = ? WHERE id = ?", (arrival.role, id_))
        mark(db, id_, ["role"])
    if arrival.name and len(arrival.prepared.embeddings) == 1:  # several cannot all be called so
        db.execute("UPDATE embeddings SET name = ?, name_key = ? WHERE id = ?", (arrival.name, key_of(arrival.name), id_))
        mark(db, id_, ["name"])


def mark(db: Database, id_: int, fields: Iterable[str]) -> None:
    """From now on no claim changes these fields."""
    (before,) = db.execute("SELECT edited FROM embeddings WHERE id = ?", (id_,)).fetchone()
    own = sorted({*msgspec.json.decode(before, type=list[str]), *fields})
    db.execute("UPDATE embeddings SET edited = ? WHERE id = ?", (text(own), id_))


def as_origin(hint: Hint, at: str, sha256: str) -> Origin:
    """A claim of a header or of a file beside it as a line of origin; which of them is its id."""
    claims = {name: value for name, value in asdict(hint).items() if value and name != "source"}
    return Origin(source="header" if hint.source == "modelspec" else "sidecar", id=hint.source, seen=at, sha256=sha256, claims=claims)


def inserted(cursor: sqlite3.Cursor) -> int:
    """The id of the row that was inserted."""
    assert cursor.lastrowid is not None
    return cursor.lastrowid
