"""The document of an embedding: JSON that is made with every change, so that showing it is one row read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from ..errors import Gone, UnknownReference
from ..words import indexed
from .rows import Made, gather, made

if TYPE_CHECKING:
    from sqlite_utils import Database

DESCRIPTION = 20_000  # characters of it that can be searched for


def document(db: Database, id: int) -> bytes:  # noqa: A002  # it is called so everywhere
    """The JSON of one embedding that is here."""
    row = db.execute("SELECT document FROM documents WHERE id = ?", (id,)).fetchone()
    if row is None:
        must_be_here(db, id)
        raise UnknownReference(str(id))
    found: bytes = row[0]
    return found


def must_be_here(db: Database, id_: int) -> None:
    """Gone for an embedding that was removed."""
    row = db.execute("SELECT digest, state, state_at, state_why FROM embeddings WHERE id = ?", (id_,)).fetchone()
    if row is None:
        raise UnknownReference(str(id_))
    if row[1] != "present":
        raise Gone(f"emb:{row[0]}", row[2], row[3], blocked=row[1] == "blocked")


def documents(db: Database, ids: Sequence[int]) -> list[bytes]:
    """The JSON of each in this order, without those that are gone."""
    wanted = msgspec.json.encode(list(ids)).decode()
    found = dict(db.execute("SELECT id, document FROM documents WHERE id IN (SELECT value FROM json_each(?))", (wanted,)).fetchall())
    return [found[id_] for id_ in ids if id_ in found]


def documents_by_digest(db: Database, digests: Iterable[str]) -> dict[str, bytes]:
    """Digest, with emb: before it -> the JSON, of those that are here."""
    sql = "SELECT d.document FROM embeddings e JOIN documents d ON d.id = e.id WHERE e.digest = ? AND e.state = 'present'"
    found = {digest: db.execute(sql, (digest.removeprefix("emb:"),)).fetchone() for digest in dict.fromkeys(digests)}
    return {digest: row[0] for digest, row in found.items() if row is not None}


def rebuilt(db: Database, ids: Iterable[int]) -> dict[int, bytes]:
    """What the documents of these embeddings would be if they were made now; equal to what is stored, always."""
    return {parts.row.id: msgspec.json.encode(made(parts).entry) for parts in gather(db, ids) if parts.row.state == "present"}


def refresh(db: Database, ids: Iterable[int], at: str, *, force: bool = False) -> None:
    """Make everything anew that is derived from the rows of these embeddings.

    Those whose document stays equal are left alone, so that their revision stays, unless by `force`.
    """
    wanted = sorted(set(ids))
    found = gather(db, wanted)
    gone = [parts.row.id for parts in found if parts.row.state != "present"]
    results = {parts.row.id: made(parts) for parts in found if parts.row.state == "present"}
    encoded = msgspec.json.encode(wanted).decode()
    old = dict(db.execute("SELECT id, document FROM documents WHERE id IN (SELECT value FROM json_each(?))", (encoded,)).fetchall())
    changed = {id_: result for id_, result in results.items() if force or old.get(id_) != msgspec.json.encode(result.entry)}
    dated = {id_: replace(result, entry=replace(result.entry, changed=at)) for id_, result in changed.items()}
    forget(db, gone, [id_ for id_ in dated if force or id_ in old])
    keep(db, dated, revisions(db, len(dated)))


def forget(db: Database, gone: list[int], again: list[int]) -> None:
    """Take away what is derived of those that are not here any more, and the words of those that are indexed anew."""
    if not gone and not again:
        return
    db.conn.executemany("DELETE FROM words WHERE rowid = ?", [(id_,) for id_ in (*gone, *again)])
    db.conn.executemany("DELETE FROM documents WHERE id = ?", [(id_,) for id_ in gone])
    first = revisions(db, len(gone))
    db.conn.executemany(
        "UPDATE embeddings SET revision = ?, facts = '' WHERE id = ?", [(first + place, id_) for place, id_ in enumerate(gone)]
    )


def keep(db: Database, results: dict[int, Made], first: int) -> None:
    """Write documents, words, and the columns that claims decide."""
    if not results:
        return
    db.conn.executemany(
        "UPDATE embeddings SET base = ?, role = ?, nsfw = ?, licence = ?, downloads = ?, changed = ?, facts = ?, revision = ? WHERE id = ?",
        [(*columns(result), first + place, id_) for place, (id_, result) in enumerate(results.items())],
    )
    db.conn.executemany(
        "INSERT INTO documents (id, document) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET document = excluded.document",
        [(id_, msgspec.json.encode(result.entry)) for id_, result in results.items()],
    )
    db.conn.executemany(
        "INSERT INTO words (rowid, name, trigger, names, creators, tags, titles, notes, descriptions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(id_, *words(result)) for id_, result in results.items()],
    )


def columns(result: Made) -> tuple[Any, ...]:
    """base, role, nsfw, licence, downloads, changed, facts."""
    entry = result.entry
    licence = msgspec.json.encode(entry.licence).decode() if entry.licence else None
    return entry.base, entry.role, entry.nsfw, licence, entry.downloads, entry.changed, msgspec.json.encode(result.facts)


def words(result: Made) -> tuple[str, ...]:
    """name, trigger, names, creators, tags, titles, notes, descriptions: what can be searched for."""
    entry, said = result.entry, result.told
    own = {entry.name, entry.trigger}
    names = dict.fromkeys(name for kind in entry.names.values() for name in kind if name not in own)
    files = (file.name for file in entry.files)
    told = plain_text(" ".join(said.descriptions)[:DESCRIPTION])
    parts = ([entry.name], [entry.trigger], [*names, *files], entry.creators, entry.tags, said.titles, [entry.notes], [told])
    return tuple(indexed(" ".join(part)) for part in parts)


def plain_text(html: str) -> str:
    """A description without its tags, to be searched and never shown."""
    first, *rest = html.split("<")
    return " ".join([first, *(part.partition(">")[2] if ">" in part else part for part in rest)])


def revisions(db: Database, count: int) -> int:
    """The first of `count` new revisions."""
    if count == 0:
        return 0
    latest: int = db.execute("UPDATE revisions SET latest = latest + ? RETURNING latest", (count,)).fetchall()[0][0]
    return latest - count + 1
