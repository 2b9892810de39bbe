"""What `embconv validate` is given: files, folders and references of the registry become embeddings, each with its name and hashes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from embconv.converters import EmbconvError, Embedding, digest
from embconv.converters.bases import base_of_embedding
from embconv.converters.convert import Failure, failure
from embconv.converters.errors import NotAnEmbedding
from embconv.converters.folders import PICTURES
from embconv.converters.hashes import hashes
from embconv.converters.names import trigger_of
from embconv.converters.paths import suffix_of
from embconv.converters.provenance import role_of
from embconv.converters.read import examine
from embconv.converters.source import Source

from .app import expand
from .registries import local

if TYPE_CHECKING:
    from embconv.registry.local import Local
    from embconv.registry.model import Entry, FileEntry
    from embconv.registry.validation.parts import Subject
    from embconv.registry.validation.tools import Tools


class Given(NamedTuple):
    """One embedding, or what was wrong where it should be. `path`: the file or the reference; `entry`: what a registry knows of it."""

    path: str
    embedding: Embedding | None = None
    digest: str = ""
    base: str | None = None
    trigger: str = ""
    role: str = "unknown"
    shorthash: str = ""
    entry: Entry | None = None
    file: FileEntry | None = None
    error: Failure | None = None


def gather(paths: Sequence[str], home: str | None, role: str | None = None) -> list[Given]:
    """Everything that is meant, in its order; what is no file is a reference. NoStore where there is no registry for one."""
    found: list[Given] = []
    with ExitStack() as stack:
        registry: Local | None = None
        for path in paths:
            if os.path.lexists(path) or looks_like_a_path(path):
                found += [each for file in expand([path]) for each in in_file(file, strict=file == path)]
                continue
            registry = registry or opened(home, stack)
            try:
                found.append(in_registry(registry, path))
            except EmbconvError as exc:
                found.append(refused(path, exc))
    return [each._replace(role=role or each.role) for each in found]


def opened(home: str | None, stack: ExitStack) -> Local:
    """The registry, until the stack ends."""
    registry = local(home, create=False)
    stack.callback(registry.close)
    return registry  # type: ignore[return-value]  # `local` makes one of this machine


def looks_like_a_path(text: str) -> bool:
    """So that a file that is not there is told as one."""
    return os.sep in text or (os.altsep or os.sep) in text or suffix_of(text).lower() in (".pt", ".bin", ".safetensors", *PICTURES)


def in_file(path: str, *, strict: bool) -> Iterator[Given]:
    """Each embedding of a file. A picture without one is passed over where a folder was named."""
    try:
        yield from read(path)
    except EmbconvError as exc:
        if strict or not (isinstance(exc, NotAnEmbedding) and suffix_of(path).lower() in PICTURES):
            yield refused(path, exc)


def read(path: str) -> list[Given]:
    """All embeddings of a file."""
    with Source(path) as source:
        found, short = examine(source).embeddings, hashes(source).a1111_shorthash
    return [Given(path=path, embedding=one, digest=digest(one), base=base_of_embedding(one), trigger=trigger_of(one.names),
                  role=role_of(one), shorthash=short) for one in found]  # fmt: skip


def in_registry(registry: Local, ref: str) -> Given:
    """The embedding that a reference means."""
    from embconv.registry.validation.readable import readable

    embedding, entry, file = readable(registry.store, registry.blobs, ref)
    return Given(path=ref, embedding=embedding, digest=entry.digest, base=entry.base, trigger=entry.trigger, role=entry.role, entry=entry,
                 file=file)  # fmt: skip


def refused(path: str, exc: EmbconvError) -> Given:
    """What cannot be read."""
    return Given(path=path, error=failure(path, exc).error)


def subject_of(given: Given, work: Tools) -> Subject:
    """As the judge takes it; one of the registry as a worker gives it."""
    from dataclasses import replace

    from embconv.registry.validation.subjects import subject

    assert given.embedding is not None
    if given.entry and given.file:
        found: Subject = work.subject(given.embedding, given.entry, given.file)
        return found if found.role == given.role else replace(found, role=given.role)
    hints = (os.path.basename(given.path),)
    return subject(given.embedding, given.digest, role=given.role, base=given.base, hints=hints, shorthash=given.shorthash)
