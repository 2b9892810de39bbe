"""The rows of embeddings, read together and made into what is kept of them: the document, the facts, the words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from embconv.converters import Finding

from ..claims import Told, tag_of, told
from ..model import EncoderEntry, Entry, Facts, FileEntry, Licence, Origin

if TYPE_CHECKING:
    from sqlite_utils import Database

COLUMNS = (
    "id", "digest", "name", "trigger", "own_base", "role", "encoders", "output_encoders", "vectors", "findings", "nsfw", "licence",
    "verdict", "notes", "edited", "added", "changed", "state",
)  # fmt: skip


class Row(Struct, frozen=True):
    """One row of `embeddings`, in the order of COLUMNS."""

    id: int
    digest: str
    name: str
    trigger: str
    own_base: str | None
    role: str
    encoders: str
    output_encoders: str
    vectors: int
    findings: str
    nsfw: str | None
    licence: str | None
    verdict: str | None
    notes: str
    edited: str
    added: str
    changed: str
    state: str


class Parts(Struct, frozen=True):
    """All rows that tell of one embedding."""

    row: Row
    files: list[FileEntry]
    origins: list[Origin]
    names: dict[str, tuple[str, ...]]
    tags: list[str]


class Made(Struct, frozen=True):
    """What an embedding's rows come to: what its document says, what a search filters by, and who told what."""

    entry: Entry
    facts: Facts
    told: Told


def gather(db: Database, ids: Iterable[int]) -> list[Parts]:
    """The rows of these embeddings, in the order of their ids."""
    wanted = msgspec.json.encode(list(ids)).decode()
    rows = [Row(*values) for values in db.execute(
        f"SELECT {', '.join(COLUMNS)} FROM embeddings WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id", (wanted,))]  # noqa: S608  # our own column names; # fmt: skip
    files, origins, tags = files_by_id(db, wanted), origins_by_id(db, wanted), defaultdict(list)
    for owner, tag in db.execute(
        "SELECT embedding_id, tag FROM tags WHERE embedding_id IN (SELECT value FROM json_each(?)) ORDER BY embedding_id, tag", (wanted,)
    ):
        tags[owner].append(tag)
    names = names_by_id(db, wanted)
    return [Parts(row, files[row.id], origins[row.id], names[row.id], tags[row.id]) for row in rows]


def files_by_id(db: Database, wanted: str) -> defaultdict[int, list[FileEntry]]:
    """The files that are here, for each embedding, the first that came first."""
    found: defaultdict[int, list[FileEntry]] = defaultdict(list)
    for owner, *values in db.execute(
        "SELECT DISTINCT l.embedding_id, f.sha256, f.name, f.size, f.container, f.layout, f.added, f.hashes, f.id FROM embedding_files l"
        " JOIN files f ON f.id = l.file_id AND f.removed IS NULL"
        " WHERE l.embedding_id IN (SELECT value FROM json_each(?)) ORDER BY l.embedding_id, f.id",
        (wanted,),
    ):
        found[owner].append(file_entry(values))
    return found


def file_entry(values: Sequence[Any]) -> FileEntry:
    """A file from sha256, name, size, container, layout, added, hashes."""
    sha256, name, size, container, layout, added, hashes = values[:7]
    told = msgspec.json.decode(hashes, type=dict[str, str])
    return FileEntry(sha256=sha256, name=name, size=size, container=container, layout=layout, added=added, hashes=told)


def origins_by_id(db: Database, wanted: str) -> defaultdict[int, list[Origin]]:
    """Every line of origin, the oldest first; that is by when it was seen, not by when we heard of it."""
    found: defaultdict[int, list[Origin]] = defaultdict(list)
    for owner, source, source_id, url, seen, state, sha256, claims in db.execute(
        "SELECT embedding_id, source, source_id, url, seen, state, sha256, claims FROM origins"
        " WHERE embedding_id IN (SELECT value FROM json_each(?)) ORDER BY embedding_id, seen, id",
        (wanted,),
    ):
        said = msgspec.json.decode(claims, type=dict[str, Any])
        found[owner].append(Origin(source=source, id=source_id, url=url, seen=seen, state=state, sha256=sha256, claims=said))
    return found


def names_by_id(db: Database, wanted: str) -> defaultdict[int, dict[str, tuple[str, ...]]]:
    """Kind -> what files called it, each once, the first file's first."""
    found: defaultdict[int, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for owner, kind, value in db.execute(
        "SELECT embedding_id, kind, value FROM names WHERE embedding_id IN (SELECT value FROM json_each(?))"
        " ORDER BY embedding_id, kind, file_id, value",
        (wanted,),
    ):
        kinds = found[owner]
        if value not in kinds.get(kind, ()):
            kinds[kind] = (*kinds.get(kind, ()), value)
    return found


def made(parts: Parts) -> Made:
    """The document and the facts, by the rule of claims for what no person set."""
    row, own = parts.row, set(msgspec.json.decode(parts.row.edited, type=list[str]))
    encoders = msgspec.json.decode(row.encoders, type=dict[str, EncoderEntry])
    said = told(parts.origins, set(encoders))
    licence = (msgspec.json.decode(row.licence, type=Licence) if row.licence else None) if "licence" in own else said.licence
    tags = sorted({*parts.tags, *(() if "tags" in own else said.tags)})
    entry = Entry(
        digest=f"emb:{row.digest}",
        name=row.name,
        trigger=row.trigger,
        base=said.base or row.own_base,
        encoders=encoders,
        output_encoders=msgspec.json.decode(row.output_encoders, type=dict[str, EncoderEntry]),
        vectors=row.vectors,
        role=row.role if "role" in own else said.role,
        tags=tuple(tags),
        nsfw=row.nsfw if "nsfw" in own else said.nsfw,
        licence=licence,
        creators=said.creators,
        verdict=row.verdict,
        notes=row.notes,
        downloads=said.downloads,
        added=row.added,
        changed=row.changed,
        files=tuple(parts.files),
        origins=tuple(parts.origins),
        names=parts.names,
        findings=tuple(msgspec.json.decode(row.findings, type=list[Finding])),
    )
    return Made(entry, facts(entry, said), said)


def facts(entry: Entry, said: Told) -> Facts:
    """What a search filters by."""
    return Facts(
        encoders=tuple(sorted({*entry.encoders, *(f"{key}_out" for key in entry.output_encoders)})),
        layouts=tuple(sorted({file.layout for file in entry.files})),
        creators=entry.creators,
        tags=entry.tags,
        permits=entry.licence.permits if entry.licence else (),
        sources=said.sources,
    )


def tidy(tags: Iterable[str]) -> list[str]:
    """Tags as they are kept, each once."""
    return sorted({kept for tag in tags if (kept := tag_of(tag))})
