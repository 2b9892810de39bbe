"""Embeddings in the form that somebody's program loads, made from the bytes that are kept, and kept for the next who asks."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version

from msgspec import Struct

from embconv.converters import EmbconvError, Embedding, SourceFile, digest
from embconv.converters.convert import Options, must_load, plan_of
from embconv.converters.names import safe_stem, trigger_of
from embconv.converters.read import Reading, choose, examine
from embconv.converters.source import Source
from embconv.converters.targets import Target
from embconv.converters.write import CONTAINERS, encode

from .blobs import Blobs
from .cache import Cache
from .errors import StorageFailed
from .model import FileEntry
from .prepare import UNNAMED
from .store import Store, digest_of, files_of

FORMATS = tuple(suffix[1:] for suffix in CONTAINERS)


class Wanted(Struct, frozen=True, kw_only=True):
    """A form: the kind of file, the program that is to load it, the kind of number."""

    format: str = "safetensors"
    target: Target | None = None
    dtype: str | None = None

    @property
    def word(self) -> str:
        """It in one word, for the cache; another version of embconv may write other bytes."""
        return f"{ours()}-{self.dtype or 'keep'}-{self.target.name if self.target else 'any'}.{self.format}".lower()


class Form(Struct, frozen=True, kw_only=True):
    """A file to hand out. `kept`: it was in the cache."""

    data: bytes
    name: str
    kept: bool


@cache
def ours() -> str:
    """The version of embconv."""
    return version("embconv")


def form_of(store: Store, blobs: Blobs, kept: Cache, id: int, wanted: Wanted) -> Form:  # noqa: A002  # it is called so everywhere
    """An embedding of the registry in a form. CannotHold where the form or the program cannot have it."""
    identity, files = digest_of(store.read, id), files_of(store.read, id)
    if not files:
        raise StorageFailed("the embedding has no file")  # it was removed a moment ago, or verify has to look at it
    key = f"{wanted.word}.{files[0].sha256[:16]}"
    if (file := kept.get(identity, key)) is not None:
        with file:
            data = file.read()
        name, _, data = data.partition(b"\n")
        return Form(data=data, name=name.decode(), kept=True)
    embedding, source = found_in(blobs, files, identity)
    made = encoded(embedding, wanted, source)
    kept.put(identity, key, b"%s\n%s" % (made.name.encode(), made.data))
    return made


def found_in(blobs: Blobs, files: list[FileEntry], identity: str) -> tuple[Embedding, SourceFile]:
    """The embedding out of the first of its files that has it still."""
    trouble: EmbconvError | None = None
    for entry in files:
        try:
            with Source(blobs.path(entry.sha256), entry.name) as opened:
                for embedding in looked_at(opened).embeddings:
                    if digest(embedding) == identity:
                        return embedding, SourceFile(name=entry.name, container=entry.container, layout=entry.layout, sha256=entry.sha256)
        except EmbconvError as exc:
            trouble = exc
    raise StorageFailed(f"none of the files of {identity} has it any more: embconv verify") from trouble


def encoded(embedding: Embedding, wanted: Wanted, source: SourceFile | None) -> Form:
    """An embedding as a file, called by its trigger."""
    stem, program = safe_stem(trigger_of(embedding.names).strip("<>")), wanted.target
    name = f"{re.sub(program.stem, '_', stem) if program and program.stem else stem}.{wanted.format}"  # one that the program can type
    options = Options(target=wanted.target, dtype=wanted.dtype)
    must_load(embedding, name, wanted.target)
    written = encode(embedding, plan_of(embedding, name, options), dtype=wanted.dtype, source=source)
    return Form(data=written.data, name=name, kept=False)


def converted(path: str, name: str, sha256: str, wanted: Wanted) -> Form:
    """A file that nobody keeps in a form; SeveralEmbeddings where it holds more than one."""
    with Source(path, name) as opened:
        reading = looked_at(opened)
    source = SourceFile(name=name, container=reading.outline.container, layout=reading.layout.name, sha256=sha256)
    return encoded(choose(reading.embeddings, name, None), wanted, source)


def looked_at(opened: Source) -> Reading:
    """A file read as what it was called, wherever its bytes lie; nothing beside it speaks for it."""
    opened.path = opened.name if opened.name != UNNAMED else None
    return examine(opened, sidecars=False)
