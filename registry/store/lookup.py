"""Who answers to a digest, a hash or a name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from ..errors import AmbiguousReference, Gone, UnknownFile, UnknownReference
from ..model import FileEntry, Match
from .arrivals import key_of
from .rows import file_entry, files_by_id

if TYPE_CHECKING:
    from sqlite_utils import Database

HEX = re.compile(r"[0-9a-f]{1,128}")
LEAST = 8  # digits of a digest that may stand for it
PREFIXES = ("emb:", "sha256:", "blake3:")
# Hashes that are the beginning of another: by their length, of what, and how they are called.
SHORT = {10: {"sha256": "autov2"}, 12: {"sha256": "a1111_shorthash", "autov3_full": "autov3"}}
SHOWN = 100  # embeddings of one name that an error lists
Found = dict[int, tuple[str, str, str, str]]  # id -> digest, state, when, why


def plain(value: str) -> str:
    """A hash as it is looked up: lower case, without what says its kind."""
    text = value.strip().lower()
    prefix = next((prefix for prefix in PREFIXES if text.startswith(prefix)), "")
    return text.removeprefix(prefix)


def resolve(db: Database, ref: str) -> int:
    """The embedding that is meant: by its digest or 8 or more digits of it, any hash of its files, its name or its trigger.

    Raises UnknownReference, AmbiguousReference, or Gone for one that was removed.
    """
    bare = plain(ref)
    found: Found = {}
    if HEX.fullmatch(bare):
        found = by_digest(db, bare) if len(bare) >= LEAST else {}
        if len(bare) != 64 or not found:
            found = {**found, **({} if ref.strip().lower().startswith("emb:") else by_hash(db, bare))}
    found = found or by_name(db, ref)
    present = [id_ for id_, (_, state, _, _) in found.items() if state == "present"]
    if len(present) == 1:
        return present[0]
    if present:
        raise AmbiguousReference(ref, [f"emb:{found[id_][0]}" for id_ in present])
    if found:
        _, state, when, why = next(iter(found.values()))
        raise Gone(ref, when, why, blocked=state == "blocked")
    raise UnknownReference(ref)


def by_digest(db: Database, bare: str) -> Found:
    """Those whose digest begins so."""
    sql = "SELECT id, digest, state, state_at, state_why FROM embeddings WHERE digest BETWEEN ? AND ? ORDER BY digest LIMIT ?"
    return {id_: (digest, state, when, why) for id_, digest, state, when, why in db.execute(sql, (bare, f"{bare}~", SHOWN))}


def by_hash(db: Database, bare: str) -> Found:
    """Those of whose files somebody computed or claims this hash, or one that begins so where such are in use."""
    sql = (
        "SELECT e.id, e.digest, e.state, e.state_at, e.state_why FROM hashes h JOIN embeddings e ON e.id = h.embedding_id"
        " WHERE h.value = ? UNION SELECT e.id, e.digest, e.state, e.state_at, e.state_why FROM hashes h"
        " JOIN embeddings e ON e.id = h.embedding_id WHERE h.value BETWEEN ? AND ? AND h.kind IN (?, ?) LIMIT ?"
    )
    kinds = [*SHORT.get(len(bare), {}), "", ""][:2]
    last = f"{bare}~" if len(bare) in SHORT else bare
    found = db.execute(sql, (bare, bare, last, *kinds, SHOWN))
    return {id_: (digest, state, when, why) for id_, digest, state, when, why in found}


def by_name(db: Database, ref: str) -> Found:
    """Those that are called so, or whose trigger it is."""
    sql = (
        "SELECT id, digest, state, state_at, state_why FROM embeddings WHERE name_key = ?"
        " UNION SELECT id, digest, state, state_at, state_why FROM embeddings WHERE trigger_key = ? ORDER BY id LIMIT ?"
    )
    key = key_of(ref)
    return {id_: (digest, state, when, why) for id_, digest, state, when, why in db.execute(sql, (key, key, SHOWN))} if key else {}


def digest_of(db: Database, id: int) -> str:  # noqa: A002  # it is called so everywhere
    """The digest, with emb: before it."""
    row = db.execute("SELECT digest FROM embeddings WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise UnknownReference(str(id))
    return f"emb:{row[0]}"


def matches(db: Database, value: str) -> list[Match]:
    """Every embedding here that has this hash, as a fact or as a claim."""
    return matches_many(db, [value])[value]


def matches_many(db: Database, values: Sequence[str]) -> dict[str, list[Match]]:
    """`matches` of many, under the values as they were given."""
    bare = {value: plain(value) for value in values}
    wanted = sorted({text for text in bare.values() if HEX.fullmatch(text)})
    found: dict[str, dict[tuple[str, str, str | None], Match]] = {text: {} for text in wanted}
    for text, match in (*as_digests(db, wanted), *as_hashes(db, wanted), *as_beginnings(db, wanted)):
        known = found[text].get((match.digest, match.kind, match.sha256))
        if known is None or known.claim:  # what was computed outweighs the same as a claim
            found[text][match.digest, match.kind, match.sha256] = match
    order = {text: sorted(of.values(), key=lambda m: (m.claim, m.kind, m.digest, m.sha256 or "")) for text, of in found.items()}
    return {value: order.get(text, []) for value, text in bare.items()}


def as_digests(db: Database, wanted: list[str]) -> Iterable[tuple[str, Match]]:
    """Those whose digest it is."""
    sql = "SELECT v.value FROM json_each(?) v CROSS JOIN embeddings e ON e.digest = v.value WHERE e.state = 'present'"
    for (text,) in db.execute(sql, (listed(text for text in wanted if len(text) == 64),)):
        yield text, Match(kind="digest", claim=False, sha256=None, digest=f"emb:{text}")


MATCH = (
    " CROSS JOIN embeddings e ON e.id = h.embedding_id LEFT JOIN files f ON f.id = h.file_id"
    " WHERE e.state = 'present'"
)


def as_hashes(db: Database, wanted: list[str]) -> Iterable[tuple[str, Match]]:
    """Those that have it as it is."""
    sql = f"SELECT v.value, h.kind, h.claim, f.sha256, e.digest FROM json_each(?) v CROSS JOIN hashes h ON h.value = v.value{MATCH}"  # noqa: S608  # MATCH is ours
    for text, kind, claim, sha256, digest in db.execute(sql, (listed(wanted),)):
        yield text, Match(kind=kind, claim=bool(claim), sha256=sha256, digest=f"emb:{digest}")


def as_beginnings(db: Database, wanted: list[str]) -> Iterable[tuple[str, Match]]:
    """Those that have a longer one of which it is the beginning: autov2, autov3, A1111's shorthash."""
    sql = (
        "SELECT v.value, h.kind, h.claim, f.sha256, e.digest FROM json_each(?) v"  # noqa: S608  # MATCH is ours
        f" CROSS JOIN hashes h ON h.value BETWEEN v.value AND v.value || '~'{MATCH} AND h.value != v.value"
    )
    for text, kind, claim, sha256, digest in db.execute(sql, (listed(text for text in wanted if len(text) in SHORT),)):
        if kind in SHORT[len(text)]:
            yield text, Match(kind=SHORT[len(text)][kind], claim=bool(claim), sha256=sha256, digest=f"emb:{digest}")


