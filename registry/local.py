"""A registry in a folder of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from embconv.converters import EmbconvError
from embconv.converters.convert import failure
from embconv.converters.errors import NotAnEmbedding
from embconv.converters.folders import PICTURES
from embconv.converters.paths import suffix_of

from . import keys as api_keys
from . import validations
from .backup import Backup, backup
from .blobs import Blobs
from .errors import NoStore
from .export import previews_in
from .home import database, has_bytes
from .ingest import ingest, sweep, take_away
from .many import DISK, ingest_many
from .model import Addition, Entry, FileEntry, Key
from .query import query_of
from .registry import Pairs, Results
from .settings import Settings
from .store import Store, digest_of, document, list_keys, resolve
from .verify import Report, verify

if TYPE_CHECKING:
    from .columns import Columns
    from .validations import Validation, Wanted
    from .verdicts import KeptVerdict


class Local:
    """The registry in `settings.home`. With `create` it is made where there is none; NoStore otherwise."""

    def __init__(self, settings: Settings, *, create: bool = False) -> None:
        self.where = settings.home
        if not create and not os.path.exists(database(settings.home)) and not has_bytes(settings.home):
            raise no_registry(settings.home)
        self.store = Store(settings.home, busy_seconds=settings.busy_seconds)
        self.blobs = Blobs(settings.home)

    @cached_property
    def columns(self) -> Columns:
        from .columns import Columns  # it imports numpy

        return Columns(self.store)

    def add(
        self, paths: Sequence[str], *, done: Callable[[Addition], None], name: str | None, role: str | None, tags: tuple[str, ...]
    ) -> list[Addition]:
        sweep(self.store, self.blobs)
        if len(paths) > 1 and name is None:
            return ingest_many(self.store, self.blobs, paths, done=done, role=role, tags=tags)
        found = [self._add_one(path, name, role, tags) for path in paths]
        for addition in found:
            done(addition)
        return found

    def _add_one(self, path: str, name: str | None, role: str | None, tags: tuple[str, ...]) -> Addition:
        """One file, without starting other processes."""
        try:
            result = ingest(self.store, self.blobs, path, given_name=name, role=role, tags=tags)
        except EmbconvError as exc:
            return not_added(path, exc)
        entries = [msgspec.json.decode(raw, type=Entry) for raw in result.embeddings]
        return Addition(path=path, status=result.status, digests=tuple(entry.digest for entry in entries),
                        triggers=tuple(entry.trigger for entry in entries), sha256=result.file.sha256)  # fmt: skip

    def search(self, pairs: Pairs) -> Results:
        from .search import search  # it imports numpy

        query = query_of(pairs)
        found = search(self.store, self.columns, query)
        return Results(items=tuple(Raw(item) for item in found.items), total=found.total, cursor=found.cursor, facets=found.facets)

    def document(self, ref: str) -> bytes:
        return document(self.store.read, resolve(self.store.read, ref))

    def read(self, file: FileEntry) -> str:
        return self.blobs.path(file.sha256)

    def preview(self, entry: Entry) -> bytes | None:
        return previews_in(self.store, self.blobs)(entry)

    def remove(self, ref: str, *, why: str, block: bool) -> str:
        id_ = resolve(self.store.read, ref)
        digest = digest_of(self.store.read, id_)
        take_away(self.store, self.blobs, id_, why=why, block=block)
        return digest

    def ask_validation(self, ref: str, wanted: Wanted) -> KeptVerdict | Validation:
        return validations.ask(self.store, ref, wanted)

    def validation(self, number: int) -> Validation:
        return validations.one(self.store, number)

    def render(self, id: str) -> bytes:  # noqa: A002  # as a Render has it
        return validations.picture(self.store, self.blobs, id)

    def verify(self, *, sample: float, repair: bool, done: Callable[[int], None]) -> Report:
        return verify(self.store, self.blobs, sample=sample, repair=repair, done=done)

    def keys(self) -> list[Key]:
        return list_keys(self.store.read)

    def create_key(self, name: str, role: str, expires: str | None) -> tuple[Key, str]:
        secret = api_keys.create(self.store, name, role, expires)
        return next(key for key in self.keys() if key.name == name), secret

    def revoke_key(self, name: str) -> None:
        api_keys.revoke(self.store, name)

    def backup(self, path: str) -> Backup:
        return backup(self.store, self.blobs, path)

    def close(self) -> None:
        self.store.close()


def no_registry(home: str) -> NoStore:
    """There is none in that folder yet."""
    missing = NoStore(home, "there is none yet")
    missing.hint = "Begin one: embconv add FOLDER -r. Another folder: --home or EMBCONV_HOME."
    return missing


def not_added(path: str, exc: EmbconvError) -> Addition:
    """What became of a file that was not taken: a picture without an embedding is just a picture."""
    if isinstance(exc, NotAnEmbedding) and suffix_of(path).lower() in PICTURES:
        return Addition(path=path, status="passed_over")
    return Addition(path=path, status="failed" if exc.code in DISK else "refused", error=failure(path, exc).error)
