"""Files of this machine as Civitai would know them: their hashes, and those of what they were converted from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from embconv.converters import EmbconvError, digest
from embconv.converters.bulk import chunked
from embconv.converters.convert import Failure, failure
from embconv.converters.errors import NotAnEmbedding
from embconv.converters.folders import PICTURES
from embconv.converters.hashes import sha256_of
from embconv.converters.names import trigger_of
from embconv.converters.paths import suffix_of
from embconv.converters.processes import spread
from embconv.converters.read import examine
from embconv.converters.sidecars import hashes_in
from embconv.converters.source import Source

CHUNK, FEW = 256, 64


class Local(Struct, frozen=True, kw_only=True):
    """A file: `sha256` of its bytes, `sources` of those that its header or a file beside it says it was made of.

    `error`: why it holds no embedding, or cannot be read; then there may be no hash. `picture`: it is one, and no more.
    """

    path: str
    sha256: str = ""
    sources: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    picture: bool = False
    error: Failure | None = None

    @property
    def hashes(self) -> tuple[str, ...]:
        """All by which Civitai may know it, its own first."""
        return tuple(dict.fromkeys(filter(None, (self.sha256, *self.sources))))


def look(paths: Sequence[str]) -> Iterator[Local]:
    """Look at files, on every core where there are many."""
    count = min(os.cpu_count() or 1, max(1, len(paths) // FEW))
    for packed in spread(look_at, list(chunked(paths, count, CHUNK)), count=count):
        yield from msgspec.msgpack.decode(packed, type=list[Local])


def look_at(paths: Sequence[str]) -> bytes:
    """Look at some; packed, for it may run in another process."""
    return msgspec.msgpack.encode([one(path) for path in paths])


def one(path: str) -> Local:
    """Look at one."""
    sha256 = ""
    try:
        with Source(path, os.path.basename(path)) as opened:
            opened.path = path
            sha256 = sha256_of(opened)
            embeddings = examine(opened, sidecars=True).embeddings
    except (EmbconvError, RecursionError, UnicodeError) as exc:
        error = exc if isinstance(exc, EmbconvError) else EmbconvError("It cannot be read.")
        only = isinstance(exc, NotAnEmbedding) and suffix_of(path).lower() in PICTURES
        return Local(path=path, sha256=sha256, picture=only, error=None if only else failure(path, error).error)
    claimed = [source.sha256 or "" for each in embeddings for source in reversed(each.sources)]
    claimed += [hashes_in(hint.hashes).get("sha256", "") for each in embeddings for hint in each.hints]
    return Local(
        path=path,
        sha256=sha256,
        sources=tuple(value.lower() for value in claimed if len(value) == 64 and value.lower() != sha256),
        digests=tuple(digest(each) for each in embeddings),
        triggers=tuple(trigger_of(each.names) for each in embeddings),
    )