def listed(values: Iterable[str]) -> str:
    """For json_each."""
    return msgspec.json.encode(list(values)).decode()


def file_of(db: Database, sha256: str) -> FileEntry:
    """The file with this hash. UnknownFile, or Gone where it was here."""
    row = db.execute(
        "SELECT sha256, name, size, container, layout, added, hashes, removed, removed_why FROM files WHERE sha256 = ?", (plain(sha256),)
    ).fetchone()
    if row is None:
        raise UnknownFile(sha256)
    if row[7] is not None:
        raise Gone(sha256, row[7], row[8])
    return file_entry(row)


def known_file(db: Database, sha256: str, name: str) -> list[tuple[str, str]] | None:
    """Digest and trigger of what is in a file that is here under this very name, all of it; None where anything is to be added."""
    rows = db.execute(
        "SELECT e.digest, e.trigger, e.state, f.name FROM files f JOIN embedding_files l ON l.file_id = f.id"
        " JOIN embeddings e ON e.id = l.embedding_id WHERE f.sha256 = ? AND f.removed IS NULL ORDER BY l.place",
        (sha256,),
    ).fetchall()
    if not rows or any(state != "present" or named != name for _, _, state, named in rows):
        return None
    return [(f"emb:{digest}", trigger) for digest, trigger, _, _ in rows]


def files_holding(db: Database, digests: Iterable[str]) -> list[str]:
    """The sha256 of files here that hold one of these embeddings, the first that came first."""
    sql = (
        "SELECT f.sha256 FROM json_each(?) v CROSS JOIN embeddings e ON e.digest = v.value AND e.state = 'present'"
        " JOIN embedding_files l ON l.embedding_id = e.id JOIN files f ON f.id = l.file_id AND f.removed IS NULL ORDER BY f.id"
    )
    return [sha256 for (sha256,) in db.execute(sql, (listed(digest.removeprefix("emb:") for digest in digests),))]


def files_of(db: Database, id: int) -> list[FileEntry]:  # noqa: A002  # it is called so everywhere
    """The files of an embedding, the first that came first."""
    return files_by_id(db, listed_ids([id]))[id]


def listed_ids(ids: Iterable[int]) -> str:
    """For json_each."""
    return msgspec.json.encode(list(ids)).decode()
