"""The whole registry as one file: a zip that, unpacked, is a home again. Proven before it gets its name."""

from __future__ import annotations

import hashlib
import os
import zipfile
from typing import TYPE_CHECKING

from msgspec import Struct

from embconv.converters.display import quoted
from embconv.converters.errors import NotEqual, TargetExists
from embconv.converters.write import discard, placing

from .blobs import Blobs
from .errors import UnknownFile
from .store import Store, integrity, present_files, present_previews, present_renders, snapshot

if TYPE_CHECKING:
    from sqlite_utils import Database

DATABASE = "registry.db"
PIECE = 1 << 20
TIMES = 5  # that a removal under way may make us look again
LARGE = 1 << 31


class Backup(Struct, frozen=True, kw_only=True):
    """What was written: files, and pictures of embeddings. `missing` are those whose bytes were not there, or rotten: see verify."""

    path: str
    files: int
    size: int
    missing: tuple[str, ...] = ()


def backup(store: Store, blobs: Blobs, path: str) -> Backup:
    """Write a backup to `path`, which must not be there; the registry works on meanwhile. What unpacks a zip restores it."""
    path = os.path.abspath(path)
    if os.path.lexists(path):
        raise TargetExists(path)
    with placing(path) as temporary:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED) as archive:
            kept, missing = fill(store, blobs, archive, f"{temporary}.db")
        prove(temporary, path, len(kept) + 1)
    return Backup(path=path, files=len(kept), size=os.path.getsize(path), missing=missing)


def fill(store: Store, blobs: Blobs, archive: zipfile.ZipFile, copy: str) -> tuple[set[str], tuple[str, ...]]:
    """Bytes, then the database that names them. One that names bytes which were removed meanwhile is taken anew."""
    kept: set[str] = set()
    add_all(blobs, archive, wanted(store.read), kept)
    for _ in range(TIMES):
        try:
            snapshot(store.read, copy)
            with Store.reading(copy) as taken:
                wrong = integrity(taken)
                if wrong:
                    raise NotEqual(copy, f"the copy of the database is damaged: {wrong[0]}")
                missing = add_all(blobs, archive, wanted(taken), kept)
            if not missing or set(missing) <= set(wanted(store.read)):
                archive.write(copy, DATABASE)
                return kept, tuple(missing)
        finally:
            discard(copy)
    raise NotEqual(copy, "files were removed again and again while it was written")


def wanted(db: Database) -> list[str]:
    """The sha256 of all bytes that are named: files, then pictures of embeddings."""
    return list(dict.fromkeys([*present_files(db), *(sha256 for sha256, _ in (*present_previews(db), *present_renders(db)))]))


def add_all(blobs: Blobs, archive: zipfile.ZipFile, all_of: list[str], kept: set[str]) -> list[str]:
    """Add the bytes of these that are not in it yet; those that are not there, or rotten."""
    return [sha256 for sha256 in all_of if sha256 not in kept and not add(blobs, archive, sha256, kept)]


def add(blobs: Blobs, archive: zipfile.ZipFile, sha256: str, kept: set[str]) -> bool:
    """Add one file's bytes, if they are there and what their name says."""
    try:
        size = blobs.size(sha256)
        with blobs.open(sha256) as file:
            if size <= PIECE:
                data = file.read()
                if hashlib.sha256(data).hexdigest() != sha256:
                    return False
                archive.writestr(entry(sha256), data)
            else:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return False
                file.seek(0)
                with archive.open(entry(sha256), "w", force_zip64=size >= LARGE) as out:
                    while piece := file.read(PIECE):
                        out.write(piece)
    except UnknownFile:
        return False
    kept.add(sha256)
    return True


def entry(sha256: str) -> zipfile.ZipInfo:
    """Where the bytes lie in a home."""
    return zipfile.ZipInfo(f"blobs/sha256/{sha256[:2]}/{sha256}")


def prove(temporary: str, path: str, count: int) -> None:
    """Read it all back: every entry with its checksum, all bytes with their sha256."""
    with zipfile.ZipFile(temporary) as archive:
        names = archive.namelist()
        if len(names) != count or len(set(names)) != count or DATABASE not in names:
            raise NotEqual(path, f"{quoted(path)} has {len(names)} entries, not {count}")
        for name in names:
            sha = hashlib.sha256()
            with archive.open(name) as file:
                while piece := file.read(PIECE):
                    sha.update(piece)
            if name != DATABASE and sha.hexdigest() != name.rpartition("/")[2]:
                raise NotEqual(path, f"{name} does not read back equal")
