"""What the database remembers of a mirrored folder: each path, where it lies, what its sidecars say, the pictures beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from embconv.converters import EmbconvError
from embconv.converters.hashes import sha256_of
from embconv.converters.paths import stem_of
from embconv.converters.source import Source

from .blobs import Blobs
from .errors import Gone, UnknownReference
from .folder_scan import There
from .model import Addition, Entry, Origin, Preview
from .pictures import Picture, picture_at
from .shelf import Shelf
from .store import add_preview, document, previews_of, refresh, resolve
from .store.civitai import note
from .store.lines import add_line
from .told import Told, told

if TYPE_CHECKING:
    from sqlite_utils import Database

SOURCE, SIDECAR = "folder", "sidecar"
PRESENT, GONE, MOVED = "present", "gone", "moved"     # of a line of origin
KEPT, PICTURE, SKIPPED = "kept", "picture", "skipped"  # of a path
AT_ONCE = min(4, os.cpu_count() or 1)  # pictures that are made anew; each may take 100 MB


class Noted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is remembered of a path. `kind`: kept, picture or skipped (for a `reason`); without a `mark` it is looked at again."""

    kind: str
    mark: str = ""
    sha256: str = ""
    digests: tuple[str, ...] = ()
    reason: str = ""


class Shown(Struct, frozen=True, kw_only=True):
    """A picture beside a file, made anew."""

    name: str
    sha256: str
    picture: Picture


class Arrival(Struct, frozen=True, kw_only=True):
    """A file with an embedding, what its sidecars say, and its pictures. `notes`: what of them could not be used."""

    there: There
    addition: Addition
    told: Told
    shown: tuple[Shown, ...] = ()
    notes: tuple[str, ...] = ()


class Kept(Struct, frozen=True):
    """The keys of files that something new was said of, and bytes that nothing names any more."""

    news: set[str]
    orphans: list[str]


def place(root: str, key: str, at: str, state: str = PRESENT, *, sha256: str | None = None, to: str = "") -> Origin:
    """The line that says where a file lies; not where the folder does, for that is nobody else's business."""
    name = os.path.basename(root)
    return Origin(source=SOURCE, id=f"{name}/{key}", seen=at, state=state, sha256=sha256, claims={"to": f"{name}/{to}"} if to else {})


def beside(batch: Iterable[tuple[There, Addition]], embeddings: set[str]) -> list[Arrival]:
    """What stands beside these files; those among `embeddings` (paths) are no pictures of others."""
    pairs = [(there, addition) for there, addition in batch if addition.digests]
    wanted = list(dict.fromkeys(path for there, _ in pairs for path in there.shown if path not in embeddings))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = dict(zip(wanted, pool.map(made_anew, wanted), strict=True))
    return [arrival(there, addition, made) for there, addition in pairs]


def made_anew(path: str) -> Shown | str:
    """A picture, or why it is none."""
    try:
        picture = picture_at(path)
    except EmbconvError as exc:
        return exc.says
    with Source(picture.data, path) as source:
        return Shown(name=os.path.basename(path), sha256=sha256_of(source), picture=picture)


def arrival(there: There, addition: Addition, made: Mapping[str, Shown | str]) -> Arrival:
    """One file with what stands beside it."""
    said = told(there.told, stem_of(there.path))
    found = [made[path] for path in there.shown if path in made]
    shown = tuple(each for each in found if isinstance(each, Shown))
    notes = (*said.notes, *(each for each in found if isinstance(each, str)))
    return Arrival(there=there, addition=addition, told=said, shown=shown, notes=notes)


def keep(db: Database, blobs: Blobs, source: str, arrivals: Iterable[Arrival], noted: Mapping[str, Noted], at: str) -> Kept:
    """Write down what is beside these files, and every path. Within a write."""
    kept, touched = Kept(set(), []), set[int]()
    for each in arrivals:
        ids, before = list(ids_of(db, each.addition.digests)), db.conn.total_changes
        for id_ in ids:
            if each.told.claims:
                name = os.path.basename(each.there.path)
                add_line(db, id_, Origin(source=SIDECAR, id=name, seen=at, sha256=each.addition.sha256, claims=each.told.claims))
            for shown in each.shown:
                if not blobs.has(shown.sha256):  # somebody has swept it since
                    blobs.put(shown.picture.data)
                kept.orphans.extend(add_preview(db, id_, preview(shown, each.told, at)))
        if db.conn.total_changes != before:
            kept.news.add(each.there.key)
            touched.update(ids)
    for key, value in noted.items():
        note(db, source, key, msgspec.to_builtins(value), at)
    refresh(db, touched, at)
    return kept


def preview(shown: Shown, said: Told, at: str) -> Preview:
    """A picture as a row."""
    made = shown.picture
    return Preview(
        sha256=shown.sha256, source=shown.name, width=made.width, height=made.height, nsfw=said.shown, recipe=made.recipe, added=at
    )


def shelve(shelf: Shelf, arrivals: Iterable[Arrival]) -> None:
    """Put the bytes of all pictures on a shelf."""
    for each in arrivals:
        for shown in each.shown:
            with Source(shown.picture.data, shown.name) as source:
                shelf.put(source, shown.sha256)


def lose(db: Database, root: str, lost: Mapping[str, Noted], moved: Mapping[str, str], at: str) -> None:
    """Write down that these paths are no more; `moved` says where some of them went. Nothing is erased. Within a write."""
    touched: set[int] = set()
    for key, noted in lost.items():
        note(db, f"{SOURCE}:{root}", key, None, at)
        for id_ in ids_of(db, noted.digests):
            to = moved.get(key, "")
            add_line(db, id_, place(root, key, at, MOVED if to else GONE, sha256=noted.sha256 or None, to=to))
            touched.add(id_)
    refresh(db, touched, at)


def says_new(db: Database, there: There, digests: Iterable[str]) -> bool:
    """Would its sidecars, or pictures of a new name, be news? Nothing is changed."""
    said, name = told(there.told, stem_of(there.path)).claims, os.path.basename(there.path)
    for id_ in ids_of(db, digests):
        lines = msgspec.json.decode(document(db, id_), type=Entry).origins
        last = next((line.claims for line in reversed(lines) if (line.source, line.id) == (SIDECAR, name)), {})
        named = {each.source for each in previews_of(db, id_)}
        if (said and last != said) or {os.path.basename(path) for path in there.shown[:1]} - named:
            return True
    return False


def ids_of(db: Database, digests: Iterable[str]) -> Iterator[int]:
    """The ids of those that are here."""
    for digest in dict.fromkeys(digests):
        try:
            yield resolve(db, digest)
        except (Gone, UnknownReference):  # somebody took it away meanwhile
            continue
